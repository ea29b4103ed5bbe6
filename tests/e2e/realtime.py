"""A provider of realtime sessions, and the configuration of a gateway in front of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from support.gateway import Gateway
from websockets.frames import Frame, Opcode
from websockets.sync.server import Server, ServerConnection, serve
from websockets.typing import Subprotocol

KEY = "sk-test-sockets"
CONFIG = """
[providers.openai]
kind = "openai"
base_url = "http://127.0.0.1:{port}"
api_key = "sk-real-openai"

[providers.strict]
kind = "openai"
base_url = "http://127.0.0.1:{port}"
api_key = "sk-real-openai"
unpriced_models = "block"

[[routes]]
model = "voice"
provider = "openai"
rename = "gpt-realtime"

[[routes]]
model = "never"
provider = "elsewhere"

[[routes]]
model = "*"
provider = "strict"

[providers.elsewhere]
kind = "cohere"
base_url = "http://127.0.0.1:9"
api_key = "sk-real"

[[models]]
provider = "openai"
model = "gpt-realtime*"
context_window = 1000
max_output = 1000

[[keys]]
id = "k"
secret = "sk-test-sockets"
team = "t"
workflow = "w"

[[keys]]
id = "few"
secret = "sk-test-sockets-few"
team = "few"
workflow = "w"

[[keys]]
id = "two"
secret = "sk-test-sockets-two"
team = "two"
workflow = "w"

[[keys]]
id = "bound"
secret = "sk-test-sockets-bound"
team = "t"
workflow = "w"
models = ["gpt-4o*"]

[[quotas]]
name = "few-tokens"
match = {{ team = "few" }}
tokens = 2100
window = "total"

[[quotas]]
name = "two-tokens"
match = {{ team = "two" }}
tokens = 2100
window = "total"
"""
USAGE = {
    "total_tokens": 253,
    "input_tokens": 132,
    "output_tokens": 121,
    "input_token_details": {"text_tokens": 119, "audio_tokens": 13, "cached_tokens": 64},
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
}
HEARD = "conversation.item.input_audio_transcription.completed"
HEARD_USAGE = {"type": "tokens", "total_tokens": 35, "input_tokens": 26, "output_tokens": 9,
               "input_token_details": {"text_tokens": 0, "audio_tokens": 26}}  # fmt: skip
TEXT_USAGE = {"input_tokens": 36, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 87,
              "output_tokens_details": {"reasoning_tokens": 9}, "total_tokens": 123}  # fmt: skip
seen: list[dict[str, str]] = []
asked: list[str] = []


def converse(connection: ServerConnection) -> None:
    assert connection.request is not None
    asked.append(connection.request.path)
    seen.append({name.lower(): value for name, value in connection.request.headers.raw_items()})
    heard_by = {"audio": {"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}}}
    connection.send(json.dumps({"type": "session.created", "session": {"model": "gpt-realtime", **heard_by}}))
    for message in connection:
        event = json.loads(message)
        if event["type"] == "echo":
            connection.send(message)
        if event["type"] == "hang":
            connection.send(json.dumps({"type": "response.created", "response": {"id": "r"}}))
            connection.send(json.dumps({"type": "response.output_text.delta", "delta": "one two three four"}))
        if event["type"] == "twice":
            done = {"type": "response.done", "response": {"id": "r", "status": "completed", "usage": USAGE}}
            told = [{"type": "response.created", "response": {"id": "r"}}, done] * 2
            frames = [Frame(Opcode.TEXT, json.dumps(one).encode()).serialize(mask=False) for one in told]
            connection.socket.sendall(b"".join(frames))
        if event["type"] == "talk over":
            connection.send(json.dumps({"type": "response.created", "response": {"id": "r"}}))
            connection.send(json.dumps({"type": HEARD, "item_id": "i", "transcript": "hi", "usage": HEARD_USAGE}))
            connection.send(json.dumps({"type": "response.output_text.delta", "delta": "one two three four"}))
        if event["type"] == "response.create" and connection.request.path.startswith("/v1/responses"):
            done = {"id": "r", "model": "gpt-4o-mini", "status": "completed", "usage": TEXT_USAGE}
            connection.send(json.dumps({"type": "response.created", "response": {"id": "r"}}))
            connection.send(json.dumps({"type": "response.output_text.delta", "delta": "so it goes"}))
            connection.send(json.dumps({"type": "response.completed", "response": done}))
        elif event["type"] == "response.create":
            connection.send(json.dumps({"type": "response.created", "response": {"id": "r"}}))
            connection.send(json.dumps({"type": "response.output_audio.delta", "delta": "A" * 100_000}))
            done = {"id": "r", "object": "realtime.response", "status": "completed", "output": [], "usage": USAGE}
            connection.send(json.dumps({"type": "response.done", "response": done}))


def choose(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return offered[0] if offered else None


@contextmanager
def provider() -> Iterator[Server]:
    with serve(converse, "127.0.0.1", 0, select_subprotocol=choose) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()


def port_of(server: Server) -> int:
    port: int = server.socket.getsockname()[1]
    return port


def url(gateway: Gateway) -> str:
    return f"ws://127.0.0.1:{gateway.port}/openai/v1/realtime?model=gpt-realtime"


def records(gateway: Gateway, team: str, api: str, count: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 5
    while True:
        found = [record for record in gateway.records(team=team) if record["api"] == api]
        if len(found) >= count or time.monotonic() > deadline:
            return found
        time.sleep(0.02)
