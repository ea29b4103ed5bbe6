"""What tests of single providers share: a request and an answer, and what is read of them."""

from __future__ import annotations

import base64
import json
from typing import Any

from gateway.wire import dialects
from gateway.wire.facts import Facts
from gateway.wire.framing.aws_eventstream import encode
from gateway.wire.usage import Reading

JSON = "application/json"
SSE = "text/event-stream"
EVENTS = "application/vnd.amazon.eventstream"


def sse(*events: Any, done: bool = False) -> bytes:
    """Events, each with its type where it has one."""
    out = []
    for event in events:
        kind = event.get("type") or event.get("event_type")
        head = f"event: {kind}\n" if kind else ""
        out.append(f"{head}data: {json.dumps(event)}\n\n")
    return "".join([*out, "data: [DONE]\n\n" if done else ""]).encode()


def aws(*events: tuple[str, Any]) -> bytes:
    """Messages of an AWS event stream; those called ``chunk`` wrap a family's own event."""
    out = b""
    for name, payload in events:
        raw = json.dumps(payload).encode()
        if name == "chunk":
            raw = json.dumps({"bytes": base64.b64encode(raw).decode()}).encode()
        out += encode({":message-type": "event", ":event-type": name}, raw)
    return out


def ask(kind: str, path: str, request: Any, method: str = "POST") -> Facts:
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    return dialects.get(kind).read(method.encode(), path.encode(), b"application/json", body)


def reading_of(
    kind: str, facts: Facts, answer: Any, content_type: str = JSON, status: int = 200, **headers: str
) -> Reading:
    """What is read of an answer, the same whole and in single bytes."""
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    head = [(b"content-type", content_type.encode())] if content_type else []
    head += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    readings = []
    for pieces in ([body], [body[at : at + 1] for at in range(len(body))]):
        meter = dialects.get(kind).meter(facts, status, head)
        for piece in pieces:
            assert meter.feed(piece) == piece
        assert meter.flush() == b""
        readings.append(meter.reading())
    assert said(readings[0]) == said(readings[1])
    return readings[0]


def said(reading: Reading) -> dict[str, Any]:
    """All that a reading holds."""
    return {name: getattr(reading, name) for name in Reading.__slots__}


def numbers(reading: Reading) -> dict[str, int] | None:
    """The parts of a usage that are not 0; None where nothing was reported."""
    if reading.usage is None:
        return None
    names = reading.usage.__struct_fields__
    return {name: getattr(reading.usage, name) for name in names if getattr(reading.usage, name)}
