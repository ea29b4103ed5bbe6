"""Answers that tell an address at the provider where more is to be had. A client that goes there leaves the gateway,
with a key that the provider does not know: so the address becomes one below the gateway's own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.wire.dialect import Header
from gateway.wire.meter import Base, Reader

MAX_HELD_BYTES = 4 * 1024 * 1024
"""A longer answer passes as it is."""
_HOST = re.compile(rb"[A-Za-z0-9._:\[\]-]+").fullmatch
_SCHEMES = frozenset((b"http", b"https"))


def address_of(headers: Sequence[Header], secure: bool) -> bytes:
    """Where a request's client reaches the gateway, by its fields and those of a proxy before it; empty where nothing
    says so. ``secure``: the gateway's port speaks TLS."""
    # of several proxies the first one is the client's
    fields = {name.lower(): value.partition(b",")[0].strip() for name, value in headers}
    scheme = fields.get(b"x-forwarded-proto", b"").lower()
    host = fields.get(b"x-forwarded-host") or fields.get(b"host", b"")
    if not _HOST(host):
        return b""
    return b"%b://%b" % (scheme if scheme in _SCHEMES else b"https" if secure else b"http", host)


class PointingMeter(Base):
    """A JSON answer in which an address behind what ``before`` matches becomes the gateway's own, where it lies below
    the provider's: ``addresses``, the provider's and the gateway's. It is held to its end."""

    def __init__(
        self, reader: Reader, headers: Sequence[Header], before: bytes, addresses: tuple[bytes, bytes]
    ) -> None:
        super().__init__(reader, headers)
        # in a coding that nobody here knows it can't be read
        self.rewrites = self._decoder is None or not self._decoder.broken
        self.undo_encoding = self._decoder is not None and self.rewrites
        there, self._here = addresses
        self._found = re.compile(b"(%b)%b(?=/)" % (before, re.escape(there)))
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        out = Base.feed(self, data)
        if not self.rewrites:
            return out
        return self._taken() if self._size > MAX_HELD_BYTES else b""

    def _take(self, data: bytes) -> None:
        if self.rewrites:
            self._pieces.append(data)
            self._size += len(data)

    def _taken(self) -> bytes:
        body = b"".join(self._pieces)
        self._pieces.clear()
        return body

    def flush(self) -> bytes:
        self._reader.done()
        body = self._taken()
        return self._found.sub(lambda match: match[1] + self._here, body) if self._size <= MAX_HELD_BYTES else body

    def _end(self) -> None:
        return
