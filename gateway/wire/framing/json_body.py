"""One JSON body: kept whole while it is small, scanned for the wanted members alone when it is large."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.wire.framing.json_scan import JsonScan, document_of, paths

WHOLE_BYTES = 256 * 1024
_MOST_PARTS = 4096


class JsonBody:
    """Takes a body in any chunking. ``document`` answers JSON with at least the wanted keys (``a``, ``a/b``).

    Of a body beyond ``WHOLE_BYTES`` only the wanted keys' values are kept, those of up to 64 KiB each.
    """

    __slots__ = ("_keys", "_parts", "_scan", "_size")

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys
        self._parts: list[bytes] = []
        self._size = 0
        self._scan: JsonScan | None = None

    def feed(self, data: bytes) -> None:
        scan = self._scan
        if scan is not None:
            scan.feed(data)
            return
        parts = self._parts
        parts.append(data)
        self._size += len(data)
        if len(parts) > _MOST_PARTS:
            parts[:] = (b"".join(parts),)
        if self._size > WHOLE_BYTES:
            scan = self._scan = JsonScan(paths(self._keys))
            for part in parts:
                scan.feed(part)
            parts.clear()

    def document(self) -> bytes:
        """The whole body, or an object of the wanted keys that were in it; empty where there was no body."""
        if self._scan is None:
            parts = self._parts
            return parts[0] if len(parts) == 1 else b"".join(parts)
        return document_of(self._scan.found)
