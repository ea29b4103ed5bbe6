"""One transaction for many rows.

Few, large statements: what a statement costs beside its rows is paid once for many.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from gateway.ledger.claims import claimed, outrun
from gateway.ledger.days import closed_until
from gateway.ledger.record import Record
from gateway.ledger.rows import (
    COMMON,
    GROUP_BITS,
    GROUP_COLUMNS,
    GROUP_MASK,
    HOUR_NS,
    KIND_COLUMNS,
    NULL,
    NULLABLE,
    RECORD_COLUMNS,
    SUMS,
    Group,
    Kind,
    add_sums,
    common_sums,
    group_of,
    kind_of,
    quotas_json,
    record_row,
    tags_json,
)

SIZES = (128, 64, 32, *range(16, 0, -1))
"""Rows of one statement; each size is prepared once."""
MAX_KNOWN = 50_000
"""Groups and kinds whose numbers are remembered."""
PROBE = "probe"
"""Stands in place of a request id while the disk is tried."""
NOTHING: list[Any] = []
_QUOTAS = tuple(KIND_COLUMNS).index("quotas")


def _insert(table: str, columns: Sequence[str], rows: int, more: str = "") -> str:
    row = f"({','.join(f'nullif(?,{NULL})' if name in NULLABLE else '?' for name in columns)})"
    return f"INSERT INTO {table} ({','.join(columns)}) VALUES {','.join([row] * rows)}{more}"  # noqa: S608 - our names


def _adding(period: str, sums: Sequence[str]) -> dict[int, str]:
    update = ",".join(f"{name}={name}+excluded.{name}" for name in sums)
    return {n: _insert(period, ("id", *sums), n, f" ON CONFLICT (id) DO UPDATE SET {update}") for n in SIZES}


def _find_or_make(table: str, columns: Collection[str]) -> tuple[str, str]:
    same = " AND ".join(f"{name} = ?" for name in columns)
    return f"SELECT id FROM {table} WHERE {same}", _insert(table, tuple(columns), 1)  # noqa: S608 - our names


_RECORDS = {n: _insert("records", tuple(RECORD_COLUMNS), n) for n in SIZES}
# in place of an entry that ended, or was written by a commit that was thought to have failed and never sent
_OPENS = {n: _insert("open_requests", ("id", "entry"), n).replace("INSERT", "REPLACE", 1) for n in SIZES}
_CLOSE = {n: f"DELETE FROM open_requests WHERE id IN ({','.join('?' * n)})" for n in SIZES}  # noqa: S608
_FORGET = {n: f"DELETE FROM checkpoints WHERE request_id IN ({','.join('?' * n)})" for n in SIZES}  # noqa: S608
_CHECKPOINT = (
    "INSERT INTO checkpoints (request_id, checkpoint) VALUES (?, ?) "
    "ON CONFLICT (request_id) DO UPDATE SET checkpoint = excluded.checkpoint"
)
_ADD = {period: (_adding(period, COMMON), _adding(period, SUMS)) for period in ("hours", "days")}
_GROUP = _find_or_make("groups", GROUP_COLUMNS)
_KIND = _find_or_make("kinds", KIND_COLUMNS)


def execute_many(connection: sqlite3.Connection, sql: dict[int, str], values: list[Any], width: int = 1) -> None:
    """Execute a statement for all rows, as few times as its sizes allow. ``values``: of one row after the other, each
    of ``width``."""
    count = len(values) // width
    if count in sql:
        connection.execute(sql[count], values)
        return
    start = 0
    for size in SIZES:
        while count - start >= size:
            connection.execute(sql[size], values[start * width : (start + size) * width])
            start += size


class Writer:
    """Writes batches, and remembers the numbers of groups and kinds. ``alone``: no other process closes days."""

    __slots__ = ("_alone", "_days_until", "_groups", "_kinds")

    def __init__(self, *, alone: bool = False) -> None:
        self._alone = alone
        self._groups: dict[Group, int] = {}
        self._kinds: dict[Kind, int] = {}
        self._days_until: int | None = None

    def forget(self) -> None:
        """Forget what is remembered: it may not be so any more."""
        self._groups.clear()
        self._kinds.clear()
        self._days_until = None

    def prepare(
        self,
        connection: sqlite3.Connection,
        *,
        records: Sequence[Record] = (),
        opens: list[Any] = NOTHING,
        closed: list[int] = NOTHING,
        checkpoints: dict[str, bytes] | None = None,
        forgotten: list[str] = NOTHING,
    ) -> None:
        """Put all of it into one transaction that is left to be committed, or nothing. Raises ``sqlite3.Error``.

        ``opens``: a number and an entry by turns; ``closed``: numbers of entries; ``forgotten``: ids of checkpoints.
        """
        connection.execute("BEGIN IMMEDIATE")
        try:
            if opens:
                execute_many(connection, _OPENS, opens, 2)
            for part in apart(records):
                self._write_records(connection, part)
            if closed:
                execute_many(connection, _CLOSE, closed)
            if checkpoints:
                connection.executemany(_CHECKPOINT, list(checkpoints.items()))
            if forgotten:
                execute_many(connection, _FORGET, forgotten)
        except BaseException:
            self.undo(connection)
            raise

    def write(
        self,
        connection: sqlite3.Connection,
        *,
        records: Sequence[Record] = (),
        opens: list[Any] = NOTHING,
        closed: list[int] = NOTHING,
        forgotten: list[str] = NOTHING,
    ) -> None:
        """Write all of it in one transaction, or nothing. Raises ``sqlite3.Error``."""
        self.prepare(connection, records=records, opens=opens, closed=closed, forgotten=forgotten)
        try:
            connection.execute("COMMIT")
        except BaseException:
            self.undo(connection)
            raise

    def undo(self, connection: sqlite3.Connection) -> None:
        """Leave the transaction that failed, and forget what it may have taught."""
        self.forget()
        if connection.in_transaction:
            connection.execute("ROLLBACK")

    def _write_records(self, connection: sqlite3.Connection, records: Sequence[Record]) -> None:
        values: list[Any] = []
        found: dict[int, list[list[int]]] = {}
        groups, kinds = self._groups, self._kinds
        estimates: list[Record] = []
        began, hour = -HOUR_NS, 0
        for record in records:
            if record.claim:
                record = claimed(connection, record)
                if record.usage_source == "estimated":
                    estimates.append(record)
            group = group_of(record)
            group_id = groups.get(group) or self._new_group(connection, group, record)
            kind = kind_of(record)
            kind_id = kinds.get(kind) or self._new_kind(connection, kind, record)
            values += record_row(record, group_id, kind_id)
            if not began <= record.started_ns < began + HOUR_NS:
                began = record.started_ns // HOUR_NS * HOUR_NS
                hour = began // HOUR_NS << GROUP_BITS
            key = hour | group_id
            known = found.get(key)
            if known is None:
                found[key] = [common_sums(record)]
            else:
                known.append(common_sums(record))
        hours = {key: add_sums(sums) for key, sums in found.items()}
        execute_many(connection, _RECORDS, values, len(RECORD_COLUMNS))
        for record in estimates:
            outrun(connection, record)
        add_up(connection, "hours", hours)
        if self._days_until is None or not self._alone:
            self._days_until = closed_until(connection)
        if min(hours) >> GROUP_BITS < self._days_until * 24:
            add_up(connection, "days", days_of(hours, self._days_until))

    def group_id(self, connection: sqlite3.Connection, columns: Sequence[str]) -> int:
        """The number of a group, given as its columns; it is made where there is none."""
        return _number(connection, _GROUP, columns)

    def _new_group(self, connection: sqlite3.Connection, group: Group, record: Record) -> int:
        if len(self._groups) >= MAX_KNOWN:
            self._groups.clear()
        found = self._groups[group] = self.group_id(connection, (*group[:-1], tags_json(record.tags)))
        return found

    def _new_kind(self, connection: sqlite3.Connection, kind: Kind, record: Record) -> int:
        if len(self._kinds) >= MAX_KNOWN:
            self._kinds.clear()
        columns = (*kind[:_QUOTAS], quotas_json(record.quotas), *kind[_QUOTAS + 1 :])
        found = self._kinds[kind] = _number(connection, _KIND, columns)
        return found


def _number(connection: sqlite3.Connection, sql: tuple[str, str], columns: Sequence[object]) -> int:
    find, make = sql
    row = connection.execute(find, columns).fetchone()
    number: int | None = row[0] if row is not None else connection.execute(make, columns).lastrowid
    assert number is not None
    return number


def add_up(connection: sqlite3.Connection, period: str, sums: dict[int, list[int]]) -> None:
    """Add sums, by their keys, to those of ``hours`` or ``days``."""
    plain: list[int] = []
    full: list[int] = []
    for key, row in sums.items():
        values = plain if len(row) == len(COMMON) else full
        values.append(key)
        values += row
    common, whole = _ADD[period]
    if plain:
        execute_many(connection, common, plain, 1 + len(COMMON))
    if full:
        execute_many(connection, whole, full, 1 + len(SUMS))


def days_of(hours: dict[int, list[int]], days_until: int) -> dict[int, list[int]]:
    """What goes into days whose sums were made already."""
    days: dict[int, list[int]] = {}
    for key, sums in hours.items():
        day = (key >> GROUP_BITS) // 24
        if day < days_until:
            number = day << GROUP_BITS | key & GROUP_MASK
            known = days.get(number)
            days[number] = sums if known is None else add_sums((known, sums))
    return days


def apart(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Records in parts that are written one after the other: a report must find the record that it replaces, and takes
    back what that cost. Nearly always all are one part."""
    start = 0
    claims: set[tuple[str, str]] = set()
    for at, record in enumerate(records):
        if record.claim:
            names = {(record.provider, record.claim), (record.provider, record.begun_as)}
            if claims & names:
                yield records[start:at]
                start, claims = at, set()
            claims |= names
    if start < len(records):
        yield records[start:] if start else records


def unwritten(connection: sqlite3.Connection, records: Sequence[Record]) -> list[Record]:
    """Those of ``records`` that the ledger does not have."""
    found = "SELECT 1 FROM records WHERE request_id = ?"
    return [one for one in records if connection.execute(found, (one.request_id,)).fetchone() is None]


def note(connection: sqlite3.Connection, request_id: str, checkpoint: bytes) -> None:
    """Write one checkpoint."""
    connection.execute(_CHECKPOINT, (request_id, checkpoint))


def probe(connection: sqlite3.Connection) -> None:
    """Raises ``sqlite3.Error`` while the disk can't take a commit of a few pages."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?)", (PROBE, bytes(16384)))
        connection.execute("COMMIT")
        connection.execute("DELETE FROM checkpoints WHERE request_id = ?", (PROBE,))
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
