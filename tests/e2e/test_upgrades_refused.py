"""A provider that refuses a WebSocket answers as to any other request: its answer passes, whole or broken off."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

import pytest
from support.gateway import Gateway
from support.upstream import CLOSE, Seen, Step, Upstream

CONFIG = """
[providers.p]
kind = "openai"
base_url = "{url}"
api_key = "sk-real"
head_seconds = 1

[[keys]]
id = "k"
secret = "sk-test-upgrades"
team = "t"
workflow = "w"
"""
ASK = (
    b"GET /p/v1/realtime?model=gpt-realtime HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer sk-test-upgrades\r\n"
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nX-Play: %b\r\n"
    b"Sec-WebSocket-Key: MDAwMDAwMDAwMDAwMDAwMA==\r\n\r\n"
)
BODY = b'{"error":{"message":"no"}}'
HEAD = b"HTTP/1.1 403 Not You\r\nContent-Type: application/json\r\nX-Why: no\r\n"
AGREED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SCRIPTS: dict[str, list[Step]] = {
    "whole": [HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY],
    "short": [HEAD + b"Content-Length: %d\r\n\r\n" % (len(BODY) + 1) + BODY, CLOSE],
    "chunks": [HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(BODY) + BODY + b"\r\n", CLOSE],
    "late": [5.0],
    "agrees": [0.3, AGREED],
}


def script(seen: Seen) -> Iterable[Step]:
    return SCRIPTS[seen.header("x-play") or ""]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with (
        Upstream(script) as upstream,
        Gateway(tmp_path_factory.mktemp("upgrades"), CONFIG.format(url=upstream.url)) as running,
    ):
        yield running


def asked(gateway: Gateway, play: str, ahead: bytes = b"", path: bytes = b"realtime") -> tuple[list[bytes], bytes]:
    """The head's lines and all that came behind it. ``ahead``: what the client sends before it has the head."""
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as client:
        client.sendall(ASK.replace(b"realtime", path, 1) % play.encode() + ahead)
        raw = b"".join(iter(lambda: client.recv(65_536), b""))
    head, _, rest = raw.partition(b"\r\n\r\n")
    return head.split(b"\r\n"), rest


def test_its_answer_passes_with_its_length_and_the_requests_id(gateway: Gateway) -> None:
    lines, body = asked(gateway, "whole")
    assert lines[0] == b"HTTP/1.1 403 Not You"
    assert {b"X-Why: no", b"Content-Length: %d" % len(BODY)} < set(lines)
    assert body == BODY
    request_id = next(line for line in lines if line.startswith(b"x-spendgate-request-id: ")).split(b": ")[1].decode()
    assert gateway.get("/api/requests/" + request_id)["status"] == 403


@pytest.mark.parametrize("play", ["short", "chunks"])
def test_an_answer_that_breaks_off_never_looks_complete(gateway: Gateway, play: str) -> None:
    lines, body = asked(gateway, play)
    if b"Transfer-Encoding: chunked" in lines:
        assert not body.endswith(b"0\r\n\r\n")
    else:
        assert b"Content-Length: %d" % (len(body) + 1) in lines
    assert BODY in body


def test_a_provider_that_does_not_answer_in_time_is_a_timeout_for_client_and_ledger(gateway: Gateway) -> None:
    lines, _ = asked(gateway, "late")
    assert lines[0].startswith(b"HTTP/1.1 504")
    assert b"x-spendgate-error: upstream_head_timeout" in lines
    assert gateway.records(outcome="upstream_timeout")[0]["api"] == "realtime_session"


def test_what_a_client_sends_ahead_is_looked_at_once_its_provider_agreed(gateway: Gateway) -> None:
    lines, frames = asked(gateway, "agrees", b"\x81\x05hello", b"responses")
    assert lines[0] == b"HTTP/1.1 101 Switching Protocols"
    assert frames == b"\x88\x19" + (1008).to_bytes(2, "big") + b"a message can't be read"


def test_a_client_that_sends_much_ahead_is_left_and_so_is_its_provider(gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as client:
        client.sendall(ASK % b"late" + b"\x82" * 100_000)
        with suppress(ConnectionError):
            assert client.recv(65_536) == b""
    deadline = time.monotonic() + 0.8
    while (left := gateway.records(outcome="client_disconnected")) == [] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [record["api"] for record in left] == ["realtime_session"]
