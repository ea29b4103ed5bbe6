"""A WebSocket whose sides take bytes at their own pace: nothing piles up between them, and nothing is lost."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator

import pytest
from support.gateway import Gateway

CONFIG = """
[providers.p]
kind = "openai"
base_url = "http://127.0.0.1:{port}"
api_key = "sk-real"
idle_seconds = 3

[[keys]]
id = "k"
secret = "sk-test-pressure"
team = "t"
workflow = "w"
"""
ASK = (
    b"GET /p/v1/realtime?model=gpt-realtime HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer sk-test-pressure\r\n"
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: MDAwMDAwMDAwMDAwMDAwMA==\r\n\r\n"
)
AGREE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
PIECE = b"\x82\x7e\xff\xff" + b"x" * 65_535
MOST = 100_000_000
"""More than the kernel and the gateway keep of one connection."""


class Provider:
    """Agrees to switch protocols; what follows is the test's to say."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]

    def meet(self, gateway: Gateway) -> tuple[socket.socket, socket.socket]:
        """A client's and the provider's end of a session."""
        client = socket.create_connection(("127.0.0.1", gateway.port), 10)
        client.sendall(ASK)
        provider, _ = self._listening.accept()
        provider.settimeout(10)
        until_blank_line(provider)
        provider.sendall(AGREE)
        until_blank_line(client)
        return client, provider


def until_blank_line(one: socket.socket) -> None:
    seen = b""
    while not seen.endswith(b"\r\n\r\n"):
        seen += one.recv(1)


def pressed(one: socket.socket) -> int:
    """Send until nothing has been taken for a while; how many bytes went out, whole pieces or not."""
    one.setblocking(False)
    sent = 0
    while sent < MOST and select.select([], [one], [], 0.5)[1]:
        at = sent % len(PIECE)
        sent += one.send(PIECE[at:])
    one.settimeout(10)
    return sent


def closed(one: socket.socket) -> bool:
    """Whether the other side closes while more is sent."""
    try:
        for _ in range(MOST // len(PIECE)):
            one.sendall(PIECE)
    except ConnectionError:
        return True
    return False


def exactly(one: socket.socket, size: int) -> bytes:
    taken = bytearray()
    while len(taken) < size:
        piece = one.recv(min(1 << 20, size - len(taken)))
        assert piece, "the session was closed"
        taken += piece
    return bytes(taken)


def all_sent(size: int) -> bytes:
    return (PIECE * (size // len(PIECE) + 1))[:size]


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("pressure"), CONFIG.format(port=provider.port)) as running:
        yield running


def test_a_provider_that_takes_nothing_stops_the_client(gateway: Gateway, provider: Provider) -> None:
    client, other = provider.meet(gateway)
    with client, other:
        sent = pressed(client)
        assert sent < MOST, "all that the client sent lies in the gateway"
        assert exactly(other, sent) == all_sent(sent)
        client.sendall(b"more")
        assert exactly(other, 4) == b"more"


def test_a_session_whose_client_was_slow_once_goes_on(gateway: Gateway, provider: Provider) -> None:
    client, other = provider.meet(gateway)
    with client, other:
        sent = pressed(other)
        assert exactly(client, sent) == all_sent(sent)
        time.sleep(4)  # longer than a provider may be silent in an answer
        client.sendall(b"more")
        assert exactly(other, 4) == b"more"


def test_a_provider_that_takes_nothing_for_too_long_is_given_up(gateway: Gateway, provider: Provider) -> None:
    client, other = provider.meet(gateway)
    with client, other:
        pressed(client)
        assert closed(client)
    while gateway.records(limit=10)[0]["ended_at"] is None:
        time.sleep(0.02)
    assert 'spendgate_inflight_requests{provider="p"} 0.0' in gateway.metrics()
