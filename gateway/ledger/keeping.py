"""How long records are kept, copies of a ledger, and what is put back from them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from gateway.ledger.claims import KEPT_NS
from gateway.ledger.connections import connect, connect_reader
from gateway.ledger.days import DAY_NS, add_up_day, closed_until
from gateway.ledger.edges import horizon_ns
from gateway.ledger.ids import first_id_at
from gateway.ledger.rows import DIMENSIONS, GROUP_BITS, HOUR_NS, REQUEST_COLUMNS, SELECT, SUMS, record_of_row
from gateway.ledger.schema import migrate, outdated
from gateway.ledger.splitting import is_split
from gateway.ledger.whole import part_beside
from gateway.ledger.writer import Writer, unwritten

SLICE_ROWS = 2000
"""Rows deleted or put back in one transaction: no call waits long behind it."""
_KEPT_SINCE = (
    "INSERT INTO facts (name, value) VALUES ('records_since_ns', ?) "
    "ON CONFLICT (name) DO UPDATE SET value = max(CAST(value AS INTEGER), excluded.value)"
)
_ENDED = "UPDATE adjustments SET ended_as = ? WHERE request_id = ? AND ended_as IS NULL"
_RESTORED = "INSERT INTO facts (name, value) VALUES ('restored', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1"
_GRANT = ("quota", "unit", "amount", "from_ns", "who", "why", "created_ns")
"""What a grant is known by: its number is another one in another ledger, and its end may have been moved."""
_ALL = (1 << 63) - 1
Counted = frozenset[int]


def restored(connection: sqlite3.Connection) -> int:
    """How often something was put back: what was counted before is not all that is there."""
    row = connection.execute("SELECT value FROM facts WHERE name = 'restored'").fetchone()
    return int(row[0]) if row is not None else 0


def forget(connection: sqlite3.Connection, keep_days: int, now_ns: int, copied: int | None = None) -> int:
    """Delete one slice of the records that are older than ``keep_days``; answers how many. Rollups stay, how corrected
    calls ended, and estimates whose report is still to come: it takes back what they cost. So does the record that was
    written last: its number is not given again. ``copied``: the last one that was copied; those after it are still to
    be, and stay. None: nothing is copied.

    Runs in the writer's transaction; called again until it answers 0. Sums that do not tell outcomes apart yet need
    their records for that: until it is done nothing is deleted.
    """
    if not is_split(connection):
        return 0
    horizon = (now_ns - keep_days * DAY_NS) // HOUR_NS * HOUR_NS
    old = connection.execute(
        "SELECT r.id, r.request_id, k.outcome FROM records r CROSS JOIN kinds k ON k.id = r.kind_id "
        "WHERE request_id < ? AND started_ns < ? AND request_id NOT IN "
        "(SELECT request_id FROM claims WHERE charged = 0 AND at_ns >= ?) "
        "AND r.id < (SELECT max(id) FROM records) AND r.id <= ? LIMIT ?",
        (first_id_at(horizon), horizon, now_ns - KEPT_NS, _ALL if copied is None else copied, SLICE_ROWS),
    ).fetchall()
    if old:
        connection.execute(_KEPT_SINCE, (horizon,))
        connection.executemany(_ENDED, [(outcome, request_id) for _, request_id, outcome in old])
        connection.executemany("DELETE FROM records WHERE id = ?", [(number,) for number, _, _ in old])
    return len(old)


def backup(source: Path, target: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """A consistent copy, while a gateway runs: a whole one or none.

    Raises ``FileExistsError`` where ``target`` is there already, and ``OSError`` where no file can be made there.
    """
    if target.exists():
        raise FileExistsError(f"{target} is there already")
    # beside its place until it is whole: a part of a copy must not look like one, however this process ends
    with part_beside(target) as part:
        _copy(source, part, progress)
        if target.exists():
            raise FileExistsError(f"{target} is there already")
        part.rename(target)


def _copy(source: Path, target: Path, progress: Callable[[int, int], None] | None) -> None:
    reader = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    writer = sqlite3.connect(target)
    try:
        # one view of the source from the first page to the last: else every commit would begin the copy anew
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
        report = (lambda _, left, total: progress(total - left, total)) if progress is not None else None
        reader.backup(writer, pages=2048, progress=report)
        writer.execute("PRAGMA journal_mode = DELETE")
    finally:
        writer.close()
        reader.close()


def prepare(copy: Path) -> None:
    """Bring a copy to the newest schema, so that it can be put back. One that has it is only read, and stays as it is.

    Raises as ``migrate`` does.
    """
    try:
        with closing(connect_reader(copy)) as connection:
            if not outdated(connection, copy):
                return
    except sqlite3.Error:
        # what is wrong is said where it is opened to be written
        pass
    migrate(copy)


def restore(copy: Path, ledger: Path) -> dict[str, int]:
    """Put back what ``ledger`` lacks of ``copy``: records with their sums, adjustments, keys, claims, grants, releases.

    A gateway may run: its quotas count what came within a second or so of the end. Nothing is overwritten, so putting
    back twice is putting back once. Answers how many rows of each came.
    """
    source = sqlite3.connect(f"{copy.absolute().as_uri()}?mode=ro", uri=True)
    target = connect(ledger)
    try:
        counted = _counted(target)
        sums = _old_rollups(source, target)
        counts = {"records": _records(source, target, counted), "sums": sums}
        for table in ("adjustments", "keys", "claims"):
            counts[table] = _rows(source, target, table)
        counts["quota_grants"] = _grants(source, target)
        target.execute("BEGIN IMMEDIATE")
        # together: a gateway that sees these releases sees that the calls that they are of were put back too
        counts["releases"] = _rows(source, target, "releases")
        target.execute(_RESTORED)
        target.execute("COMMIT")
        return counts
    finally:
        source.close()
        target.close()


def _counted(target: sqlite3.Connection) -> Counted:
    """Hours whose calls are in the sums for good, though their records were deleted."""
    horizon = horizon_ns(target)
    rows = target.execute(
        f"SELECT DISTINCT id >> {GROUP_BITS} FROM hours WHERE id < ?",  # noqa: S608
        (horizon // HOUR_NS << GROUP_BITS,),
    )
    return frozenset(hour for (hour,) in rows.fetchall())


def _records(source: sqlite3.Connection, target: sqlite3.Connection, counted: Counted) -> int:
    """Those that the copy keeps whole hours of: of older ones it has the sums."""
    writer = Writer()
    cursor = source.execute(f"{SELECT} WHERE started_ns >= ? ORDER BY request_id", (horizon_ns(source),))
    restored = 0
    while batch := cursor.fetchmany(SLICE_ROWS):
        records = [record_of_row(dict(zip(REQUEST_COLUMNS, row, strict=True))) for row in batch]
        missing = unwritten(target, [one for one in records if one.started_ns // HOUR_NS not in counted])
        if missing:
            writer.write(target, records=missing)
            restored += len(missing)
    target.execute(
        "DELETE FROM open_requests WHERE json_extract(CAST(entry AS TEXT), '$[0]') IN (SELECT request_id FROM records)"
    )
    return restored


def _old_rollups(source: sqlite3.Connection, target: sqlite3.Connection) -> int:
    """Sums of hours whose records the copy no longer had, and from when on it has them."""
    horizon = horizon_ns(source)
    if not horizon:
        return 0
    writer = Writer()
    columns = (*DIMENSIONS, *SUMS)
    rows = source.execute(
        f"SELECT {', '.join(columns)} FROM rollups WHERE hour < ?",  # noqa: S608
        (horizon // HOUR_NS,),
    ).fetchall()
    marks = ", ".join("?" * (1 + len(SUMS)))
    size = len(DIMENSIONS)
    target.execute("BEGIN IMMEDIATE")
    try:
        keyed = [(row[0] << GROUP_BITS | writer.group_id(target, row[1:size]), *row[size:]) for row in rows]
        before = target.total_changes
        target.executemany(f"INSERT OR IGNORE INTO hours (id, {', '.join(SUMS)}) VALUES ({marks})", keyed)  # noqa: S608
        restored = target.total_changes - before
        closed = closed_until(target)
        for day in {row[0] // 24 for row in rows if row[0] // 24 < closed}:
            add_up_day(target, day)
        target.execute(_KEPT_SINCE, (horizon,))
        target.execute("COMMIT")
    except BaseException:
        target.execute("ROLLBACK")
        raise
    return restored


def _rows(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> int:
    cursor = source.execute(f"SELECT * FROM {table}")  # noqa: S608 - one of our tables
    names = [column[0] for column in cursor.description]
    before = target.total_changes
    marks = ", ".join("?" * len(names))
    target.executemany(f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({marks})", cursor.fetchall())  # noqa: S608
    return target.total_changes - before


def _grants(source: sqlite3.Connection, target: sqlite3.Connection) -> int:
    names = (*_GRANT, "until_ns")
    same = " AND ".join(f"{name} IS ?{place}" for place, name in enumerate(_GRANT, start=1))
    rows = source.execute(f"SELECT {', '.join(names)} FROM quota_grants ORDER BY id").fetchall()  # noqa: S608
    before = target.total_changes
    target.executemany(
        f"INSERT INTO quota_grants ({', '.join(names)}) SELECT "  # noqa: S608 - our names
        f"{', '.join(f'?{place}' for place in range(1, len(names) + 1))} "
        f"WHERE NOT EXISTS (SELECT 1 FROM quota_grants WHERE {same})",
        rows,
    )
    return target.total_changes - before
