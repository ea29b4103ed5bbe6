"""Parts of hours, which no sums hold: which ids their records have, so that few are read, and whether they are kept."""

from __future__ import annotations

import sqlite3

from gateway.ledger.ids import PREFIX, first_id_at
from gateway.ledger.rows import GROUP_BITS, HOUR_NS

LAST_ID = PREFIX + "~"
"""Sorts after every id."""


def id_bounds(connection: sqlite3.Connection, since_ns: int, until_ns: int) -> tuple[str, str]:
    """Ids from the first up to the second are those of all calls that were started in ``[since_ns, until_ns)``, and of
    others: an id carries a time near the start of its call.

    How near is not taken on trust: a clock that was set back lets ids run ahead. Where the hours around hold more calls
    than are found near by, there is no upper bound.
    """
    first, last = since_ns // HOUR_NS, -(-until_ns // HOUR_NS)
    low, high = first_id_at((first - 1) * HOUR_NS), first_id_at((last + 1) * HOUR_NS)
    ((near, whole),) = connection.execute(
        "SELECT (SELECT count(*) FROM records WHERE request_id >= ? AND request_id < ? AND started_ns >= ? "
        "AND started_ns < ?), (SELECT coalesce(sum(requests), 0) FROM hours WHERE id >= ? AND id < ?)",
        (low, high, first * HOUR_NS, last * HOUR_NS, first << GROUP_BITS, last << GROUP_BITS),
    )
    return low, high if near == whole else LAST_ID


def horizon_ns(connection: sqlite3.Connection) -> int:
    """Records of calls started before this were deleted; 0: all are kept."""
    row = connection.execute("SELECT value FROM facts WHERE name = 'records_since_ns'").fetchone()
    return int(row[0]) if row is not None else 0


def in_whole_hours(connection: sqlite3.Connection, since_ns: int, until_ns: int) -> tuple[int, int]:
    """The period as it can be told: an hour whose records were deleted is there as a whole alone, and belongs to what
    follows, so that parts of a period sum to it."""
    if since_ns % HOUR_NS == 0 == until_ns % HOUR_NS:
        return since_ns, until_ns
    kept = horizon_ns(connection)
    since_ns, until_ns = (at - at % HOUR_NS if at < kept else at for at in (since_ns, until_ns))
    return since_ns, until_ns
