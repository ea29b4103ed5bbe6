"""The end of a connection over TLS: a client gets all of its answer and TLS's own end, however late it takes them."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from pathlib import Path

import pytest
import trustme
from transport_play import Play, both_loops, post

from gateway.server import tls
from gateway.server.limits import Limits

BODY = bytes(range(256)) * 40_000
LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
UNPAUSED = len(BODY) * 2
"""A write buffer that takes the whole answer at once: it is all written when the connection is closed."""
CLOSE = post(extra=b"Connection: close\r\n")


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A gateway's and its clients'."""
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "gateway.pem")
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return tls.server_context(tmp_path / "gateway.pem", tmp_path / "gateway.pem"), client


def connected(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Its receive buffer is small, and an end that is not TLS's own raises ``ssl.SSLEOFError``."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    plain.settimeout(20)
    plain.connect(("127.0.0.1", port))
    return context.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False)


def taken(port: int, context: ssl.SSLContext, after: float, *, bit: int = 1 << 20, pause: float = 0.0) -> bytes:
    """All that comes for a request, read by bits from some seconds on."""
    with connected(port, context) as secure:
        secure.sendall(CLOSE)
        time.sleep(after)
        read = bytearray()
        while some := secure.recv(bit):
            read += some
            time.sleep(pause)
        return bytes(read)


@both_loops
async def test_a_client_gets_all_of_its_answer_however_late_it_takes_it(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    served, context = contexts
    async with Play(LARGE, tls=served, limits=Limits(write_buffer_bytes=UNPAUSED)) as play:
        # later than a closed connection waits for its client's part of TLS's end
        answers = await asyncio.gather(*(asyncio.to_thread(taken, play.port, context, after) for after in (0.0, 6.0)))
        for answer in answers:
            assert answer.partition(b"\r\n\r\n")[2] == BODY


@both_loops
async def test_a_client_that_takes_little_at_a_time_has_time_and_one_that_takes_nothing_has_none(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    served, context = contexts
    limits = Limits(write_buffer_bytes=UNPAUSED, write_seconds=1.0)
    async with Play(LARGE, tls=served, limits=limits) as play:
        slow = asyncio.create_task(asyncio.to_thread(taken, play.port, context, 0.0, bit=65_536, pause=0.02))
        idle = await asyncio.to_thread(connected, play.port, context)
        idle.sendall(CLOSE)
        assert (await slow).partition(b"\r\n\r\n")[2] == BODY
        await play.until(lambda: not play.plane.connections)
        idle.close()


@pytest.mark.parametrize("size", [2, 500_000], ids=["taken", "in the kernel"])
@both_loops
async def test_a_drain_waits_for_no_idle_clients_part_and_cuts_off_no_answer(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], size: int
) -> None:
    served, context = contexts
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
    async with Play(answer, tls=served) as play:
        secure = await asyncio.to_thread(connected, play.port, context)
        secure.sendall(post())
        await play.until(lambda: bool(play.calls) and play.plane.in_flight == 0)
        assert await play.plane.drain(3), "it was broken off"
        assert b"".join(iter(lambda: secure.recv(1 << 16), b"")) == answer
        secure.close()
