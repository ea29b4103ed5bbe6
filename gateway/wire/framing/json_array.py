"""A JSON array that comes in pieces, cut into its elements (Gemini streams so where SSE is not asked for)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.wire.framing.json_body import JsonBody

_STRUCTURE = re.compile(rb'["{}\[\]]')
_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_QUOTE, _BACKSLASH = 0x22, 0x5C
_BLANK = b"\xef\xbb\xbf \t\r\n"


class Elements:
    """Objects of the outermost array, in any chunking. Holds back at most one unfinished element.

    Of an element that is too long to be kept (``json_body.WHOLE_BYTES``) only the members ``keys`` come out.
    """

    __slots__ = ("_depth", "_escaped", "_held", "_in_string", "_keys")

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys
        self._held: JsonBody | None = None
        self._depth = 0
        self._in_string = False
        self._escaped = False
        """The next byte is escaped."""

    def feed(self, data: bytes) -> list[bytes]:
        """Elements that these bytes complete."""
        at = start = 0
        found: list[bytes] = []
        while at < len(data):
            if self._in_string:
                at = self._string(data, at)
                continue
            match = _STRUCTURE.search(data, at)
            if match is None:
                break
            at = match.end()
            byte = data[at - 1]
            if byte == _QUOTE:
                self._in_string = True
            elif byte in b"{[":
                self._depth += 1
                if self._depth == 2:
                    start = at - 1
            else:
                if self._depth == 2:
                    if self._held is None:
                        found.append(data[start:at])
                    else:
                        self._held.feed(data[start:at])
                        found.append(self._held.document())
                        self._held = None
                self._depth = max(0, self._depth - 1)
        if self._depth >= 2:
            if self._held is None:
                self._held = JsonBody(self._keys)
            self._held.feed(data[start:])
        return found

    def _string(self, data: bytes, at: int) -> int:
        """Pass over a string from inside it."""
        if self._escaped:
            self._escaped = False
            return at + 1
        at = _STRING.match(data, at).end()  # type: ignore[union-attr]
        if at < len(data):
            # a quote ends it; a backslash here is the piece's last byte
            self._in_string = data[at] == _BACKSLASH
            self._escaped = self._in_string
        return at + 1

    def flush(self) -> bytes:
        """An element that never closed is none."""
        self._held = None
        return b""


class ElementsOrDocument:
    """Elements of an array, or the one document that came in its place, of which only ``keys`` come out where it is too
    long to be kept. ``of_elements``: the same of an element."""

    __slots__ = ("_array", "_document", "_keys")

    def __init__(self, of_elements: Sequence[str], keys: Sequence[str]) -> None:
        self._array = Elements(of_elements)
        self._keys = keys
        self._document: JsonBody | bool | None = None
        """Takes the document; False where an array came, None where nothing did."""

    def feed(self, data: bytes) -> list[bytes]:
        """Elements that these bytes complete."""
        if self._document is None:
            data = data.lstrip(_BLANK)
            if data:
                self._document = JsonBody(self._keys) if data.startswith(b"{") else False
        if isinstance(self._document, JsonBody):
            self._document.feed(data)
            return []
        return self._array.feed(data)

    def flush(self) -> bytes:
        """The document."""
        return self._document.document() if isinstance(self._document, JsonBody) else self._array.flush()
