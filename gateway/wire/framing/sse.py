"""Server-sent events, cut into blocks. Source: WHATWG HTML, section 9.2 (parsing an event stream).

A block is an event with its blank line, as raw bytes, so that a block can be passed on untouched or left out. Lines end
in LF, CRLF or CR; a byte order mark may stand first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_EVENT_BYTES = 256 * 1024
"""A longer event is not kept: it comes out as ``Piece``s."""

_END = re.compile(rb"(?>\r\n|\r|\n)(?>\r\n|\r|\n)")
_LINES = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"
ENDINGS = (b"\n\n", b"\r\n\r\n", b"\r\r")


class Piece(bytes):
    """A part of an event that is too long to be kept, in order; the last one ends with the event."""

    __slots__ = ()


class SseBlocks:
    """Cuts any chunking of a stream into the same blocks. Holds back at most one unfinished block."""

    __slots__ = ("_after_cr", "_carry", "_long", "_size", "_tail")

    def __init__(self) -> None:
        self._carry: list[bytes] = []
        self._size = 0
        self._tail = b""
        """The last bytes of what is held: a blank line may begin in them."""
        self._long = False
        """In an event that is too long to be kept; ``_carry`` holds its last bytes."""
        self._after_cr = False
        """The last block ended in a CR whose LF may follow."""

    @property
    def at_boundary(self) -> bool:
        """True where no unfinished block is held."""
        return not self._size and not self._long and not self._after_cr

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Blocks that these bytes complete, and pieces of long ones. A lone LF belongs to the block before it."""
        if not data:
            return
        if self._after_cr:
            self._after_cr = False
            if data.startswith(b"\n"):
                yield b"\n"
                data = data[1:]
        if self._size:
            # only what is new is searched, with the last bytes before it: an event in many pieces stays linear
            if (b"\n" not in data and b"\r" not in data) or _END.search(self._tail + data) is None:
                yield from self._hold(data)
                return
            data = b"".join((*self._carry, data))
            self._carry, self._size = [], 0
        start = 0
        for end in _ends(data):
            if self._long:
                self._long = False
                yield Piece(data[start:end])
            else:
                yield data[start:end]
            start = end
        if start < len(data):
            yield from self._hold(data[start:] if start else data)
        elif data.endswith(b"\r"):
            self._after_cr = True

    def _hold(self, data: bytes) -> Iterator[bytes]:
        self._carry.append(data)
        self._tail = data[-3:] if len(data) > 2 or not self._size else (self._tail + data)[-3:]
        self._size += len(data)
        if self._long or self._size > MAX_EVENT_BYTES:
            # the last bytes may be the beginning of a blank line: they stay
            self._long = True
            held = b"".join(self._carry)
            if len(held) > 3:
                yield Piece(held[:-3])
                held = held[-3:]
            self._carry, self._size = [held], len(held)
        elif len(self._carry) > 4096:
            self._carry = [b"".join(self._carry)]

    def flush(self) -> bytes:
        """The end of the stream: a final event that lacks its blank line."""
        rest = b"".join(self._carry)
        if self._long:
            rest = Piece(rest)
        self._carry, self._size = [], 0
        return rest


def _ends(data: bytes) -> Iterator[int]:
    """Where the blocks in ``data`` end. Most streams keep to one kind of line end, which is found faster than any."""
    returns = data.count(b"\r")
    if not returns:
        blank = b"\n\n"
    elif returns == data.count(b"\n") == data.count(b"\r\n"):
        blank = b"\r\n\r\n"
    else:
        yield from (match.end() for match in _END.finditer(data))
        return
    at, size = data.find(blank), len(blank)
    while at >= 0:
        yield at + size
        at = data.find(blank, at + size)


def data_of(block: bytes) -> bytes:
    """The data of an event: its ``data`` lines, joined by LF. Empty for comments and other fields."""
    if block.startswith(b"data: "):
        first = block.find(b"\n")
        if first > 0 and not block[first:].strip(b"\r\n") and b"\r" not in block[:first].rstrip(b"\r"):
            return block[6:first].rstrip(b"\r")
    found = []
    for line in _LINES.split(block.removeprefix(_BOM)):
        if line.startswith(b"data"):
            name, _, value = line.partition(b":")
            if name == b"data":
                found.append(value[1:] if value.startswith(b" ") else value)
    return b"\n".join(found)


def ends_block(data: bytes) -> bool:
    """True where ``data`` ends with a blank line."""
    return data.endswith(ENDINGS)
