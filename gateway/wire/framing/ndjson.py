"""One JSON document a line (NDJSON, JSONL)."""

from __future__ import annotations

MAX_LINE_BYTES = 4 * 1024 * 1024
"""A longer line is passed over."""


class Lines:
    """Cuts any chunking into the same lines, without their line ends. Holds back at most one unfinished line."""

    __slots__ = ("_carry", "_size", "_skipping")

    def __init__(self) -> None:
        self._carry: list[bytes] = []
        self._size = 0
        self._skipping = False

    @property
    def at_boundary(self) -> bool:
        """True where no unfinished line is held."""
        return not self._size and not self._skipping

    def feed(self, data: bytes) -> list[bytes]:
        """Lines that these bytes complete; a line past the bound is passed over."""
        head, newline, rest = data.partition(b"\n")
        if not newline:
            self._hold(data)
            return []
        lines = []
        if self._skipping:
            self._skipping = False
        else:
            lines.append(b"".join((*self._carry, head)))
        self._carry, self._size = [], 0
        more = rest.split(b"\n")
        tail = more.pop()
        lines += more
        if tail:
            self._hold(tail)
        return [line for line in lines if line.strip()]

    def _hold(self, data: bytes) -> None:
        if self._skipping:
            return
        self._carry.append(data)
        self._size += len(data)
        if self._size > MAX_LINE_BYTES:
            self._skipping = True
            self._carry, self._size = [], 0
        elif len(self._carry) > 512:
            self._carry = [b"".join(self._carry)]

    def flush(self) -> bytes:
        """A last line without its line end."""
        rest = b"" if self._skipping else b"".join(self._carry)
        self._carry, self._size = [], 0
        return rest
