"""Messages of the Responses API over WebSocket that ask for a response."""

from __future__ import annotations

import msgspec

from gateway.wire.json_read import parse
from gateway.wire.numbers import table

CREATE = "response.create"


def asks(message: bytes) -> bytes | None:
    """The request that a client's message makes, as a body over HTTP says it; None where it asks for nothing."""
    event = table(parse(message))
    if event.get("type") != CREATE:
        return None
    inner = event.get("response")
    # as the realtime API has it
    return msgspec.json.encode(inner) if isinstance(inner, dict) and "model" not in event else message
