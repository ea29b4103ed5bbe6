"""Which row each open entry lies in. Rows are used again, so that the same few pages are written over and over."""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain
from typing import Any

from gateway.ledger.turns import slot_range


class Places:
    """``plan`` finds rows for what a transaction opens and ends, ``keep`` says that it is durable. Where it is not,
    nothing has changed: another plan may be made. ``slot``: see ``gateway.ledger.turns``."""

    __slots__ = ("_ended", "_free", "_gone", "_last", "_left", "_next", "_numbers", "_opened", "end", "first")

    def __init__(self, slot: int) -> None:
        self.first, self.end = slot_range(slot)
        self._last = self.first
        """No row after this one was ever used."""
        self._next = self._last
        """The same where the plan is kept."""
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

    def plan(self, opening: dict[str, bytes], ending: Collection[str]) -> tuple[list[Any], list[int]]:
        """A number and an entry by turns, to be written in place of whatever lies there; numbers of rows to be
        deleted. ``ending`` names each call once: two must never be given one row."""
        numbers, free, count = self._numbers, self._free, len(opening)
        ended = self._ended = [key for key in ending if key in numbers]
        places = [numbers[key] for key in ended]
        gone = self._gone = places[count:]
        del places[count:]
        self._left, self._next = len(free), self._last
        if more := count - len(places):
            left = self._left = max(0, len(free) - more)
            places += free[left:]
            self._next += count - len(places)
            places += range(self._last + 1, self._next + 1)
        self._opened = dict(zip(opening, places, strict=True))
        return list(chain.from_iterable(zip(places, opening.values(), strict=True))), gone

    def keep(self) -> None:
        """What was planned is durable."""
        numbers = self._numbers
        for key in self._ended:
            del numbers[key]
        numbers.update(self._opened)
        self._last = self._next
        del self._free[self._left :]
        self._free += self._gone
