"""Where both sides act at once: connections that close while a request is on its way, answers that come early."""

from __future__ import annotations

import asyncio
import os
import socket
import tracemalloc

import pytest
from transport_play import OK, Play, Provider, both_loops, get, post

CHUNKED_POST = b"POST /x HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n"


@both_loops
async def test_a_connection_that_the_provider_closed_a_moment_ago_gets_no_request() -> None:
    closing: list[asyncio.StreamWriter] = []

    async def script(provider: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        closing.append(writer)

    async with Play(script) as play:
        client = await play.connect()
        for n in range(1, 41):
            client.send(post(target=b"/%d" % n))
            assert (await client.answer()).body == b"ok"
            # both are in the kernel before the gateway's next turn: the next request and the provider's close
            os.write(client.writer.get_extra_info("socket").fileno(), get(b"/race%d" % n))
            with socket.socket(fileno=os.dup(closing[-1].get_extra_info("socket").fileno())) as sock:
                sock.shutdown(socket.SHUT_WR)
            assert (await client.answer()).body == b"ok"
        targets = [request.split(b" ")[1] for request in play.provider.requests]
        assert len(targets) == len(set(targets)) == 80, "each request reached the provider exactly once"


@both_loops
async def test_a_burst_uses_none_of_the_connections_that_the_provider_closed_a_moment_ago() -> None:
    writers: list[asyncio.StreamWriter] = []

    async def script(provider: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.01)  # so that the calls of a burst need a connection each
        writer.write(OK)
        writers.append(writer)

    async with Play(script) as play:
        clients = [await play.connect() for _ in range(8)]
        for burst in range(1, 11):
            for n, client in enumerate(clients):
                os.write(client.writer.get_extra_info("socket").fileno(), post(target=b"/%d-%d" % (burst, n)))
            # the requests and these ends are in the kernel before the gateway's next turn
            for writer in writers[:: burst % 3 + 1]:
                with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as sock:
                    sock.shutdown(socket.SHUT_WR)
            writers.clear()
            for client in clients:
                assert (await client.answer()).body == b"ok"
        targets = [request.split(b" ")[1] for request in play.provider.requests]
        assert len(targets) == len(set(targets)) == 80, "each request reached the provider exactly once"


@both_loops
async def test_a_request_that_may_have_been_read_is_never_sent_twice() -> None:
    async def script(provider: Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(provider.requests) % 2:
            writer.write(OK)
        else:
            writer.close()

    async with Play(script) as play:
        client = await play.connect()
        for n in range(10):
            client.send(post(target=b"/%d" % n))
            assert (await client.answer()).status == (200 if n % 2 == 0 else 502)
        assert len(play.provider.requests) == 10


@pytest.mark.parametrize("keep", [True, False])
@both_loops
async def test_an_answer_that_comes_before_the_request_is_read_reaches_the_client(keep: bool) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Much\r\nContent-Length: 3\r\n\r\nbig")
        if keep:
            await reader.read()
        writer.close()

    early = await asyncio.start_server(serve, "127.0.0.1", 0, limit=65_536)
    async with Play(OK, port=early.sockets[0].getsockname()[1]) as play:
        client = await play.connect()
        for _ in range(2):
            client.send(post(b"x" * 8_000_000))
            answer = await client.answer()
            if keep:
                assert (answer.line, answer.body) == (b"HTTP/1.1 413 Too Much", b"big")
            else:
                assert answer.status in (413, 502), "a reset may overtake the answer, as it may without a gateway"
    early.close()


@pytest.mark.parametrize("field", [b"Content-Length: 9", b"X: \x00", b"X : 1", b" x: 1"])
@both_loops
async def test_trailers_that_are_not_http_end_the_answer_abnormally(field: bytes) -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n" + field + b"\r\n\r\n"
    async with Play(raw) as play:
        client = await play.connect()
        client.send(post())
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.answer()
        assert play.calls[0].events[-1] == "failed:protocol"


@both_loops
async def test_fields_of_one_hop_among_trailers_reach_nobody() -> None:
    raw = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n"
        b"X-Sum: 1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\nKeep-Alive: timeout=9\r\nTE: x\r\n\r\n"
    )
    async with Play(raw) as play:
        client = await play.connect()
        client.send(post())
        await client.head()
        assert await client.reader.readuntil(b"\r\n\r\n") == b"2\r\nab\r\n0\r\nX-Sum: 1\r\n\r\n"


@both_loops
async def test_a_body_in_tiny_chunks_takes_no_more_memory_than_one_in_large_ones() -> None:
    size = 1_000_000
    async with Play(OK) as play:
        client = await play.connect()
        tracemalloc.start()
        try:
            client.send(CHUNKED_POST)
            for _ in range(100):
                client.send(b"2\r\nab\r\n" * (size // 200))
                await client.writer.drain()
            client.send(b"0\r\n\r\n")
            assert (await client.answer()).status == 200
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert play.provider.requests[0].endswith(b"ab" * (size // 2))
        assert peak < 12 * size, "all parts of the test are in this process; two-byte parts alone would take 24 times"


@both_loops
async def test_what_the_gateway_refuses_itself_says_so() -> None:
    async with Play(OK) as play:
        for raw, status, code in (
            (b"GET / HTTP/1.1\r\n\r\n", 400, b"malformed_request"),
            (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: g\r\n\r\n", 414, b"malformed_request"),
        ):
            answer = await play.exchange(raw)
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert b"\r\nx-spendgate-error: %b\r\n" % code in answer


@pytest.mark.parametrize("takes", [True, False])
@both_loops
async def test_a_provider_has_its_time_from_the_last_byte_of_a_request_that_it_takes_slowly(takes: bool) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left, later = len(request), asyncio.get_running_loop().time() + 2.5
        while takes and left > 0:
            left -= len(await reader.read(65_536))
            # the last of it is taken within the second of its times, and answered after the end of that
            pause = 0.01 if left > 6_000_000 else later - asyncio.get_running_loop().time()
            await asyncio.sleep(pause)
        if takes:
            await asyncio.sleep(0.8)
            writer.write(OK)
        await over.wait()
        writer.close()

    over = asyncio.Event()
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)  # what it has not read is not taken
    slow = await asyncio.start_server(serve, sock=listening, limit=65_536)
    request = post(b"x" * 16_000_000)
    async with Play(OK, port=listening.getsockname()[1], head_seconds=1.5) as play:
        client = await play.connect()
        client.send(request)
        assert (await client.answer()).status == (200 if takes else 504)
        over.set()
    slow.close()
