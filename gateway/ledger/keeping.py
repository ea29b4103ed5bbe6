"""How long records are kept, copies of a ledger, and what is put back from them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.ledger.ids import first_id_at
from gateway.ledger.rows import DIMENSIONS, HOUR_NS, REQUEST_COLUMNS, SUMS, record_of_row, rollup_key, rollup_sums
from gateway.ledger.schema import connect
from gateway.ledger.writer import Statements, write_batch

DAY_NS = 24 * HOUR_NS
SLICE_ROWS = 2000
"""Rows deleted or put back in one transaction: no call waits long behind it."""


def horizon_ns(connection: sqlite3.Connection) -> int:
    """Records of calls started before this were deleted; 0: all are kept."""
    row = connection.execute("SELECT value FROM facts WHERE name = 'records_since_ns'").fetchone()
    return int(row[0]) if row is not None else 0


def forget(connection: sqlite3.Connection, keep_days: int, now_ns: int) -> int:
    """Delete one slice of the records that are older than ``keep_days``; answers how many. Rollups stay.

    Runs in the writer's transaction; called again until it answers 0.
    """
    horizon = (now_ns - keep_days * DAY_NS) // HOUR_NS * HOUR_NS
    old = connection.execute(
        "SELECT request_id FROM requests WHERE request_id < ? AND started_ns < ? LIMIT ?",
        (first_id_at(horizon), horizon, SLICE_ROWS),
    ).fetchall()
    if old:
        connection.execute(
            "INSERT INTO facts (name, value) VALUES ('records_since_ns', ?) "
            "ON CONFLICT (name) DO UPDATE SET value = max(CAST(value AS INTEGER), excluded.value)",
            (horizon,),
        )
        connection.executemany("DELETE FROM requests WHERE request_id = ?", old)
    return len(old)


def backup(source: Path, target: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """A consistent copy, while a gateway runs. Raises ``FileExistsError`` where ``target`` is there already."""
    if target.exists():
        raise FileExistsError(f"{target} is there already")
    reader = sqlite3.connect(f"file:{source}?mode=ro", uri=True)
    writer = sqlite3.connect(target)
    try:
        report = (lambda _, left, total: progress(total - left, total)) if progress is not None else None
        reader.backup(writer, pages=2048, progress=report)
        writer.execute("PRAGMA journal_mode = DELETE")
    finally:
        writer.close()
        reader.close()


def restore(copy: Path, ledger: Path) -> dict[str, int]:
    """Put back what ``ledger`` lacks of ``copy``: records with their sums, adjustments, keys, grants.

    A gateway may run. Nothing is overwritten, so putting back twice is putting back once. Answers how many rows of
    each came.
    """
    source = sqlite3.connect(f"file:{copy}?mode=ro", uri=True)
    target = connect(ledger)
    try:
        counts = {"records": _records(source, target), "sums": _old_rollups(source, target)}
        for table in ("adjustments", "keys", "quota_grants"):
            counts[table] = _rows(source, target, table)
        return counts
    finally:
        source.close()
        target.close()


def _records(source: sqlite3.Connection, target: sqlite3.Connection) -> int:
    statements = Statements()
    names = tuple(REQUEST_COLUMNS)
    cursor = source.execute(f"SELECT {', '.join(names)} FROM requests ORDER BY request_id")  # noqa: S608
    restored = 0
    while batch := cursor.fetchmany(SLICE_ROWS):
        marks = ",".join("?" * len(batch))
        known = {
            row[0]
            for row in target.execute(
                f"SELECT request_id FROM requests WHERE request_id IN ({marks})",  # noqa: S608
                [row[0] for row in batch],
            )
        }
        missing = [row for row in batch if row[0] not in known]
        rollups: dict[Any, list[int]] = {}
        for row in missing:
            values = dict(zip(names, row, strict=True))
            record = record_of_row(values)
            key = rollup_key(record, values["tags"])
            added = rollup_sums(record)
            before = rollups.get(key)
            rollups[key] = added if before is None else [a + b for a, b in zip(before, added, strict=True)]
        if missing:
            closed = [(row[0],) for row in missing]
            write_batch(target, statements, [], missing, closed, rollups, {}, closed)
            restored += len(missing)
    return restored


def _old_rollups(source: sqlite3.Connection, target: sqlite3.Connection) -> int:
    """Sums of hours whose records the copy no longer had."""
    columns = (*DIMENSIONS, *SUMS)
    rows = source.execute(
        f"SELECT {', '.join(columns)} FROM rollups WHERE hour < ?",  # noqa: S608
        (horizon_ns(source) // HOUR_NS,),
    ).fetchall()
    before = target.total_changes
    marks = ", ".join("?" * len(columns))
    with target:
        target.executemany(f"INSERT OR IGNORE INTO rollups ({', '.join(columns)}) VALUES ({marks})", rows)  # noqa: S608
    return target.total_changes - before


def _rows(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> int:
    cursor = source.execute(f"SELECT * FROM {table}")  # noqa: S608 - one of our tables
    names = [column[0] for column in cursor.description]
    before = target.total_changes
    marks = ", ".join("?" * len(names))
    with target:
        target.executemany(f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({marks})", cursor.fetchall())  # noqa: S608
    return target.total_changes - before
