"""Answers that are made in the background: their use is reported when they are fetched.

``POST /v1/responses`` with ``background: true`` answers at once, without usage. ``GET /v1/responses/ID`` (whole, or as
events from ``starting_after`` on) and ``POST /v1/responses/ID/cancel`` answer the response as it is by then, with its
usage once it has ended; each of them again and again.

Source: OpenAI, guide "Background mode", API reference (responses/get, responses/cancel); recorded exchanges.
"""

from __future__ import annotations

import re
from typing import Any

from gateway.wire.facts import Facts
from gateway.wire.numbers import text
from gateway.wire.paths import plain_path, query_value

_RESPONSE = re.compile(r"/responses/(?!input_tokens$|compact$)[^/]+(?P<cancel>/cancel)?$").search


def fetched(method: bytes, target: bytes) -> Facts | None:
    """Facts of a call that fetches a response that was made before; None for any other call."""
    found = _RESPONSE(plain_path(target))
    if found is None or method != (b"POST" if found["cancel"] else b"GET"):
        return None
    return Facts(api="responses", stream=query_value(target, b"stream") == b"true", fetches=True)


def claim_of(document: dict[str, Any]) -> str:
    """The id of a response that is made in the background, or that an event of it wraps; empty for any other."""
    inner = document.get("response")
    response = inner if isinstance(inner, dict) else document
    return text(response.get("id")) if response.get("background") is True else ""


def tokenless(facts: Facts) -> None:
    """Videos are not billed by the token: what one cost is told when it is fetched, and nothing before."""
    facts.input_bytes = facts.input_overhead = 0
    facts.input_open = False
