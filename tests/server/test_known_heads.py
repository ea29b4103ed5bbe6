"""Heads that came before, of requests and of answers: what has one passes like the first, wherever the reads cut it."""

from __future__ import annotations

import asyncio

import pytest
from transport_play import OK, Client, Play, Provider, both_loops, get, post

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


FIELDS = [
    (b"Date", b"%d"), (b"Content-Type", b"text/plain"), (b"set-cookie", b"a=%d"), (b"X-A", b"\xc3\xa9"),
    (b"set-cookie", b"b"),
]  # fmt: skip
LENGTH = b"Content-Length: 5\r\n\r\n%05d"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n2\r\n%02d\r\n3\r\n%03d\r\n0\r\n\r\n"


@pytest.mark.parametrize("framing", ["length", "chunks", "close", "an early hint"])
@both_loops
async def test_an_answer_arrives_whole_wherever_the_reads_cut_it(framing: str) -> None:
    def answered(number: int) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
        fields = [(name, value.replace(b"%d", b"%d" % number)) for name, value in FIELDS]
        head = b"HTTP/1.1 200 OK\r\n" + b"".join(b"%b: %b\r\n" % field for field in fields)
        if framing == "chunks":
            return head + CHUNKED % (number % 100, number), fields, b"%02d%03d" % (number % 100, number)
        if framing == "close":
            return head + b"Connection: close\r\n\r\n%05d" % number, fields, b"%05d" % number
        hint = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" if framing == "an early hint" else b""
        return hint + head + LENGTH % number, fields, b"%05d" % number

    async def script(provider: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(provider.requests) - 1
        raw = answered(number)[0]
        writer.write(raw[:number])
        await asyncio.sleep(0.003 if number else 0)
        writer.write(raw[number:])
        if framing == "close":
            writer.close()

    async with Play(script) as play:
        client = await play.connect()
        for number in range(len(answered(0)[0])):
            client.send(get())
            _, fields, body = answered(number)
            answer = await client.answer()
            if framing == "an early hint":
                assert answer.status == 103
                answer = await client.answer()
            assert answer.body == body
            assert answer.headers[: len(fields)] == fields


@both_loops
async def test_what_is_wrong_in_an_answer_is_a_bad_gateway_though_one_like_it_came_before() -> None:
    head = b"HTTP/1.1 200 OK\r\nX-A: %b\r\nContent-Length: %b\r\n\r\nok"
    answers = [head % (b"1", b"2")] * 2
    wrong = ((b"a\x00", b"2"), (b"a\rb", b"2"), (b"1", b"2x"), (b"1", b"-2"), (b"1", b"2, 2"), (b"1", b""))
    for value, length in wrong:
        answers += [head % (value, length), head % (b"1", b"2")]

    async def script(provider: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answers[len(provider.requests) - 1])

    async with Play(script) as play:
        client = await play.connect()
        seen = []
        for _ in answers:
            client.send(get())
            seen.append((await client.answer()).status)
        assert seen == [200, 200] + [502, 200] * len(wrong)
