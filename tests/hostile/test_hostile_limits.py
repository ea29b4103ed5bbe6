"""Whoever sends too slowly, too much or over too many connections is cut off; everybody else is served meanwhile."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attacks import AUTH, CHUNKED, HOST, KEY, attacks, request
from hostile_config import CONFIG
from raw_client import answers, exchange
from strict_provider import ANSWER, StrictProvider
from support.gateway import Gateway

NORMAL = b"GET /p/normal HTTP/1.1\r\n" + HOST + AUTH + b"Connection: close\r\n\r\n"
CONNECTIONS = 200
GIGABYTE = 1 << 30
POST = request(CHUNKED)
ENDLESS = {
    "a chunk extension": (POST + b"2;", b"x" * 65_536),
    "a quoted chunk extension": (POST + b'2;a="', b"x" * 65_536),
    "zeros of a chunk size": (POST, b"0" * 65_536),
    "trailers": (POST + b"0\r\n", b"X: yyyy\r\n" * 8_000),
    "one trailer": (POST + b"0\r\nX: ", b"y" * 65_536),
    "tiny chunks with extensions": (POST, (b"1;" + b"x" * 100 + b"\r\ny\r\n") * 600),
    "tiny chunks": (POST, b"1\r\ny\r\n" * 10_000),
    "large chunks": (POST, b"10000\r\n" + b"y" * 65_536 + b"\r\n"),
    "header fields": (request()[:-2], b"X: yyyy\r\n" * 8_000),
    "one header field": (request()[:-2] + b"X: ", b"y" * 65_536),
    "a field name": (request()[:-2], b"y" * 65_536),
    "a target": (b"GET /p/", b"y" * 65_536),
    "a method": (b"", b"G" * 65_536),
    "empty lines": (b"", b"\r\n" * 32_768),
    "a declared body": (request(b"Content-Length: %d\r\n" % GIGABYTE), b"y" * 65_536),
    "bytes behind a close": (request(b"Connection: close\r\n"), b"y" * 65_536),
    "requests whose answers nobody reads": (b"", request(b"Content-Length: 0\r\n") * 400),
}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, provider: StrictProvider) -> Iterator[Gateway]:
    limits = f"idle_seconds = 2\nconnections = {CONNECTIONS}\n"
    config = CONFIG.format(port=provider.port, key=KEY.decode()).replace("head_seconds", limits + "head_seconds")
    with Gateway(tmp_path_factory.mktemp("guarded"), config) as running:
        yield running


def resident(gateway: Gateway) -> int:
    """Bytes of memory that the gateway holds."""
    assert gateway.process is not None
    pages = Path(f"/proc/{gateway.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def descriptors(gateway: Gateway) -> int:
    assert gateway.process is not None
    return len(list(Path(f"/proc/{gateway.process.pid}/fd").iterdir()))


def metric(gateway: Gateway, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", gateway.metrics(), re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def settles(gateway: Gateway, most: int) -> bool:
    """True once the gateway holds no more than so many descriptors."""
    deadline = time.monotonic() + 15
    while descriptors(gateway) > most:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


async def drip(port: int, start: bytes, drops: bytes) -> bytes:
    """Send a byte now and then until the gateway has enough of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(start)
    received = asyncio.ensure_future(reader.read())
    for drop in drops:
        if received.done():
            break
        writer.write(bytes([drop]))
        await asyncio.sleep(0.1)
    answer = await asyncio.wait_for(received, 10)
    writer.close()
    return answer


async def test_slow_heads_and_bodies_time_out_while_others_are_served(
    guarded: Gateway, provider: StrictProvider
) -> None:
    provider.take()
    before = metric(guarded, "spendgate_slow_clients_total")
    heads = [drip(guarded.port, request()[:40], b"x" * 100) for _ in range(50)]
    bodies = [drip(guarded.port, request(b"Content-Length: 100\r\n"), b"") for _ in range(25)]
    chunks = [drip(guarded.port, POST + b"ff\r\n", b"") for _ in range(25)]
    slow = [asyncio.ensure_future(drops) for drops in (*heads, *bodies, *chunks)]
    for _ in range(20):
        normal = await asyncio.to_thread(exchange, guarded.port, NORMAL)
        assert normal.endswith(ANSWER)
    assert {answers(answer)[0][0] for answer in await asyncio.gather(*slow)} == {408}
    assert metric(guarded, "spendgate_slow_clients_total") - before == 100
    assert provider.take() == [(b"GET", b"/normal", b"")] * 20


def test_connections_beyond_the_limit_are_told_and_the_others_are_served(guarded: Gateway) -> None:
    before = metric(guarded, "spendgate_refused_connections_total")
    idle = [socket.create_connection(("127.0.0.1", guarded.port), 10) for _ in range(CONNECTIONS)]
    busy = idle[0]
    busy.sendall(NORMAL.replace(b"close", b"keep-alive"))
    assert busy.recv(10_000).endswith(ANSWER)
    refused = exchange(guarded.port, b"")
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nx-spendgate-error: too_many_connections\r\n" in refused
    assert metric(guarded, "spendgate_refused_connections_total") - before == 1
    for connection in idle[1:]:
        assert connection.recv(1) == b"", "an idle connection is closed without a word"
        connection.close()
    busy.close()
    assert settles(guarded, 60)
    assert exchange(guarded.port, NORMAL).endswith(ANSWER)


def flood(port: int, start: bytes, piece: bytes) -> int:
    """Send without end and read nothing; how many bytes were taken before the gateway cut it off or stopped reading."""
    sent = 0
    with socket.create_connection(("127.0.0.1", port), 1.5) as connection:
        try:
            connection.sendall(start)
            while sent < GIGABYTE:
                sent += connection.send(piece)
        except (ConnectionError, TimeoutError):
            pass
    return sent


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_has_no_end_is_not_read_to_its_end(guarded: Gateway, provider: StrictProvider, kind: str) -> None:
    start, piece = ENDLESS[kind]
    exchange(guarded.port, NORMAL)
    before = resident(guarded)
    assert flood(guarded.port, start, piece) < 200_000_000
    assert exchange(guarded.port, NORMAL).endswith(ANSWER)
    assert resident(guarded) - before < 24_000_000
    assert provider.faults == []


def test_attacks_leave_no_memory_descriptors_or_tasks_behind(guarded: Gateway) -> None:
    raws = [attack.raw for attack in attacks() if attack.answers[-1] == "refused" and len(attack.raw) < 100_000]

    def attack_all() -> None:
        for raw in raws:
            exchange(guarded.port, raw)

    attack_all()
    assert settles(guarded, 60)
    memory, files = resident(guarded), descriptors(guarded)
    tasks = metric(guarded, "spendgate_event_loop_tasks")
    for _ in range(3):
        attack_all()
    assert settles(guarded, files + 2)
    assert resident(guarded) - memory < 2_000_000
    assert metric(guarded, "spendgate_event_loop_tasks") <= tasks + 2
    assert "Traceback" not in guarded.log()
