"""A JSON array that comes in pieces, cut into its elements (Gemini streams so where SSE is not asked for)."""

from __future__ import annotations

import re

MAX_ELEMENT_BYTES = 8 * 1024 * 1024
_STRUCTURE = re.compile(rb'["{}\[\]]')
_STRING_END = re.compile(rb'(?:[^"\\]|\\.)*+"', re.DOTALL)
_STRING_PART = re.compile(rb'(?:[^"\\]|\\.)*+', re.DOTALL)


class Elements:
    """Objects of the outermost array, in any chunking. Holds back at most one unfinished element."""

    __slots__ = ("_carry", "_depth", "_in_string", "_scanned", "_skipping")

    def __init__(self) -> None:
        self._carry = b""
        self._scanned = 0
        self._depth = 0
        self._in_string = False
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        """Elements that these bytes complete; one past the bound is passed over."""
        buffer = self._carry + data
        at = self._scanned
        start = 0
        found: list[bytes] = []
        while at < len(buffer):
            if self._in_string:
                end = _STRING_END.match(buffer, at)
                if end is None:
                    held = _STRING_PART.match(buffer, at)
                    at = held.end() if held else at
                    break
                at = end.end()
                self._in_string = False
                continue
            match = _STRUCTURE.search(buffer, at)
            if match is None:
                at = len(buffer)
                break
            at = match.end()
            token = match.group()
            if token == b'"':
                self._in_string = True
            elif token in b"{[":
                self._depth += 1
                if self._depth == 2:
                    start = match.start()
            else:
                self._depth = max(0, self._depth - 1)
                if self._depth == 1:
                    if not self._skipping:
                        found.append(buffer[start:at])
                    self._skipping = False
                    start = at
        if self._depth < 2:
            start = at
        self._keep(buffer, start, at)
        return found

    def _keep(self, buffer: bytes, start: int, at: int) -> None:
        if len(buffer) - start > MAX_ELEMENT_BYTES or self._skipping:
            self._skipping = True
            start = at
        self._carry = buffer[start:]
        self._scanned = at - start

    def flush(self) -> bytes:
        """An element that never closed is none."""
        self._carry, self._scanned = b"", 0
        return b""
