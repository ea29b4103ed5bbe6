"""What the tools of a messages request may add to its input, and what of them is charged by the use.

Only a tool with a schema of the caller's own is all in the body. Tools that Anthropic defines bring a description of
their own; those that it also runs put what they find into the context.
Sources: Anthropic, "Tool use" (pricing), "Tool reference", "Web search tool" (``max_uses``), "Advisor tool"
(``model``, ``max_uses`` a request, ``max_tokens`` at each use).
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.wire.facts import SEARCHES, UNLIMITED, Other
from gateway.wire.numbers import count, text

NONE = msgspec.Raw(b"null")
OWN = ("", "custom")
CLIENT_RUN = ("bash_", "text_editor_", "computer_", "memory_")
DESCRIPTION_TOKENS = 1024
"""Anthropic states up to 700 for a text editor, 735 for computer use, 245 for bash."""


ADVISOR = "advisor_"
REPEATED = ("web_search", ADVISOR)
"""Tools that ``max_uses`` bounds, and whose every use is charged."""


class Tool(msgspec.Struct):
    type: Any = ""
    max_uses: Any = None
    model: Any = None
    max_tokens: Any = None


class Reach(msgspec.Struct):
    """``open``: input comes from outside of the body. ``searches``: as many are charged at most."""

    open: bool = False
    overhead: int = 0
    searches: int = 0
    unlimited: bool = False
    """A search, or an advisor, without ``max_uses`` is among them."""
    advisors: tuple[Other, ...] = ()


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
        elif isinstance(kind, str) and kind.startswith(ADVISOR):
            uses, limit = count(tool.max_uses), count(tool.max_tokens)
            most = UNLIMITED if limit is None else limit
            found.advisors += (Other(text(tool.model), output_tokens=most, uses=1 if uses is None else uses),)
            found.unlimited = found.unlimited or uses is None
    return found


def lacks_limit(raw: bytes) -> bool:
    """True for a tool that searches or advises, and says not how often at most."""
    try:
        tool = _tool(raw)
    except (ValueError, RecursionError):
        return False
    return isinstance(tool.type, str) and tool.type.startswith(REPEATED) and count(tool.max_uses) is None
