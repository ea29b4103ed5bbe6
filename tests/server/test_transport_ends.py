"""Every end of a call: provider and client break off, stall or vanish at each stage."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest
from transport_play import OK, Play, Provider, both_loops, get, post

from gateway.server.limits import Limits

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def closing(raw: bytes, *, reset: bool = False):  # type: ignore[no-untyped-def]
    """A provider that sends this, then breaks off."""

    async def script(provider: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()
        if reset:
            await asyncio.sleep(0.05)
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        else:
            writer.close()

    return script


async def hang(provider: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


def then_hang(raw: bytes):  # type: ignore[no-untyped-def]
    async def script(provider: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await reader.read()

    return script


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 103 Early\r\n\r\n"])
@both_loops
async def test_a_provider_that_closes_before_its_head_is_a_bad_gateway(raw: bytes, reset: bool) -> None:
    async with Play(closing(raw, reset=reset)) as play:
        client = await play.connect()
        client.send(post())
        answer = await client.answer()
        if answer.status == 103:
            answer = await client.answer()
        assert (answer.status, answer.body) == (502, b"reset")
        assert len(play.provider.requests) == 1, "what was sent is never sent twice"


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    "raw", [HEAD + b"123", CHUNKED + b"3\r\nabc\r\n", CHUNKED + b"3\r\nabc\r\n0\r\n", CHUNKED + b"9\r\nab"]
)
@both_loops
async def test_a_truncated_answer_never_looks_complete(raw: bytes, reset: bool) -> None:
    async with Play(closing(raw, reset=reset)) as play:
        client = await play.connect()
        client.send(post())
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.answer()
        assert play.calls[0].events[-1] == "failed:reset"


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"\x16\x03\x01\x00\x00",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: \x00\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Long: y\r\n" * 100_000,
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 2_000_000,
        b"HTTP/1.1 102 Processing\r\n\r\n" * 100,
    ],
    ids=lambda raw: repr(raw[:50]),
)  # fmt: skip
@both_loops
async def test_an_answer_that_is_not_http_is_a_bad_gateway(raw: bytes) -> None:
    async with Play(then_hang(raw)) as play:
        client = await play.connect()
        client.send(post())
        answer = await client.answer()
        assert (answer.status, answer.body) == (502, b"protocol")
        await play.provider.lost.wait()


@pytest.mark.parametrize("rest", [b"X\r\n", b"zz\r\n", b"3\nabc", b"3 x\r\nabc", b"3\r\nabcd\r\n"])
@both_loops
async def test_a_bad_chunk_in_an_answer_ends_it_abnormally(rest: bytes) -> None:
    async with Play(then_hang(CHUNKED + b"2\r\nab\r\n" + rest)) as play:
        client = await play.connect()
        client.send(post())
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.answer()
        assert play.calls[0].events[-1] == "failed:protocol"


@pytest.mark.parametrize("extra", [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"garbage", b"\x00"])
@both_loops
async def test_bytes_behind_a_whole_answer_reach_nobody(extra: bytes) -> None:
    async with Play(OK + extra) as play:
        client = await play.connect()
        for _ in range(3):
            client.send(post())
            assert (await client.answer()).body == b"ok"
        assert play.provider.connections == 3, "a connection that spoke out of turn is not used again"


@both_loops
async def test_a_provider_that_does_not_answer_in_time_is_a_gateway_timeout() -> None:
    async with Play(hang, head_seconds=0.1) as play:
        client = await play.connect()
        client.send(post())
        answer = await client.answer()
        assert (answer.status, answer.body) == (504, b"head_timeout")
        await play.provider.lost.wait()


@both_loops
async def test_a_provider_that_stalls_in_its_body_is_cut_off() -> None:
    async with Play(then_hang(HEAD + b"12"), idle_seconds=0.1) as play:
        client = await play.connect()
        client.send(post())
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.answer()
        assert play.calls[0].events[-1] == "failed:idle_timeout"


@both_loops
async def test_a_provider_that_is_not_there_is_a_bad_gateway() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with Play(OK, port=taken.getsockname()[1]) as play:
            client = await play.connect()
            client.send(post())
            assert (await client.answer()).body == b"connect"


@both_loops
async def test_a_provider_that_accepts_nobody_is_a_timeout() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        async with Play(OK, port=full.getsockname()[1], connect_seconds=0.2) as play:
            client = await play.connect()
            client.send(post())
            answer = await client.answer()
            assert (answer.status, answer.body) == (504, b"connect_timeout")
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize("how", ["close", "reset", "half"])
@pytest.mark.parametrize("stage", ["head", "body", "sent", "answering"])
@both_loops
async def test_a_client_that_leaves_is_noticed_at_every_stage(stage: str, how: str) -> None:
    async with Play(then_hang(HEAD + b"12") if stage == "answering" else hang) as play:
        client = await play.connect()
        raw = post(b"0123456789")
        client.send({"head": raw[:30], "body": raw[:-4]}.get(stage, raw))
        if stage == "head":
            await asyncio.sleep(0.05)
        else:
            awaited = {"body": "head", "sent": "body", "answering": "upstream_head"}[stage]
            await play.until(lambda: bool(play.calls) and awaited in play.calls[0].events)
        if how == "close":
            client.writer.close()
        elif how == "half":
            client.writer.write_eof()
        else:
            sock = client.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.writer.transport.abort()
        if stage == "head":
            await play.until(lambda: not play.plane.connections)
            assert play.calls == []
            return
        await play.until(lambda: play.calls[0].gone)
        assert play.calls[0].events.count("gone") == 1
        if stage != "body":
            await play.provider.lost.wait()


@both_loops
async def test_a_slow_client_pauses_the_provider_and_bounds_memory() -> None:
    sent = 0
    piece = b"x" * 65_536

    async def script(provider: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (400 * len(piece)))
        for _ in range(400):
            writer.write(piece)
            await writer.drain()
            sent += len(piece)

    async with Play(script, limits=Limits(write_buffer_bytes=65_536)) as play:
        client = await play.connect()
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.reader._limit = 65_536  # type: ignore[attr-defined]
        client.send(post())
        await play.until(lambda: bool(play.calls) and "paused" in play.calls[0].events)
        stuck = -1
        while stuck != sent:
            stuck = sent
            await asyncio.sleep(0.3)
        assert sent < 400 * len(piece)
        connection = next(iter(play.plane.connections))
        assert connection._transport is not None
        assert connection._transport.get_write_buffer_size() < 1_000_000
        assert len((await client.answer()).body) == 400 * len(piece)
        assert "resumed" in play.calls[0].events


@both_loops
async def test_a_client_that_takes_nothing_of_its_answer_is_cut_off() -> None:
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 50_000_000
    async with Play(body, limits=Limits(write_buffer_bytes=65_536, write_seconds=0.3)) as play:
        client = await play.connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(post())
        await play.until(lambda: bool(play.calls) and play.calls[0].gone)
        await play.until(lambda: not play.plane.connections)


@pytest.mark.parametrize(
    "raw",
    [
        b"POST / HTTP/1.1\r\nHost",
        b"POST / HTTP/1.1\r\nHost: g\r\nContent-Length: 5\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
)
@both_loops
async def test_a_request_that_does_not_come_to_an_end_times_out(raw: bytes) -> None:
    async with Play(OK, limits=Limits(head_seconds=0.1, body_seconds=0.1)) as play:
        assert (await play.exchange(raw)).startswith(b"HTTP/1.1 408 ")
        assert play.provider.requests == []


@pytest.mark.parametrize(
    "raw", [b"POST / HTTP/1.1\r\nHost: g\r\nX: ", b"POST / HTTP/1.1\r\nHost: g\r\nContent-Length: 99\r\n\r\n"]
)
@both_loops
async def test_a_request_that_drips_times_out_too(raw: bytes) -> None:
    limits = Limits(head_seconds=0.5, body_seconds=0.5, body_bytes_per_second=1000)
    async with Play(OK, limits=limits) as play:
        client = await play.connect()
        client.send(raw)
        answer = asyncio.ensure_future(client.rest())
        for _ in range(80):
            if answer.done():
                break
            client.send(b"x")
            await asyncio.sleep(0.05)
        assert (await answer).startswith(b"HTTP/1.1 408 ")


@both_loops
async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with Play(OK, limits=Limits(idle_seconds=0.1)) as play:
        assert await play.exchange(b"") == b""
        answer = await play.exchange(post())
        assert answer.endswith(b"ok")
        assert answer.count(b"HTTP/1.1") == 1


@both_loops
async def test_connections_are_bounded() -> None:
    async with Play(OK, limits=Limits(max_connections_per_peer=2)) as play:
        first, second = await play.connect(), await play.connect()
        for client in (first, second):
            client.send(post())
            assert (await client.answer()).body == b"ok"
        assert (await play.exchange(b"")).startswith(b"HTTP/1.1 503 ")
        first.writer.close()
        await play.until(lambda: len(play.plane.connections) == 1)
        third = await play.connect()
        third.send(post())
        assert (await third.answer()).body == b"ok"


@both_loops
async def test_draining_lets_answers_finish_says_close_and_leaves_idle_clients() -> None:
    go = asyncio.Event()

    async def script(provider: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        writer.write(OK)

    async with Play(script) as play:
        busy, idle = await play.connect(), await play.connect()
        busy.send(post())
        await play.until(lambda: bool(play.calls) and "body" in play.calls[0].events)
        drained = asyncio.ensure_future(play.plane.drain(10))
        assert await idle.rest() == b""
        with pytest.raises(OSError):
            await play.connect()
        go.set()
        answer = await busy.answer()
        assert answer.body == b"ok"
        assert answer.get(b"connection") == b"close"
        assert await drained


@both_loops
async def test_a_client_whose_answer_began_before_the_drain_is_answered_once_more_and_told_then() -> None:
    go = asyncio.Event()

    async def script(provider: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(provider.requests) > 1:
            writer.write(OK)
            return
        writer.write(HEAD + b"12")
        await go.wait()
        writer.write(b"34567890")

    async with Play(script) as play:
        client, silent = await play.connect(), await play.connect()
        client.send(post())
        await play.until(lambda: bool(play.calls) and "upstream_head" in play.calls[0].events)
        drained = asyncio.ensure_future(play.plane.drain(10))
        assert await silent.rest() == b"", "by now whoever was idle before is gone"
        go.set()
        first = await client.answer()
        assert (first.body, first.get(b"connection")) == (b"1234567890", None)
        client.send(post())
        second = await client.answer()
        assert (second.body, second.get(b"connection")) == (b"ok", b"close")
        assert await drained


@pytest.mark.parametrize("why", ["drain", "expire"])
@both_loops
async def test_a_request_that_came_just_before_an_idle_connection_is_closed_is_answered(why: str) -> None:
    async with Play(OK) as play:
        client = await play.connect()
        client.send(post())
        assert (await client.answer()).body == b"ok"
        for connection in play.plane.connections:
            client.send(post())  # lies in the kernel until the loop has its next turn
            getattr(connection, why)()
        assert (await client.answer()).body == b"ok"


@both_loops
async def test_what_does_not_finish_in_the_drain_time_is_broken_off() -> None:
    async with Play(then_hang(HEAD + b"12")) as play:
        client = await play.connect()
        client.send(get())
        await play.until(lambda: bool(play.calls) and "upstream_head" in play.calls[0].events)
        assert not await play.plane.drain(0.1)
        assert (await client.rest()).endswith(b"\r\n\r\n12")
        await play.until(lambda: play.calls[0].gone)
