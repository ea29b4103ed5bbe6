"""Sums of days that are over, made once from those of their hours, so that a report over months reads few rows.

A call that is settled after its day was closed is added to both.
"""

from __future__ import annotations

import sqlite3

from gateway.ledger.rows import GROUP_BITS, GROUP_MASK, HOUR_NS, SUMS

CLOSED = "days_until"
DAY_NS = 24 * HOUR_NS
AFTER_NS = 2 * HOUR_NS
"""How long after its end a day is closed: most of its calls are settled by then."""
_COLUMNS = ", ".join(SUMS)
_TOTALS = ", ".join(f"sum({name})" for name in SUMS)


def closed_until(connection: sqlite3.Connection) -> int:
    """The first day, in days since 1970, whose sums are those of its hours alone."""
    row = connection.execute("SELECT value FROM facts WHERE name = ?", (CLOSED,)).fetchone()
    return int(row[0]) if row is not None else 0


def close_day(connection: sqlite3.Connection, now_ns: int) -> bool:
    """Make the sums of the next day that is over; answers whether there may be another.

    Runs in the writer's transaction; called again until it answers False.
    """
    over = (now_ns - AFTER_NS) // DAY_NS
    known = closed_until(connection)
    row = connection.execute("SELECT min(id) FROM hours WHERE id >= ?", (known * 24 << GROUP_BITS,)).fetchone()
    if row[0] is None or (day := (row[0] >> GROUP_BITS) // 24) >= over:
        return False
    add_up_day(connection, day)
    connection.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (CLOSED, day + 1))
    return True


def add_up_day(connection: sqlite3.Connection, day: int) -> None:
    """Make the sums of a day anew from those of its hours."""
    connection.execute("DELETE FROM days WHERE id >= ? AND id < ?", (day << GROUP_BITS, (day + 1) << GROUP_BITS))
    connection.execute(
        f"INSERT INTO days (id, {_COLUMNS}) SELECT ? | (id & {GROUP_MASK}), {_TOTALS} FROM hours "  # noqa: S608
        f"WHERE id >= ? AND id < ? GROUP BY id & {GROUP_MASK} ORDER BY 1",
        (day << GROUP_BITS, day * 24 << GROUP_BITS, (day + 1) * 24 << GROUP_BITS),
    )
