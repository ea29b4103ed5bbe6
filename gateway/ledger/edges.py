"""Which ids the records of a part of an hour have, so that few records are read for it."""

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
