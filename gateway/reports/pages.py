"""Spend as it was when the first of several pages was read: while calls are settled no group comes twice, or not at
all."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from gateway.ledger.edges import in_whole_hours
from gateway.ledger.rows import HOUR_NS
from gateway.reports.outcomes import sums_of
from gateway.reports.spend import (
    FORMATS,
    WITH_OUTCOME,
    SpendRow,
    add_up,
    adjustments,
    expression,
    grouped,
    names_of,
    rows_of,
    spend,
    sums_of_records,
)


class Upto(msgspec.Struct, frozen=True):
    """The last record and the last adjustment that count, by their numbers in the order in which they were written."""

    record: int
    adjustment: int


def newest(connection: sqlite3.Connection) -> Upto:
    """What is there now."""
    ((record, adjustment),) = connection.execute(
        "SELECT (SELECT coalesce(max(id), 0) FROM records), (SELECT coalesce(max(rowid), 0) FROM adjustments)"
    )
    return Upto(record, adjustment)


def spend_upto(
    connection: sqlite3.Connection,
    by: Sequence[str],
    since_ns: int,
    until_ns: int,
    filters: Sequence[tuple[str, str]],
    measures: Sequence[str],
    upto: Upto,
) -> list[SpendRow]:
    """As ``spend``, without what was written later: that is taken off again. Runs in a transaction of the caller's."""
    names = names_of(measures)
    found = {row.group: sums_of(row, names) for row in spend(connection, by, since_ns, until_ns, filters, measures)}
    since_ns, until_ns = in_whole_hours(connection, since_ns, until_ns)
    hour, shown = f"(started_ns / {HOUR_NS})", [FORMATS.get(name, str) for name in by]
    later: dict[tuple[str, ...], list[int]] = {}
    where = "request_id IN (SELECT request_id FROM records WHERE id > ?) AND started_ns >= ? AND started_ns < ?"
    values = (upto.record, since_ns, until_ns)
    select = [expression(name, hour) for name in by]
    add_up(later, grouped(connection, select, sums_of_records(names), "requests", values, filters, hour, where), shown)
    booked = f"{WITH_OUTCOME[:-1]} WHERE a.rowid > {upto.adjustment})"
    for row in adjustments(connection, by, since_ns, until_ns, filters, booked):
        key = tuple(show(value) for show, value in zip(shown, row, strict=False))
        later.setdefault(key, [0] * len(names))[-1] += row[-1]
    for key, sums in later.items():
        known = found.get(key)
        if known is not None:
            found[key] = [a - b for a, b in zip(known, sums, strict=True)]
    return rows_of(found, names)
