"""AWS event streams (``application/vnd.amazon.eventstream``), decoded incrementally, with both checksums.

Source: Smithy, "Amazon Event Stream Specification". A message is a prelude (total length, headers length, CRC of both),
headers, a payload, and a CRC of all before it. All numbers are big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from zlib import crc32

import msgspec

MAX_MESSAGE_BYTES = 24 * 1024 * 1024
"""The specification allows payloads of 24 MB; a longer message is an error."""
_MOST_PIECES = 4096
"""Of one unfinished message; more are joined, as each takes memory of its own."""
_PRELUDE = struct.Struct("!III")
_SHORT = struct.Struct("!H")
_FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a header's value by its type; types 6 (bytes) and 7 (text) carry their length."""
_TEXT = 7


class Message(msgspec.Struct, frozen=True):
    """One message: its text headers and its payload."""

    headers: dict[str, str]
    payload: bytes


class EventStream:
    """Cuts any chunking into the same messages. ``broken`` is set, and nothing more comes, once a checksum is wrong."""

    __slots__ = ("_carry", "_need", "_size", "broken")

    def __init__(self) -> None:
        self._carry: list[bytes] = []
        self._size = 0
        self._need = _PRELUDE.size
        self.broken = False

    def feed(self, data: bytes) -> list[Message]:
        """Messages that these bytes complete."""
        if self.broken:
            return []
        self._carry.append(data)
        self._size += len(data)
        if self._size < self._need:
            if len(self._carry) > _MOST_PIECES:
                self._carry[:] = (b"".join(self._carry),)
            return []
        buffer = b"".join(self._carry) if len(self._carry) > 1 else data
        return list(self._messages(buffer))

    def _messages(self, buffer: bytes) -> Iterator[Message]:
        start = 0
        self._need = _PRELUDE.size
        while len(buffer) - start >= _PRELUDE.size:
            total, headers, check = _PRELUDE.unpack_from(buffer, start)
            bad = total > MAX_MESSAGE_BYTES or total < 16 + headers
            if bad or crc32(buffer[start : start + 8]) != check:
                self._give_up()
                return
            if len(buffer) - start < total:
                self._need = total
                break
            end = start + total
            if crc32(buffer[start : end - 4]) != int.from_bytes(buffer[end - 4 : end], "big"):
                self._give_up()
                return
            yield Message(_headers(buffer[start + 12 : start + 12 + headers]), buffer[start + 12 + headers : end - 4])
            start = end
        rest = buffer[start:]
        self._carry = [rest] if rest else []
        self._size = len(rest)

    def _give_up(self) -> None:
        self.broken = True
        self._carry = []
        self._size = 0


def _headers(raw: bytes) -> dict[str, str]:
    """The text headers; those of other types, and what is malformed, are left out."""
    found: dict[str, str] = {}
    at = 0
    while at < len(raw):
        size = raw[at]
        name = raw[at + 1 : at + 1 + size].decode("utf-8", "replace")
        at += 1 + size
        if at >= len(raw):
            break
        kind = raw[at]
        at += 1
        if kind in _FIXED:
            at += _FIXED[kind]
        elif kind in (6, _TEXT) and at + 2 <= len(raw):
            (length,) = _SHORT.unpack_from(raw, at)
            value = raw[at + 2 : at + 2 + length]
            at += 2 + length
            if kind == _TEXT:
                found[name] = value.decode("utf-8", "replace")
        else:
            break
    return found


def encode(headers: dict[str, str], payload: bytes) -> bytes:
    """One message."""
    fields = b"".join(
        bytes([len(name)]) + name.encode() + bytes([_TEXT]) + _SHORT.pack(len(value.encode())) + value.encode()
        for name, value in headers.items()
    )
    lengths = struct.pack("!II", 16 + len(fields) + len(payload), len(fields))
    message = lengths + struct.pack("!I", crc32(lengths)) + fields + payload
    return message + struct.pack("!I", crc32(message))
