"""One JSON document a line (NDJSON, JSONL)."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.wire.framing.json_body import JsonBody


class Lines:
    """Cuts any chunking into the same lines, without their line ends. Holds back at most one unfinished line.

    Of a line that is too long to be kept (``json_body.WHOLE_BYTES``) only the members ``keys`` come out.
    """

    __slots__ = ("_held", "_keys")

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys
        self._held: JsonBody | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """Lines that these bytes complete."""
        head, newline, rest = data.partition(b"\n")
        if not newline:
            self._hold(data)
            return []
        lines = [head]
        if self._held is not None:
            self._held.feed(head)
            lines = [self.flush()]
        more = rest.split(b"\n")
        tail = more.pop()
        lines += more
        if tail:
            self._hold(tail)
        return [line for line in lines if line.strip()]

    def _hold(self, data: bytes) -> None:
        if self._held is None:
            self._held = JsonBody(self._keys)
        self._held.feed(data)

    def flush(self) -> bytes:
        """A last line without its line end."""
        held, self._held = self._held, None
        return b"" if held is None else held.document()
