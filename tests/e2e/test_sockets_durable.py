"""What a session over WebSocket has used is in the ledger before its client hears that a response is done."""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.gateway import Gateway
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

KEY = "sk-test-durable"
CONFIG = """
[providers.openai]
kind = "openai"
base_url = "http://127.0.0.1:{port}"
api_key = "sk-real"

[[keys]]
id = "k"
secret = "sk-test-durable"
team = "t"
workflow = "w"
"""
CREATED = {"type": "response.created", "response": {"id": "r"}}
DONE = json.dumps({"type": "response.done", "response": {"id": "r", "usage": {"input_tokens": 3, "output_tokens": 5}}})


class Provider:
    """Says that a response is done when it is told to go on: all of it, and hangs up; or what is behind ``cut``."""

    def __init__(self, cut: int) -> None:
        self._cut = cut
        self.go_on = threading.Event()

    def __call__(self, connection: ServerConnection) -> None:
        connection.send(json.dumps(CREATED))
        if not self._cut:
            self.go_on.wait(30)
            connection.send(DONE)
            connection.socket.shutdown(socket.SHUT_RDWR)
            return
        connection.send(self._pieces())
        connection.recv()

    def _pieces(self) -> Any:
        yield DONE[: self._cut]
        self.go_on.wait(30)
        yield DONE[self._cut :]


def settled(gateway: Gateway) -> int:
    """Calls of which the gateway knows the end, durable or not."""
    lines = [line for line in gateway.metrics().splitlines() if line.startswith("spendgate_requests_total{")]
    return sum(int(float(line.split()[-1])) for line in lines)


def rest(take: Callable[[], Any]) -> str:
    """What still comes before the connection is gone. A message is said once its last frame has come: ``take`` would
    raise ``StopIteration`` at that one."""
    said = ""
    try:
        while True:
            said += take()
    except ConnectionClosed:
        return said


@pytest.mark.parametrize("cut", [0, DONE.index("done") + 2, len(DONE) - 9], ids=["hangs up", "in its name", "late"])
def test_a_client_does_not_hear_that_a_response_is_done_before_its_record_is_durable(tmp_path: Path, cut: int) -> None:
    provider = Provider(cut)
    with serve(provider, "127.0.0.1", 0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        with Gateway(tmp_path, CONFIG.format(port=running.socket.getsockname()[1])) as gateway:
            url = f"ws://127.0.0.1:{gateway.port}/openai/v1/realtime?model=gpt-realtime"
            with connect(url, additional_headers={"Authorization": f"Bearer {KEY}"}) as client:
                heard = client.recv()
                other = sqlite3.connect(tmp_path / "data" / "ledger.db", isolation_level=None)
                other.execute("BEGIN IMMEDIATE")
                if cut:
                    pieces = client.recv_streaming()
                    heard += next(pieces)
                provider.go_on.set()
                deadline = time.monotonic() + 10
                while settled(gateway) < (1 if cut else 2):
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
                gateway.kill()
                said = rest(lambda: next(pieces) if cut else client.recv())
                other.close()
        running.shutdown()
    assert heard == json.dumps(CREATED) + DONE[:cut]
    assert said in ("", DONE[cut:] if cut else "")
