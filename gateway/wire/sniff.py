"""A stream was asked for, but the content type does not say that one came: the first byte of the body decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.wire.dialect import Header, Meter
from gateway.wire.facts import Facts
from gateway.wire.meter import header
from gateway.wire.usage import Reading

BLANK = b"\xef\xbb\xbf \t\r\n"
MOST_BLANK = 4096


class Sniffed:
    """Two meters, one of which reads the body: ``document`` where it begins as JSON does, else ``events``."""

    undo_encoding = False
    rewrites = False

    def __init__(self, document: Callable[[], Meter], events: Callable[[], Meter]) -> None:
        self._document = document
        self._events = events
        self._chosen: Meter | None = None
        self._blank = b""
        """What came before the first byte that says anything."""

    @property
    def terminal(self) -> bool:
        return self._chosen is not None and self._chosen.terminal

    def feed(self, data: bytes) -> bytes:
        if self._chosen is not None:
            return self._chosen.feed(data)
        seen = self._blank + data
        begun = seen.lstrip(BLANK)
        if begun or len(seen) > MOST_BLANK:
            self._choose(begun).feed(seen)
        else:
            self._blank = seen
        return data

    def _choose(self, begun: bytes) -> Meter:
        self._chosen = self._document() if begun[:1] in b"{[" else self._events()
        return self._chosen

    def flush(self) -> bytes:
        if self._chosen is None:
            self._choose(b"").feed(self._blank)
        return self._chosen.flush() if self._chosen is not None else b""

    def sample(self) -> bytes:
        return b"" if self._chosen is None else self._chosen.sample()

    def reading(self) -> Reading:
        return Reading() if self._chosen is None else self._chosen.reading()


def doubtful(headers: Sequence[Header], facts: Facts) -> bool:
    """True where a stream was asked for and the first byte of its answer can be looked at."""
    return facts.stream and not header(headers, b"content-encoding")
