"""Messages of the Responses API over WebSocket that ask for a response, and of the realtime API that ask for one aside.

Source: OpenAI API reference, Realtime client event response.create ("Only one Response can write to the default
Conversation at a time, but otherwise multiple Responses can be created in parallel"; ``conversation``: "none" for one
that is out of band).
"""

from __future__ import annotations

import msgspec

from gateway.wire.json_read import parse
from gateway.wire.numbers import table, text

CREATE = "response.create"


def asks_aside(message: bytes) -> bytes | None:
    """A message, where it asks for a response beside the conversation's own; None where it does not."""
    if b"create" not in message and b"\\" not in message:
        return None
    event = table(parse(message))
    if event.get("type") != CREATE:
        return None
    return None if table(event.get("response")).get("conversation") in (None, "auto") else message


def id_of(message: bytes) -> str:
    """The id that the client gave its message; empty where it gave none."""
    return text(table(parse(message)).get("event_id"))


def asks(message: bytes) -> bytes | None:
    """The request that a client's message makes, as a body over HTTP says it; None where it asks for nothing."""
    event = table(parse(message))
    if event.get("type") != CREATE:
        return None
    inner = event.get("response")
    # as the realtime API has it
    return msgspec.json.encode(inner) if isinstance(inner, dict) and "model" not in event else message
