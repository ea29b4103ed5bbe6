"""What the tools of a messages request may add to its input, and what of them is charged by the use.

Only a tool with a schema of the caller's own is all in the body. Tools that Anthropic defines bring a description of
their own; those that it also runs put what they find into the context.
Sources: Anthropic, "Tool use" (pricing), "Tool reference", "Web search tool" (``max_uses``).
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.wire.facts import SEARCHES
from gateway.wire.numbers import count

NONE = msgspec.Raw(b"null")
OWN = ("", "custom")
CLIENT_RUN = ("bash_", "text_editor_", "computer_", "memory_")
DESCRIPTION_TOKENS = 1024
"""Anthropic states up to 700 for a text editor, 735 for computer use, 245 for bash."""


class Tool(msgspec.Struct):
    type: Any = ""
    max_uses: Any = None


class Reach(msgspec.Struct):
    """``open``: input comes from outside of the body. ``searches``: as many are charged at most."""

    open: bool = False
    overhead: int = 0
    searches: int = 0
    unlimited: bool = False
    """A search without ``max_uses`` is among them."""


_tool = msgspec.json.Decoder(Tool).decode
_tools = msgspec.json.Decoder(list[Tool]).decode


def reach(raw: msgspec.Raw) -> Reach:
    """What the ``tools`` of a request come to; where they can't be read, all of it is open."""
    found = Reach()
    try:
        tools = _tools(raw)
    except (ValueError, RecursionError):
        found.open = bytes(memoryview(raw)[:4]) != b"null"
        return found
    for tool in tools:
        kind = "" if tool.type is None else tool.type
        if kind in OWN:
            continue
        if isinstance(kind, str) and kind.startswith(CLIENT_RUN):
            found.overhead += DESCRIPTION_TOKENS
            continue
        found.open = True
        if isinstance(kind, str) and kind.startswith("web_search"):
            uses = count(tool.max_uses)
            found.searches += SEARCHES if uses is None else uses
            found.unlimited = found.unlimited or uses is None
    return found


def lacks_limit(raw: bytes) -> bool:
    """True for a tool that searches, and says not how often at most."""
    try:
        tool = _tool(raw)
    except (ValueError, RecursionError):
        return False
    return isinstance(tool.type, str) and tool.type.startswith("web_search") and count(tool.max_uses) is None
