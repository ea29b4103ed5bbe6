"""A JSON document of any size, of which only a few members are kept: O(1) memory in any chunking. Source: RFC 8259."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

MAX_VALUE_BYTES = 65_536
"""A longer value is not kept."""
MAX_KEY_BYTES = 256

_ANY = re.compile(rb'["{}\[\],:]')
_NESTING = re.compile(rb'["{}\[\]]')
_QUOTE, _BACKSLASH, _COLON = 0x22, 0x5C, 0x3A
_OPEN, _CLOSE = b"{[", b"}]"

Path = tuple[bytes, ...]


class JsonScan:
    """Takes the bytes of one document; ``found`` holds the raw values of the wanted paths (keys, outermost first).

    Of a key that comes more than once the last one counts, as in the usual parsers. What is no JSON is passed over.
    """

    __slots__ = ("_capture", "_depth", "_in_string", "_key", "_names", "_objects", "_odd", "_reach", "_size", "_value",
                 "_wanted", "closed", "found")  # fmt: skip

    def __init__(self, wanted: Iterable[Path]) -> None:
        self._wanted = frozenset(wanted)
        self._reach = max((len(path) for path in self._wanted), default=0)
        self.found: dict[Path, bytes] = {}
        self.closed = False
        """The document's outermost bracket is closed."""
        self._depth = 0
        self._names: list[bytes] = []
        """Key of the current member of each open object, down to the deepest wanted level."""
        self._objects: list[bool] = []
        """For the same levels: an object, not an array."""
        self._in_string = False
        self._odd = False
        """Inside a string, the bytes so far end in an unpaired backslash."""
        self._key: bytearray | None = None
        """The key that is being read."""
        self._value: bytearray | None = None
        """The wanted value that is being read."""
        self._capture: Path = ()
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Take more of the document."""
        at = kept = 0
        end = len(data)
        while at < end and not self.closed:
            if self._in_string:
                at = self._string(data, at)
                continue
            deep = self._depth > self._reach
            match = (_NESTING if deep else _ANY).search(data, at)
            if match is None:
                break
            at = match.end()
            kept = self._token(data, match.start(), kept)
        self._keep(data, kept, end)

    def _string(self, data: bytes, at: int) -> int:
        """Pass over a string from inside it; answers the position behind it, or the end."""
        start = at
        while True:
            quote = data.find(b'"', at)
            stop = quote if quote >= 0 else len(data)
            back = stop
            while back > start and data[back - 1] == _BACKSLASH:
                back -= 1
            odd = bool((stop - back) & 1)
            if back == start:
                odd ^= self._odd
            if quote < 0:
                self._odd = odd
                self._take_key(data, start, stop)
                return stop
            at = quote + 1
            if not odd:
                self._take_key(data, start, quote)
                self._in_string = self._odd = False
                self._end_key()
                return at
            # an escaped quote: what follows starts afresh
            self._take_key(data, start, at)
            self._odd = False
            start = at

    def _take_key(self, data: bytes, start: int, stop: int) -> None:
        key = self._key
        if key is not None and len(key) <= MAX_KEY_BYTES:
            key += data[start : min(stop, start + MAX_KEY_BYTES + 1)]

    def _end_key(self) -> None:
        key = self._key
        if key is None:
            return
        self._key = None
        self._names[-1] = plain_key(bytes(key)) if len(key) <= MAX_KEY_BYTES else b""

    def _token(self, data: bytes, at: int, kept: int) -> int:
        """Take a structural byte; answers where the value that is being kept goes on in ``data``."""
        byte = data[at]
        depth = self._depth
        if byte == _QUOTE:
            self._in_string = True
            self._odd = False
            if depth <= self._reach and depth and self._objects[-1] and not self._names[-1] and self._value is None:
                self._key = bytearray()
        elif byte in _OPEN:
            self._depth = depth + 1
            if depth < self._reach:
                self._names.append(b"")
                self._objects.append(byte == _OPEN[0])
        elif byte in _CLOSE:
            if self._value is not None and depth == len(self._capture):
                kept = self._end_value(data, kept, at)
            self._depth = depth - 1
            if depth <= self._reach and self._names:
                self._names.pop()
                self._objects.pop()
            if self._depth <= 0:
                self.closed = True
        elif depth <= self._reach and depth:
            if byte == _COLON:
                return self._begin_value(at + 1, kept)
            if self._value is not None and depth == len(self._capture):
                kept = self._end_value(data, kept, at)
            if self._objects and self._objects[-1] and len(self._objects) == depth:
                self._names[-1] = b""
        return kept

    def _begin_value(self, at: int, kept: int) -> int:
        if self._value is not None or not self._objects[-1] or not all(self._objects):
            return kept
        path = tuple(self._names)
        self._forget(path)
        if path not in self._wanted:
            return kept
        self._capture, self._value, self._size = path, bytearray(), 0
        return at

    def _forget(self, path: Path) -> None:
        """A member that comes again replaces all that was found under its name."""
        for old in [old for old in self.found if old[: len(path)] == path]:
            del self.found[old]

    def _end_value(self, data: bytes, kept: int, at: int) -> int:
        self._keep(data, kept, at)
        if self._size <= MAX_VALUE_BYTES and self._value is not None:
            self.found[self._capture] = bytes(self._value).strip()
        self._value = None
        return 0

    def _keep(self, data: bytes, start: int, stop: int) -> None:
        if self._value is None:
            return
        self._size += stop - start
        if self._size <= MAX_VALUE_BYTES:
            self._value += data[start:stop]
        elif self._value:
            self._value = bytearray()


def paths(keys: Iterable[str]) -> list[Path]:
    """Wanted members, written as ``usage`` or ``response/usage``."""
    return [tuple(key.encode().split(b"/")) for key in keys]


def document_of(found: Mapping[Path, bytes]) -> bytes:
    """An object that holds these values at their paths, and nothing else."""
    members: list[bytes] = []
    inner: dict[bytes, dict[Path, bytes]] = {}
    for path, raw in found.items():
        if len(path) == 1:
            members.append(b'"%b":%b' % (path[0], raw))
        else:
            inner.setdefault(path[0], {})[path[1:]] = raw
    members += [b'"%b":%b' % (key, document_of(rest)) for key, rest in inner.items()]
    return b"{%b}" % b",".join(members)


def plain_key(raw: bytes) -> bytes:
    """A key as written between its quotes, with its escapes undone; as it stands where they are no JSON."""
    if b"\\" not in raw:
        return raw
    try:
        text = json.loads(b'"%b"' % raw)
    except ValueError:
        return raw
    return str(text).encode("utf-8", "surrogatepass")
