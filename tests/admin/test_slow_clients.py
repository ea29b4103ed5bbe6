"""Clients that do not end what they began, or do not take what they asked for, do not keep the admin port."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator

import pytest
from aiohttp import web
from support.gateway import Gateway

from gateway.server.limits import Limits
from gateway.server.patience import Patience, patient

CONFIG = """
[server]
[server.limits]
head_seconds = 1
body_seconds = 1
[providers.simulated]
kind = "simulated"
"""
POST = b"POST /api/keys HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
WHOLE = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("slow"), CONFIG) as running:
        yield running


def answered(gateway: Gateway, *sent: bytes) -> bytes:
    """All that comes until the gateway closes."""
    with socket.create_connection(("127.0.0.1", gateway.admin_port), 10) as connection:
        for part in sent:
            connection.sendall(part)
            if part is WHOLE:
                assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        got = b""
        while piece := connection.recv(65536):
            got += piece
        return got


def slow_clients(gateway: Gateway) -> float:
    found = re.search(r"^spendgate_slow_clients_total (\S+)$", gateway.metrics(), re.MULTILINE)
    assert found is not None
    return float(found[1])


@pytest.mark.parametrize("sent", [(), (b"GET /metrics HTTP/1.1\r\nX: ",), (WHOLE, b"GET /metrics HTT")])
def test_a_head_that_does_not_end_is_given_up(gateway: Gateway, sent: tuple[bytes, ...]) -> None:
    before = slow_clients(gateway)
    try:
        assert answered(gateway, *sent) == b""
    except ConnectionResetError:
        pass
    assert slow_clients(gateway) == before + 1


def test_a_body_that_does_not_end_is_told_so(gateway: Gateway) -> None:
    assert answered(gateway, POST + b'{"team":').startswith(b"HTTP/1.1 408")


async def test_an_answer_that_nobody_takes_is_given_up() -> None:
    broken = asyncio.Event()

    async def much(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(1 << 20))
        except ConnectionError:
            broken.set()
            raise

    app = web.Application()
    app.router.add_get("/", much)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    assert runner.server is not None
    loop = asyncio.get_running_loop()
    patience = Patience(loop, Limits(write_seconds=0.2))
    server = await loop.create_server(patient(patience, runner.server), "127.0.0.1", 0)
    _, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.wait_for(broken.wait(), 20)
    assert patience.given_up == 1
    writer.close()
    server.close()
    await runner.cleanup()
