"""A head that came before on any connection: its request is served like the first, wherever the reads cut it."""

from __future__ import annotations

import asyncio

import pytest
from transport_play import OK, Client, Play, both_loops, post

from gateway.server.limits import Limits

HEAD = b"POST /v1/x HTTP/1.1\r\nHost: g\r\nContent-Length: 6\r\n\r\n"


async def known(play: Play) -> Client:
    """A connection beside one that has sent a request with the same head."""
    client = await play.connect()
    client.send(post(b"before"))
    assert (await client.answer()).body == b"ok"
    play.calls.clear()
    play.provider.requests.clear()
    return await play.connect()


async def apart(client: Client, *pieces: bytes) -> None:
    """Send pieces so that each is a read of its own."""
    for piece in pieces:
        client.send(piece)
        await asyncio.sleep(0.003)


@both_loops
async def test_wherever_the_reads_cut_a_request_the_provider_gets_the_same_bytes() -> None:
    raw, behind = post(b"a body"), post(b"behind", b"/v1/y")
    async with Play(OK) as play:
        client = await known(play)
        for cut in range(len(raw) + 1):
            await apart(client, raw[:cut], raw[cut:] + behind)
            assert [(await client.answer()).body for _ in "ab"] == [b"ok", b"ok"]
        sent = [request.partition(b"\r\n\r\n")[2] for request in play.provider.requests]
        assert sent == [b"a body", b"behind"] * (len(raw) + 1)


@both_loops
async def test_a_long_body_arrives_whole() -> None:
    body = bytes(range(256)) * 4096
    async with Play(OK) as play:
        client = await known(play)
        for _ in range(3):
            client.send(post(body))
            assert (await client.answer()).body == b"ok"
        assert [request[-len(body) :] for request in play.provider.requests] == [body] * 3


@pytest.mark.parametrize("when", ["now", "later"])
@both_loops
async def test_one_that_is_refused_before_its_body_came_keeps_its_connection(when: str) -> None:
    async with Play(OK) as play:
        client = await known(play)
        play.refuse = when
        client.send(HEAD + b"GET")
        assert (await client.answer()).status == 401
        play.refuse = ""
        client.send(b" / " + post())
        assert (await client.answer()).body == b"ok"
        assert len(play.provider.requests) == 1


@both_loops
async def test_one_whose_body_is_larger_than_allowed_is_refused() -> None:
    async with Play(OK, limits=Limits(max_body_bytes=100)) as play:
        client = await known(play)
        client.send(post(b"x" * 101)[:-50])
        assert (await client.answer()).status == 413
        assert play.provider.requests == []


@both_loops
async def test_one_whose_body_does_not_come_times_out() -> None:
    async with Play(OK, limits=Limits(body_seconds=0.1)) as play:
        client = await known(play)
        client.send(HEAD + b"bo")
        assert (await client.rest()).startswith(b"HTTP/1.1 408")
        assert play.calls[0].events == ["head", "gone"]


@both_loops
async def test_a_client_that_leaves_within_its_body_has_sent_nothing() -> None:
    async with Play(OK) as play:
        client = await known(play)
        await apart(client, HEAD + b"bo")
        client.writer.close()
        await play.until(lambda: play.calls[0].gone)
        assert play.provider.requests == []


@both_loops
async def test_one_that_waits_for_a_100_gets_it_each_time() -> None:
    head = HEAD.replace(b"Host", b"expect: 100-continue\r\nHost")
    async with Play(OK) as play:
        client = await known(play)
        for sent, later in ((head + b"a body", b""), (head, b"a body"), (head, b"a body")):
            client.send(sent)
            assert (await client.head())[0] == b"HTTP/1.1 100 Continue"
            client.send(later)
            assert (await client.answer()).body == b"ok"


@both_loops
async def test_an_offer_of_h2c_is_ignored_each_time() -> None:
    offer = HEAD.replace(b"Host", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nHost")
    async with Play(OK) as play:
        client = await known(play)
        for _ in range(2):
            await apart(client, offer + b"a ", b"body")
            assert (await client.answer()).body == b"ok"
        assert [request[-6:] for request in play.provider.requests] == [b"a body"] * 2
