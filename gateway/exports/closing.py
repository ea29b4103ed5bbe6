"""Closing periods: each one's file is written once, and every call and correction stands in exactly one file.

What a period's file holds is decided, and written into the ledger, before the file is begun: everything settled and
corrected up to then. A process that is killed in between is followed by one that writes the same file. What is settled
or corrected later belongs to the next period's file.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import msgspec

from gateway.config.exports import ExportConfig
from gateway.config.values import moment_ns
from gateway.exports.columns import Row
from gateway.exports.files import write
from gateway.exports.focus import rows
from gateway.exports.periods import Period, by_first_day, period_at, periods
from gateway.exports.scope import Scope
from gateway.exports.target import Target
from gateway.ledger.rows import GROUP_BITS, HOUR_NS
from pricing.book import PriceBook


class Closed(msgspec.Struct, kw_only=True):
    """What the ledger remembers of a period: decided, and, with ``done``, written."""

    period: str
    start_ns: int
    end_ns: int
    file: str
    decided_ns: int
    records_upto: int
    """The last record that it may hold, in the order of settlement."""
    adjustments_after: int
    adjustments_upto: int
    done: bool = False
    rows: int = 0
    nanousd: int = 0
    sha256: str = ""


class ClashError(Exception):
    """A file is where one should be written, and this ledger did not write it."""


class Closing:
    """One ``[[exports]]`` over one ledger. ``connection`` may write."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        export: ExportConfig,
        target: Callable[[], Target],
        book: PriceBook,
        price_list: Callable[[str], str],
        made_in: Path,
    ) -> None:
        self.name = export.name
        self._connection = connection
        self._export = export
        self._target = target
        self._book = book
        self._price_list = price_list
        self._made_in = made_in

    def first_ns(self) -> int | None:
        """The start of the first period; None where the ledger has no call yet."""
        closed = [one for one in self.known() if one.done]
        if closed:
            return closed[0].start_ns
        export = self._export
        if export.from_ is not None:
            return self._from_ns()
        (first,) = self._connection.execute("SELECT min(id) FROM hours").fetchone()
        return None if first is None else period_at(export.period, (first >> GROUP_BITS) * HOUR_NS).start_ns

    def _from_ns(self) -> int:
        """Earlier periods are not written: a later start skips what can't be written any more."""
        start = self._export.from_
        return period_at(self._export.period, moment_ns(start)).start_ns if start is not None else 0

    def due(self, now_ns: int) -> list[Period]:
        """Periods that are to be closed, the earliest first."""
        first = self.first_ns()
        if first is None:
            return []
        known = [one for one in self.known() if one.done or one.start_ns >= self._from_ns()]
        begun = [Period(one.period, one.start_ns, one.end_ns) for one in known if not one.done]
        since = max(known[-1].end_ns if known else first, self._from_ns())
        found = periods(self._export.period, since, now_ns - round(self._export.after_hours * HOUR_NS))
        taken = {one.period for one in known}
        # the rest of a week whose Monday has a file of its own
        return [*begun, *(one if one.name not in taken else by_first_day(one) for one in found)]

    def known(self) -> list[Closed]:
        """What was decided and written so far, the earliest period first."""
        found = self._connection.execute(
            "SELECT value FROM facts WHERE name >= ? AND name < ?",
            # the character after ":"
            (f"export:{self._export.name}:", f"export:{self._export.name};"),
        )
        return sorted((msgspec.json.decode(value, type=Closed) for (value,) in found), key=lambda one: one.start_ns)

    def close(self, period: Period, now_ns: int) -> Closed:
        """Write the file of a period. All earlier ones must be closed. Raises ``ClashError`` and what writing raises;
        nothing is at the file's place then."""
        before = [one for one in self.known() if one.start_ns < period.start_ns and one.done]
        begun = [one for one in self.known() if one.start_ns == period.start_ns]
        closed = begun[0] if begun else self._decide(period, before, now_ns)
        made = self._made_in / f"export-{self._export.name}-{period.name}.part"
        try:
            counted = _Counted(
                rows(self._connection, self._book, self._price_list, self._scope(period, before, closed))
            )
            with made.open("wb") as out:
                write(counted, out, self._export.format)
                out.flush()
                os.fsync(out.fileno())
            with made.open("rb") as whole:
                digest = hashlib.file_digest(whole, "sha256").hexdigest()
            self._target().put(made, closed.file)
        finally:
            made.unlink(missing_ok=True)
        closed = msgspec.structs.replace(closed, done=True, rows=counted.rows, nanousd=counted.nanousd, sha256=digest)
        self._remember(closed)
        return closed

    def _scope(self, period: Period, before: list[Closed], closed: Closed) -> Scope:
        last = max((one.records_upto for one in before), default=0)
        return Scope(
            since_ns=period.start_ns,
            until_ns=period.end_ns,
            adjusted_since_ns=period.start_ns,
            grain=self._export.grain,
            # numbers begin anew where all records were deleted
            records_after=last if last <= closed.records_upto else 0,
            records_upto=closed.records_upto,
            adjustments_after=closed.adjustments_after,
            adjustments_upto=closed.adjustments_upto,
            first_ns=self._reach_ns(before),
        )

    def _reach_ns(self, before: list[Closed]) -> int:
        """What is late or corrected of earlier calls stands in no file: only what ``from`` leaves out."""
        first = min((one.start_ns for one in before), default=self._from_ns())
        return min(first, self._from_ns())

    def _decide(self, period: Period, before: list[Closed], now_ns: int) -> Closed:
        """Fix what the period's file holds, in one transaction."""
        name = f"{self._export.name}-{period.name}.{self._export.format}"
        if self._target().exists(name):
            raise ClashError(f"{name} is there already, and this ledger did not write it: move it away")
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            ((records, adjustments),) = self._connection.execute(
                "SELECT (SELECT coalesce(max(id), 0) FROM records), (SELECT coalesce(max(rowid), 0) FROM adjustments)"
            )
            closed = Closed(
                period=period.name,
                start_ns=period.start_ns,
                end_ns=period.end_ns,
                file=name,
                decided_ns=now_ns,
                records_upto=records,
                adjustments_after=max((one.adjustments_upto for one in before), default=0),
                adjustments_upto=adjustments,
            )
            self._remember(closed)
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        return closed

    def _remember(self, closed: Closed) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)",
            (f"export:{self._export.name}:{closed.period}", msgspec.json.encode(closed).decode()),
        )


class _Counted:
    """Rows on their way, counted and added up."""

    def __init__(self, source: Iterator[Row]) -> None:
        self._source = source
        self.rows = 0
        self.nanousd = 0

    def __iter__(self) -> Iterator[Row]:
        for row in self._source:
            self.rows += 1
            billed = row["BilledCost"]
            assert isinstance(billed, Decimal)
            self.nanousd += int(billed * 10**9)
            yield row
