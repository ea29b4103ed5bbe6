"""Which row each open entry lies in. Rows are used again, so that the same few pages are written over and over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.ledger.turns import slot_range


class Places:
    """``plan`` finds rows for what a transaction opens and ends, ``keep`` says that it is durable. Where it is not,
    nothing has changed: another plan may be made. ``slot``: see ``gateway.ledger.turns``."""

    def __init__(self, slot: int) -> None:
        self.first, self.end = slot_range(slot)
        self._last = self.first
        """No row after this one was ever used."""
        self._numbers: dict[str, int] = {}
        """Rows of open entries, by request id."""
        self._free: list[int] = []
        """Rows that were used and are gone."""
        self._opened: dict[str, int] = {}
        self._ended: list[str] = []
        self._gone: list[int] = []
        self._left = 0
        """How many of the free rows a plan leaves."""

    def find(self, request_id: str) -> int | None:
        """The row of an open entry."""
        return self._numbers.get(request_id)

    def start_after(self, number: int) -> None:
        """Use no unused row up to ``number``: others' entries may lie there."""
        self._last = max(self._last, number)

    def forget(self) -> None:
        """The file is another one."""
        self._numbers.clear()
        self._free.clear()

    def plan(self, opening: dict[str, bytes], ending: Iterable[str]) -> tuple[list[Any], list[int]]:
        """A number and an entry by turns, to be written in place of whatever lies there; numbers of rows to be
        deleted."""
        numbers, free = self._numbers, self._free
        ended = self._ended = [key for key in dict.fromkeys(ending) if key in numbers]
        gone = [numbers[key] for key in ended]
        count = len(opening)
        places, self._gone = gone[:count], gone[count:]
        more = count - len(places)
        left = self._left = max(0, len(free) - more)
        if more:
            places += free[left:]
            places += range(self._last + 1, self._last + 1 + count - len(places))
        self._opened = dict(zip(opening, places, strict=True))
        written: list[Any] = [None] * (2 * count)
        written[::2] = places
        written[1::2] = opening.values()
        return written, self._gone

    def keep(self) -> None:
        """What was planned is durable."""
        numbers = self._numbers
        for key in self._ended:
            del numbers[key]
        if self._opened:
            numbers.update(self._opened)
            self._last = max(self._last, *self._opened.values())
        del self._free[self._left :]
        self._free += self._gone
