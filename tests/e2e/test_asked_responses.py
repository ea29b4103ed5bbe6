"""Responses over a WebSocket: each message that asks for one is a call of its own, bound, held and durable first."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.gateway import Gateway
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve

KEY = "sk-test-asked"
CONFIG = """
[server]
workers = {workers}

[providers.openai]
kind = "openai"
base_url = "http://127.0.0.1:{port}"
api_key = "sk-real"

[[prices]]
provider = "openai"
model = "small"
input_per_mtok = 1.0
output_per_mtok = 1.0

[[models]]
provider = "openai"
model = "*"
context_window = 100000
max_output = 10000

[[keys]]
id = "k"
secret = "sk-test-asked"
team = "t"
workflow = "w"
models = ["small", "other"]

[[quotas]]
name = "small-tokens"
match = {{ model = "small" }}
tokens = 4000
window = "total"

[[quotas]]
name = "turns"
concurrent = 4
window = "total"
"""
USAGE = {"input_tokens": 36, "output_tokens": 87}


class Provider:
    """Answers ``say`` at once, ``fail`` with an error, and nothing else."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def __call__(self, connection: ServerConnection) -> None:
        for message in connection:
            asked = json.loads(message)
            self.asked.append(asked)
            if asked.get("input") == "say":
                done = {"id": "r", "model": asked["model"], "status": "completed", "usage": USAGE}
                connection.send(json.dumps({"type": "response.created", "response": {"id": "r"}}))
                connection.send(json.dumps({"type": "response.completed", "response": done}))
            elif asked.get("input") == "fail":
                connection.send(json.dumps({"type": "error", "status": 400, "error": {"code": "no", "message": "no"}}))
            else:
                connection.send(json.dumps({"type": "response.created", "response": {"id": "r"}}))


