"""Heads that came before, byte for byte but for the body's length.

A client sends the same head with every call. What llhttp made of it and ``strict`` found in order the first time holds
for the same bytes again, so they are not parsed again. Only a head that lies whole in one read, with no more behind it
than its body, is taken this way; all others go through the parser.
"""

from __future__ import annotations

from gateway.ports import RequestHead

MAX_HEADS = 2048
MAX_HEAD_BYTES = 4096
"""A longer head is parsed each time."""
_END = b"\r\n\r\n"
_LENGTHS = (b"\r\nContent-Length: ", b"\r\ncontent-length: ")
_MAX_DIGITS = 9


class KnownHead:
    """A head that was parsed and found in order."""

    __slots__ = ("after", "before", "head", "keep_alive", "length", "stop")

    def __init__(self, before: bytes, after: bytes, head: RequestHead, keep_alive: bool) -> None:
        self.before = before
        self.after = after
        self.head = head
        self.keep_alive = keep_alive
        self.length = 0
        """How long a body the newest one declared."""
        self.stop = 0
        """Where the body's length ended the last time: most often it has as many digits."""

    def body_of(self, data: bytes) -> bytes | None:
        """What ``data`` holds of its body, where that is one request with this head, or the beginning of one."""
        before, after = self.before, self.after
        if not data.startswith(before):
            return None
        start, stop = len(before), self.stop
        if not stop or not data.startswith(after, stop):
            stop = data.find(b"\r", start, start + _MAX_DIGITS + 1)
            if stop <= start or not data.startswith(after, stop):
                return None
            self.stop = stop
        digits = data[start:stop]
        body_at = stop + len(after)
        if not digits.isdigit() or digits[0] == 48:
            return None
        length = self.length = int(digits)
        return data[body_at:] if len(data) - body_at <= length else None


class Heads:
    """Forgets all when there are too many: clients whose heads are never twice the same gain nothing from it."""

    def __init__(self) -> None:
        self._known: dict[bytes, KnownHead] = {}

    def __len__(self) -> int:
        return len(self._known)

    def find(self, data: bytes) -> KnownHead | None:
        """The head that ``data`` begins with, where it is known but for the body's length."""
        end = data.find(_END, 0, MAX_HEAD_BYTES + 4)
        if end < 0:
            return None
        start, stop = _digits(data, end)
        return self._known.get(data[:start] + data[stop:end]) if stop > start else None

    def learn(self, data: bytes, head: RequestHead, keep_alive: bool) -> None:
        """Remember a head that was parsed. ``data``: the request's bytes, from its first on."""
        end = data.find(_END)
        if not 0 <= end <= MAX_HEAD_BYTES:
            return
        start, stop = _digits(data, end)
        if stop <= start or data.count(b"\n", 0, end) != len(head.headers):
            # the second can't be with a strict parser: what it took for the head ended elsewhere
            return
        if len(self._known) >= MAX_HEADS:
            self._known.clear()
        before, after = data[:start], data[stop:end]
        self._known[before + after] = KnownHead(before, after + _END, head, keep_alive)


def _digits(data: bytes, end: int) -> tuple[int, int]:
    """Where the value of Content-Length lies in a head that ends at ``end``; an empty range: nowhere."""
    for name in _LENGTHS:
        at = data.find(name, 0, end)
        if at >= 0:
            start = at + len(name)
            return start, data.find(b"\r\n", start, end + 2)
    return 0, 0
