"""What a ledger needs done while calls go on: one slice at a time in the writer's queue, so that no call waits long."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from gateway.finops.wasted import Slice, keep, to_keep
from gateway.ledger.days import close_day
from gateway.ledger.keeping import forget
from gateway.ledger.reader import LedgerReader
from gateway.ledger.splitting import split
from gateway.ledger.sqlite import SqliteLedger
from gateway.parts import Offload
from gateway.ports import Clock

REST_SECONDS = 60.0
SLICE_SECONDS = 0.2
WASTE_SECONDS = 300.0


class Upkeep:
    """``keep_days``: how long records are kept; None: for ever. ``copied``: see ``gateway.ledger.keeping.forget``."""

    def __init__(
        self,
        ledger: SqliteLedger,
        reader: LedgerReader,
        clock: Clock,
        offload: Offload,
        keep_days: Callable[[], int | None],
        copied: Callable[[], int | None],
    ) -> None:
        self._ledger = ledger
        self._reader = reader
        self._clock = clock
        self._offload = offload
        self._keep_days = keep_days
        self._copied = copied

    def start(self) -> None:
        """Begin; each goes on for as long as the process runs."""
        self._again(self._forget)
        self._again(lambda connection: close_day(connection, self._clock.now_ns()))
        self._again(split)
        self._add_up_waste()

    def _again(self, task: Callable[[sqlite3.Connection], int | bool]) -> None:
        """Do ``task``, and once more: soon where it says that there is more to do, else after a rest."""

        def done(more: int | bool | None, error: Exception | None) -> None:
            self._clock.after(SLICE_SECONDS if more else REST_SECONDS, lambda: self._again(task))

        self._ledger.run(task, done)

    def _add_up_waste(self) -> None:
        """Read by a thread that holds up no call; only what it found goes through the writer's queue."""

        def found(slices: list[Slice]) -> None:
            if slices:
                self._ledger.run(lambda connection: keep(connection, slices), kept)
            else:
                self._clock.after(WASTE_SECONDS, self._add_up_waste)

        def kept(_: None, error: Exception | None) -> None:
            self._clock.after(SLICE_SECONDS if error is None else REST_SECONDS, self._add_up_waste)

        nothing: list[Slice] = []
        self._offload(lambda: to_keep(self._reader.connection(), self._clock.now_ns()), nothing, found)

    def _forget(self, connection: sqlite3.Connection) -> int:
        days = self._keep_days()
        return 0 if days is None else forget(connection, days, self._clock.now_ns(), self._copied())