@pytest.fixture
def provider() -> Iterator[tuple[Provider, int]]:
    playing = Provider()
    with serve(playing, "127.0.0.1", 0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield playing, running.socket.getsockname()[1]
        running.shutdown()


def session(gateway: Gateway) -> ClientConnection:
    return connect(
        f"ws://127.0.0.1:{gateway.port}/openai/v1/responses", additional_headers={"Authorization": f"Bearer {KEY}"}
    )


def ask(connection: ClientConnection, text: str, **more: Any) -> None:
    body = {"type": "response.create", "model": "small", "input": text, "max_output_tokens": 1000, **more}
    connection.send(json.dumps(body))


def told(connection: ClientConnection) -> str:
    return str(json.loads(connection.recv(timeout=20))["type"])


def why_closed(connection: ClientConnection) -> str:
    with pytest.raises(ConnectionClosed) as closed:
        connection.recv(timeout=20)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    return closed.value.rcvd.reason


def gauge(gateway: Gateway, name: str, quota: str, unit: str) -> int:
    return int(gateway.value(f"spendgate_quota_{name}", quota=quota, unit=unit))


def until(gateway: Gateway, name: str, quota: str, unit: str, wanted: int) -> None:
    deadline = time.monotonic() + 10
    while (found := gauge(gateway, name, quota, unit)) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_message_asks_for_is_held_before_the_provider_hears_of_it(
    tmp_path: Path, provider: tuple[Provider, int], workers: int
) -> None:
    playing, port = provider
    with Gateway(tmp_path, CONFIG.format(port=port, workers=workers)) as gateway:
        with session(gateway) as connection:
            for _ in range(2):
                ask(connection, "say")
                assert [told(connection), told(connection)] == ["response.created", "response.completed"]
            ask(connection, "fail")
            assert told(connection) == "error"
            until(gateway, "reserved", "small-tokens", "tokens", 0)
            ask(connection, "wait")
            assert told(connection) == "response.created"
            # its text, what is put around it, and what it may say
            until(gateway, "reserved", "turns", "concurrent", 1)
            held = gauge(gateway, "reserved", "small-tokens", "tokens")
            assert 1000 < held < 2000
            assert gauge(gateway, "used", "small-tokens", "tokens") == 2 * 123
        # what was begun and broke off counts whole
        until(gateway, "used", "small-tokens", "tokens", 2 * 123 + held)
        with session(gateway) as connection:
            ask(connection, "say", max_output_tokens=3000)
            assert "small-tokens" in why_closed(connection)
        assert [one["input"] for one in playing.asked] == ["say", "say", "fail", "wait"]
        found = sorted(gateway.records(), key=lambda record: record["request_id"])
        assert [(one["outcome"], one["usage_source"]) for one in found if one["api"] == "responses"] == [
            ("completed", "response"), ("completed", "response"), ("completed", "none"),
            ("client_disconnected", "estimated"),
        ]  # fmt: skip
        assert [one["cost_nanousd"] for one in found[:3]] == [0, 123_000, 123_000]
        assert " 0 differences" in gateway.cli("quotas", "verify").stdout
        assert "agrees with itself" in gateway.cli("ledger", "verify").stdout


def test_a_message_may_name_only_a_model_that_its_key_may_use(tmp_path: Path, provider: tuple[Provider, int]) -> None:
    playing, port = provider
    with Gateway(tmp_path, CONFIG.format(port=port, workers=1)) as gateway:
        for more in ({"model": "large"}, {"model": ""}, {"tools": [{"type": "image_generation", "model": "large"}]}):
            with session(gateway) as connection:
                ask(connection, "say", **more)
                assert "may not use" in why_closed(connection)
        with session(gateway) as connection:
            ask(connection, "say", model="other")
            assert told(connection) == "response.created"
        assert [one["model"] for one in playing.asked] == ["other"]


def masked(event: dict[str, Any]) -> bytes:
    """A client's frame, under a mask that changes nothing."""
    payload = json.dumps(event).encode()
    return b"\x81\xfe" + len(payload).to_bytes(2, "big") + bytes(4) + payload


@pytest.mark.parametrize("cut", [1, 3, 5_000, 90_003])
def test_a_session_is_closed_between_two_frames_with_its_reason(tmp_path: Path, cut: int) -> None:
    frame = b"\x81\x7f" + (90_000).to_bytes(8, "big") + b"x" * 90_000
    go_on = threading.Event()

    def play(connection: ServerConnection) -> None:
        connection.recv()
        connection.socket.sendall(frame[:cut])
        go_on.wait(30)
        with contextlib.suppress(OSError):
            while True:
                connection.socket.sendall(frame[cut:] + frame[:cut])
                time.sleep(0.05)

    with serve(play, "127.0.0.1", 0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        config = CONFIG.format(port=running.socket.getsockname()[1], workers=1)
        with Gateway(tmp_path, config) as gateway, socket.create_connection(("127.0.0.1", gateway.port), 20) as client:
            client.sendall(
                b"GET /openai/v1/responses HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                b"Authorization: Bearer " + KEY.encode() + b"\r\n\r\n"
            )
            wanted = {"type": "response.create", "model": "small", "max_output_tokens": 9, "input": "x" * 99}
            with client.makefile("rb") as heard:
                while heard.readline() != b"\r\n":
                    pass
                client.sendall(masked(wanted))
                # it has the beginning of a frame when it asks for what it may not have
                assert heard.read(cut) == frame[:cut]
                client.sendall(masked(wanted | {"model": "large"}))
                go_on.set()
                rest = heard.read()
        running.shutdown()
    whole = rest.rfind(b"x") + 1
    assert rest[:whole] == frame[cut:] + frame * (whole // len(frame))
    close = rest[whole:]
    assert (close[:1], close[2:4]) == (b"\x88", (1008).to_bytes(2, "big"))
    assert b"the key" in close.lower()


def test_a_response_in_progress_when_the_gateway_is_killed_counts_whole(
    tmp_path: Path, provider: tuple[Provider, int]
) -> None:
    config = CONFIG.format(port=provider[1], workers=1)
    with Gateway(tmp_path, config) as first, session(first) as connection:
        ask(connection, "wait")
        assert told(connection) == "response.created"
        held = gauge(first, "reserved", "small-tokens", "tokens")
        first.kill()
    with Gateway(tmp_path, config) as second:
        assert gauge(second, "used", "small-tokens", "tokens") == held > 1000
        assert sorted((one["api"], one["outcome"]) for one in second.records()) == [
            ("responses", "recovered"),
            ("responses_session", "recovered"),
        ]


def test_messages_come_in_any_pieces_and_several_at_once(tmp_path: Path, provider: tuple[Provider, int]) -> None:
    with Gateway(tmp_path, CONFIG.format(port=provider[1], workers=1)) as gateway:
        with session(gateway) as connection:
            pieces = json.dumps({"type": "response.create", "model": "small", "input": "say", "max_output_tokens": 9})
            connection.send(iter(pieces))
            for _ in range(2):
                ask(connection, "say", pad="ü" * 70_000, model="other")
            ask(connection, "say")
            assert [told(connection) for _ in range(8)] == ["response.created", "response.completed"] * 4
        models = [one["model_requested"] for one in reversed(gateway.records()) if one["api"] == "responses"]
        assert models == ["small", "other", "other", "small"]
