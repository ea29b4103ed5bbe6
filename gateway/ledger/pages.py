"""The newest records about something: the sums of hours tell where there are any, so that the others are not read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from itertools import groupby

import msgspec

from gateway.ledger.edges import horizon_ns
from gateway.ledger.ids import first_id_at, time_of_id
from gateway.ledger.record import (
    CLIENT_DISCONNECTED,
    COMPLETED,
    RECOVERED,
    REJECTED,
    UPSTREAM_ERROR,
    UPSTREAM_TIMEOUT,
)
from gateway.ledger.rows import GROUP_BITS, GROUP_MASK, HOUR_NS

_COUNTED = {
    COMPLETED: "requests - rejected - errors - disconnected - recovered",
    REJECTED: "rejected",
    CLIENT_DISCONNECTED: "disconnected",
    RECOVERED: "recovered",
    UPSTREAM_ERROR: "errors",
    UPSTREAM_TIMEOUT: "errors",
}
"""Outcome → how many there are, in the sums of an hour."""
_LATE_NS = 60 * 10**9
"""An id carries a time a little after the start of its call; where it is later than this, all records are looked at."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which records are wanted; ``groups`` by column, ``model`` the one that was asked for or that answered."""

    groups: Mapping[str, str]
    outcome: str | None
    since_ns: int
    until_ns: int
    before: str | None
    """Only ids that sort before this one."""

    @property
    def anything(self) -> bool:
        """Whether every record is wanted."""
        return not self.groups and self.outcome is None


def of_groups(groups: Mapping[str, str]) -> tuple[str, list[str]]:
    """SQL and values of what names a group."""
    where, values = [], []
    for column, value in groups.items():
        where.append("(model = ? OR model_requested = ?)" if column == "model" else f"{column} = ?")
        values += [value, value] if column == "model" else [value]
    return f"SELECT id FROM groups WHERE {' AND '.join(where)}" if where else "SELECT id FROM groups", values  # noqa: S608


def newest(connection: sqlite3.Connection, asked: Asked, limit: int) -> list[str] | None:
    """Ids of the newest ``limit`` records, the newest first. None: the hours do not tell, look at all records."""
    until = asked.until_ns if asked.before is None else min(asked.until_ns, time_of_id(asked.before) + HOUR_NS)
    groups, values = of_groups(asked.groups)
    if connection.execute(f"{groups} LIMIT 1", values).fetchone() is None:
        return []
    kept = horizon_ns(connection)
    hours = _hours(connection, asked, max(asked.since_ns, kept) // HOUR_NS, -(-until // HOUR_NS))
    found: set[str] = set()
    for hour, number in hours:
        counted = 0
        for request_id, started_ns, outcome in _records(connection, asked, hour):
            counted += started_ns // HOUR_NS == hour
            wanted = asked.since_ns <= started_ns < asked.until_ns and asked.outcome in (None, outcome)
            if wanted and (asked.before is None or request_id < asked.before):
                found.add(request_id)
        if counted < number and hour * HOUR_NS > kept:
            return None
        if len(found) >= limit:
            break
    return sorted(found, reverse=True)[:limit]


def _hours(connection: sqlite3.Connection, asked: Asked, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Hours that hold such records and how many, the newest first."""
    counted = _COUNTED[asked.outcome] if asked.outcome is not None else "requests"
    groups, values = of_groups(asked.groups)
    rows = connection.execute(
        f"SELECT id >> {GROUP_BITS}, {counted} FROM hours WHERE id >= ? AND id < ? AND {counted} > 0 "  # noqa: S608
        f"AND (id & {GROUP_MASK}) IN ({groups}) ORDER BY id DESC",
        (first << GROUP_BITS, last << GROUP_BITS, *values),
    )
    for hour, same in groupby(rows, key=lambda row: int(row[0])):
        yield hour, sum(number for _, number in same)


def _records(connection: sqlite3.Connection, asked: Asked, hour: int) -> sqlite3.Cursor:
    """Id, start and outcome of such records of an hour."""
    groups, values = of_groups(asked.groups)
    where = f"r.request_id >= ? AND r.request_id < ? AND r.group_id IN ({groups})"
    bound: list[str] = [first_id_at(hour * HOUR_NS), first_id_at((hour + 1) * HOUR_NS + _LATE_NS), *values]
    if asked.outcome is not None:
        same = [outcome for outcome, counted in _COUNTED.items() if counted == _COUNTED[asked.outcome]]
        where += f" AND r.kind_id IN (SELECT id FROM kinds WHERE outcome IN ({', '.join('?' * len(same))}))"  # noqa: S608
        bound += same
    return connection.execute(
        "SELECT r.request_id, r.started_ns, k.outcome FROM records r CROSS JOIN kinds k ON k.id = r.kind_id "  # noqa: S608
        f"WHERE {where}",
        bound,
    )
