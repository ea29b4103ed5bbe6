"""A provider's name has several addresses, and some of them lead nowhere."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from transport_play import OK, Play, both_loops

from gateway.ports import Endpoint
from gateway.server.connect import Connector

DEAD = [f"127.0.0.{number}" for number in range(2, 7)]
REFUSING = ["127.0.1.1", "127.0.1.2"]


class Names:
    """The running loop, where every name has the addresses of the test. Notes which are tried."""

    def __init__(self, addresses: list[str]) -> None:
        self._loop = asyncio.get_running_loop()
        self.addresses = addresses
        self.tried: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._loop, name)

    async def getaddrinfo(self, host: str, port: int, **options: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.addresses]

    async def create_connection(self, factory: Any, address: str, port: int, **options: Any) -> Any:
        self.tried.append(address)
        return await self._loop.create_connection(factory, address, port, **options)


@contextmanager
def leading_nowhere(addresses: list[str], port: int) -> Iterator[None]:
    """Nothing that is sent to these addresses is answered: their queues are full."""
    with ExitStack() as stack:
        for address in addresses:
            full = stack.enter_context(socket.socket())
            full.bind((address, port))
            full.listen(0)
            for _ in range(3):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex((address, port))
        yield


@pytest.mark.parametrize("living", [0, 1, 5])
@both_loops
async def test_an_address_that_answers_is_found_among_those_that_do_not(living: int) -> None:
    async with Play(OK, host="provider.test", connect_seconds=8.0) as play:
        loop = Names([*DEAD[:living], "127.0.0.1", *DEAD[living:]])
        connector = Connector(loop, asyncio.get_running_loop().time)  # type: ignore[arg-type]
        with leading_nowhere(DEAD, play.endpoint.port):
            before = len(os.listdir("/proc/self/fd"))
            async with asyncio.timeout(play.endpoint.connect_seconds):
                await connector.connect(play.endpoint, asyncio.Protocol)
            loop.tried.clear()
            await connector.connect(play.endpoint, asyncio.Protocol)
            assert loop.tried == ["127.0.0.1"], "it is known by now which one answers"
            await asyncio.sleep(0)
            assert len(os.listdir("/proc/self/fd")) <= before + 4, "two connections with two ends each"


@both_loops
async def test_where_all_addresses_refuse_the_last_ones_reason_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        connector = Connector(Names(REFUSING), asyncio.get_running_loop().time)  # type: ignore[arg-type]
        with pytest.raises(ConnectionRefusedError):
            await connector.connect(Endpoint(host="provider.test", port=port), asyncio.Protocol)
