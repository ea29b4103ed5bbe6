"""Heads of answers that differ from one before in their values alone.

A provider's heads have the same fields in the same order and spelling, time and again. What follows from the names is
found once; of the values most are those of the answer before. Such a head is taken apart by its lines. Only the lines
that frame the body go on to the HTTP parser, so that what they mean is the parser's to say, here as anywhere.

A line is taken only as the parser takes it: the name as it was, a colon and one blank, then a value without control
characters that neither begins nor ends with a blank (RFC 9112, section 5). Any other head is the parser's, as a whole.

``answer_heads.pyx`` is what the compiled build has in place of this: it passes the bytes once, and makes no lines of
them.
"""

from __future__ import annotations

import re

from gateway.wire.http_heads import RESPONSE_DROP, USUAL_CONNECTION, Header, KnownFields, Lines

MAX_SHAPES = 8
MAX_FIELDS = 100
MAX_HEAD_BYTES = 8192
MAX_STRANGE = 16
"""So many heads in a row that are written in another way, and no more are looked at."""
FIRST = b"HTTP/1.1 200"
FRAMING = frozenset((b"connection", b"content-length", b"proxy-connection", b"transfer-encoding", b"upgrade"))
"""The fields that llhttp looks at."""
_LINE = b"\r\n"
_END = b"\r\n\r\n"
_unclean = re.compile(rb"[^\t -~\x80-\xff]").search


class KnownHead:
    """A head that was taken apart: its fields, the lines that frame the body as a head of their own, where it ends."""

    __slots__ = ("end", "fields", "framing")

    def __init__(self, fields: KnownFields, framing: bytes, end: int) -> None:
        self.fields = fields
        self.framing = framing
        self.end = end


class Shape:
    """The names of one head, and the newest values under them."""

    __slots__ = ("_at", "_first", "_framing", "_headers", "_lines", "_names", "_onward", "_prefixes")

    def __init__(self, first: bytes, names: list[bytes]) -> None:
        lower = [name.lower() for name in names]
        self._first = first
        self._names = names
        self._prefixes = [name + b": " for name in names]
        self._lines: list[bytes] = [b""] * len(names)
        self._headers: list[Header] = [(name, b"") for name in names]
        self._at = {name: tuple(place for place, one in enumerate(lower) if one == name) for name in lower}
        self._framing = [place for place, name in enumerate(lower) if name in FRAMING]
        self._onward = [place for place, name in enumerate(lower) if name not in RESPONSE_DROP]

    def read(self, lines: list[bytes], end: int) -> KnownHead | None:
        """The head of these lines, which ends at ``end`` in what was read; None: it is not of this shape."""
        if len(lines) != len(self._names) + 1 or lines[0] != self._first:
            return None
        known, headers = self._lines, self._headers
        for place, line in enumerate(lines[1:]):
            if line != known[place] and not self._changed(place, line):
                return None
        onward = [known[place] for place in self._onward]
        framing = [self._first, *(known[place] for place in self._framing)]
        block = _LINE.join([*onward, b""])
        fields = KnownFields(headers, self._at, Lines([headers[place] for place in self._onward], block))
        return KnownHead(fields, _LINE.join([*framing, b"", b""]), end)

    def _changed(self, place: int, line: bytes) -> bool:
        """Take the line of a value that is another than before; False where it is not written as it was."""
        prefix, name = self._prefixes[place], self._names[place]
        value = line[len(prefix) :]
        if not line.startswith(prefix) or value.strip(b" \t") != value or not value or _unclean(value) is not None:
            return False
        if name.lower() == b"connection" and value.lower() not in USUAL_CONNECTION:
            return False
        self._lines[place] = line
        self._headers[place] = (name, value)
        return True


class Shapes:
    """The shapes of one endpoint's heads, the newest first."""

    __slots__ = ("_known", "_strange")

    def __init__(self) -> None:
        self._known: list[Shape] = []
        self._strange = 0

    def __len__(self) -> int:
        return len(self._known)

    def read(self, data: bytes) -> KnownHead | None:
        """The head that ``data``, the first of an answer, begins with, where all of it is here and known."""
        if not self._known:
            return None
        end = data.find(_END, 0, MAX_HEAD_BYTES)
        if end < 0:
            return None
        lines = data[:end].split(_LINE)
        for shape in self._known:
            found = shape.read(lines, end + 4)
            if found is not None:
                return found
        return None

    def learn(self, data: bytes, headers: list[Header]) -> None:
        """Remember how the head looks that ``data`` begins with. ``headers``: its fields, as the parser found them."""
        end = data.find(_END, 0, MAX_HEAD_BYTES)
        if end < 0 or self._strange >= MAX_STRANGE or len(headers) > MAX_FIELDS or not data.startswith(FIRST):
            return
        lines = data[:end].split(_LINE)
        shape = Shape(lines[0], [name for name, _ in headers])
        found = shape.read(lines, end + 4)
        if found is None or found.fields != headers:
            self._strange += 1
            return
        self._strange = 0
        self._known.insert(0, shape)
        del self._known[MAX_SHAPES:]
