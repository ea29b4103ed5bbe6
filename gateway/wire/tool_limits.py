"""Limits on tools that a provider runs itself, put into a request that sets none.

Sources: Anthropic, "Web search tool" (``max_uses``: "If Claude attempts more searches than allowed, the
web_search_tool_result is an error"); OpenAI's OpenAPI description of Responses (``max_tool_calls``: "The maximum number
of total calls to built-in tools that can be processed in a response").
"""

from __future__ import annotations

import msgspec

from gateway.wire.anthropic_tools import lacks_limit
from gateway.wire.json_edit import members, replace_values, set_value

_objects = msgspec.json.Decoder(list[msgspec.Raw]).decode


def limited(body: bytes, name: str, most: int) -> bytes | None:
    """The body with the limit ``name`` set to ``most``; None where that can't be done."""
    value = b"%d" % most
    if name == "max_tool_calls":
        return set_value(body, b"max_tool_calls", value)
    if name != "max_uses":
        return None
    found = [member for member in members(body) if member.key == b"tools"]
    if len(found) != 1:
        # which of them counts is the provider's secret
        return None
    raw = body[found[0].value_start : found[0].value_end]
    changed = _each_limited(raw, value)
    return None if changed is None else replace_values(body, found, changed)


def _each_limited(tools: bytes, value: bytes) -> bytes | None:
    """The array with the limit in each tool that needs one; what is between the tools stays."""
    try:
        objects = _objects(tools)
    except (ValueError, RecursionError):
        return None
    parts, at = [], 0
    for one in objects:
        raw = bytes(one)
        start = tools.index(raw, at)
        parts += [tools[at:start], set_value(raw, b"max_uses", value) if lacks_limit(raw) else raw]
        at = start + len(raw)
    return b"".join([*parts, tools[at:]])
