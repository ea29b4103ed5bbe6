"""A JSON array that comes in pieces, cut into its elements (Gemini streams so where SSE is not asked for)."""

from __future__ import annotations

import re

MAX_ELEMENT_BYTES = 8 * 1024 * 1024
"""A longer element is passed over."""
_STRUCTURE = re.compile(rb'["{}\[\]]')
_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_QUOTE, _BACKSLASH = 0x22, 0x5C


class Elements:
    """Objects of the outermost array, in any chunking. Holds back at most one unfinished element."""

    __slots__ = ("_carry", "_depth", "_escaped", "_in_string", "_size")

    def __init__(self) -> None:
        self._carry: list[bytes] = []
        self._size = 0
        """Bytes of the unfinished element, also of one that is not kept."""
        self._depth = 0
        self._in_string = False
        self._escaped = False
        """The next byte is escaped."""

    def feed(self, data: bytes) -> list[bytes]:
        """Elements that these bytes complete; one past the bound is passed over."""
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
                    self._hold(data[start:at])
                    if self._carry:
                        found.append(b"".join(self._carry))
                    self._carry, self._size = [], 0
                self._depth = max(0, self._depth - 1)
        if self._depth >= 2:
            self._hold(data[start:])
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

    def _hold(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > MAX_ELEMENT_BYTES:
            self._carry = []
            return
        self._carry.append(data)
        if len(self._carry) > 4096:
            self._carry = [b"".join(self._carry)]

    def flush(self) -> bytes:
        """An element that never closed is none."""
        self._carry, self._size = [], 0
        return b""
