"""A JSON document of any size with long arrays, whose elements are taken one by one, and of which none is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from gateway.wire.framing.json_array import Elements
from gateway.wire.framing.json_scan import JsonScan, Path


class Items(Protocol):
    def frame(self, data: bytes) -> None:
        """Take an element."""
        ...


class JsonItems(JsonScan):
    """As ``JsonScan``; and the objects in each array at one of ``arrays`` go to what ``made`` answers for that array.

    Of an element that is too long to be kept (``json_body.WHOLE_BYTES``) only the members ``keys`` are told.
    """

    __slots__ = ("_arrays", "_elements", "_keys", "_made", "items")

    def __init__(
        self, wanted: Iterable[Path], arrays: Iterable[Path], keys: Sequence[str], made: Callable[[], Items]
    ) -> None:
        self._arrays = frozenset(arrays)
        JsonScan.__init__(self, [*wanted, *self._arrays])
        self._keys = keys
        self._made = made
        self._elements: Elements | None = None
        """Cuts the array that is being read."""
        self.items: dict[Path, Items] = {}
        """What took the elements, by the array."""

    def _begin_value(self, at: int, kept: int) -> int:
        within = self._value is not None
        kept = JsonScan._begin_value(self, at, kept)
        if not within and self._value is not None and self._capture in self._arrays:
            self._elements = Elements(self._keys)
            self.items[self._capture] = self._made()
        return kept

    def _forget(self, path: Path) -> None:
        JsonScan._forget(self, path)
        for old in [old for old in self.items if old[: len(path)] == path]:
            del self.items[old]

    def _end_value(self, data: bytes, kept: int, at: int) -> int:
        if self._elements is None:
            return JsonScan._end_value(self, data, kept, at)
        self._keep(data, kept, at)
        self._elements = self._value = None
        return 0

    def _keep(self, data: bytes, start: int, stop: int) -> None:
        if self._elements is None:
            JsonScan._keep(self, data, start, stop)
            return
        taker = self.items[self._capture]
        for element in self._elements.feed(data[start:stop]):
            taker.frame(element)
