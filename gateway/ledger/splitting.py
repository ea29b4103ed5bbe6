"""Sums of an older file, which did not tell outcomes apart, are taken apart while calls go on.

Records go into the groups of their outcomes, and what they added to sums goes with them. A slice is one transaction:
at any moment each record is counted once, and a crash leaves the last slice done or not begun.
"""

from __future__ import annotations

import sqlite3

from gateway.ledger.days import closed_until
from gateway.ledger.rows import (
    GROUP_BITS,
    GROUP_COLUMNS,
    HOUR_NS,
    OWNER_COLUMNS,
    REQUEST_COLUMNS,
    Row,
    add_sums,
    record_of_row,
    rollup_sums,
)
from gateway.ledger.schema import UNSPLIT
from gateway.ledger.writer import Writer, add_up, days_of

SLICE_ROWS = 5000
"""Records looked at in one transaction; few of them move."""
_ODD = (
    f"SELECT r.id, r.group_id, {', '.join('q.' + name for name in REQUEST_COLUMNS)} FROM records r "  # noqa: S608
    "CROSS JOIN groups g ON g.id = r.group_id CROSS JOIN kinds k ON k.id = r.kind_id "
    "CROSS JOIN requests q ON q.request_id = r.request_id "
    "WHERE r.id > ? AND r.id <= ? AND g.outcome <> k.outcome"
)


def is_split(connection: sqlite3.Connection) -> bool:
    """Whether all sums tell outcomes apart."""
    return connection.execute("SELECT 1 FROM facts WHERE name = ?", (UNSPLIT,)).fetchone() is None


def split(connection: sqlite3.Connection) -> bool:
    """Take one slice of the records apart, the newest first; answers whether there may be another.

    Runs in the writer's transaction; called again until it answers False.
    """
    row = connection.execute("SELECT value FROM facts WHERE name = ?", (UNSPLIT,)).fetchone()
    if row is None:
        return False
    newest = int(row[0])
    found = connection.execute(
        "SELECT min(id) FROM (SELECT id FROM records WHERE id <= ? ORDER BY id DESC LIMIT ?)", (newest, SLICE_ROWS)
    ).fetchone()[0]
    if found is None:
        connection.execute("DELETE FROM facts WHERE name = ?", (UNSPLIT,))
        return False
    _move(connection, connection.execute(_ODD, (found - 1, newest)).fetchall())
    connection.execute("UPDATE facts SET value = ? WHERE name = ?", (found - 1, UNSPLIT))
    return True


def _move(connection: sqlite3.Connection, rows: list[Row]) -> None:
    writer = Writer()
    groups: dict[tuple[int, str], int] = {}
    moved: list[tuple[int, int]] = []
    hours: dict[int, list[int]] = {}
    for number, old, *values in rows:
        record = record_of_row(dict(zip(REQUEST_COLUMNS, values, strict=True)))
        new = groups.get((old, record.outcome))
        if new is None:
            owner = connection.execute(f"SELECT {', '.join(OWNER_COLUMNS)} FROM groups WHERE id = ?", (old,)).fetchone()  # noqa: S608
            named = {**dict(zip(OWNER_COLUMNS, owner, strict=True)), "outcome": record.outcome}
            new = groups[old, record.outcome] = writer.group_id(connection, [named[name] for name in GROUP_COLUMNS])
        moved.append((new, number))
        hour, sums = record.started_ns // HOUR_NS << GROUP_BITS, rollup_sums(record)
        for key, change in ((hour | old, [-value for value in sums]), (hour | new, sums)):
            known = hours.get(key)
            hours[key] = change if known is None else add_sums((known, change))
    if not moved:
        return
    connection.executemany("UPDATE records SET group_id = ? WHERE id = ?", moved)
    add_up(connection, "hours", hours)
    days = days_of(hours, closed_until(connection))
    add_up(connection, "days", days)
    for period, keys in (("hours", hours), ("days", days)):
        connection.executemany(f"DELETE FROM {period} WHERE id = ? AND requests = 0", [(key,) for key in keys])  # noqa: S608
