"""Spend by how calls ended, while sums of an older file do not tell outcomes apart yet.

Few calls do not complete: those are read from their records, and what remains
of the sums is what was completed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from gateway.ledger.edges import in_whole_hours
from gateway.ledger.ids import first_id_at
from gateway.ledger.record import COMPLETED
from gateway.ledger.rows import HOUR_NS, OWNER_COLUMNS
from gateway.reports.spend import (
    FORMATS,
    OUTCOME,
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

_RECORDS = (
    f"records r CROSS JOIN (SELECT id, {', '.join(OWNER_COLUMNS)} FROM groups) g ON g.id = r.group_id "  # noqa: S608
    "CROSS JOIN kinds k ON k.id = r.kind_id"
)
Filters = Sequence[tuple[str, str]]
Key = tuple[str, ...]


def by_outcome(
    connection: sqlite3.Connection,
    by: Sequence[str],
    since_ns: int,
    until_ns: int,
    filters: Filters,
    measures: Sequence[str],
) -> list[SpendRow]:
    """As ``spend``, where ``outcome`` is among the dimensions or the filters."""
    since_ns, until_ns = in_whole_hours(connection, since_ns, until_ns)
    wanted = {value for name, value in filters if name == OUTCOME}
    others = [one for one in filters if one[0] != OUTCOME]
    plain, names = [name for name in by if name != OUTCOME], names_of(measures)
    odd = _odd(connection, [*plain, OUTCOME], since_ns, until_ns, others, names)
    found = dict(odd)
    if not wanted or COMPLETED in wanted:
        whole = {
            row.group: sums_of(row, names) for row in spend(connection, plain, since_ns, until_ns, others, measures)
        }
        for key, sums in odd.items():
            whole[key[:-1]] = [a - b for a, b in zip(whole[key[:-1]], sums, strict=True)]
        found |= {(*key, COMPLETED): sums for key, sums in whole.items() if any(sums)}
    groups: dict[Key, list[int]] = {}
    for key, sums in found.items():
        if wanted and key[-1] not in wanted:
            continue
        shown = tuple(_shown(by, key))
        known = groups.setdefault(shown, [0] * len(names))
        groups[shown] = [a + b for a, b in zip(known, sums, strict=True)]
    return rows_of(groups, names)


def _shown(by: Sequence[str], key: Key) -> Iterator[str]:
    """A key with its outcome in the place where it was asked for."""
    rest = iter(key[:-1])
    for name in by:
        yield key[-1] if name == OUTCOME else next(rest)


def sums_of(row: SpendRow, names: Sequence[str]) -> list[int]:
    """The sums that a row was made of; the reverse of ``rows_of``."""
    values = {name: getattr(row, name.removesuffix("_total")) for name in names}
    return [*(values | {"requests": row.requests + row.rejected}).values()]


def _odd(
    connection: sqlite3.Connection,
    by: Sequence[str],
    since_ns: int,
    until_ns: int,
    filters: Filters,
    names: Sequence[str],
) -> dict[Key, list[int]]:
    """Sums of calls that did not complete, with what was booked for them later."""
    hour, shown = f"(started_ns / {HOUR_NS})", [FORMATS.get(name, str) for name in by]
    where = (
        f"r.kind_id IN (SELECT id FROM kinds WHERE outcome <> '{COMPLETED}') AND request_id >= ? "  # noqa: S608
        "AND started_ns >= ? AND started_ns < ?"
    )
    values = (first_id_at(since_ns), since_ns, until_ns)
    groups: dict[Key, list[int]] = {}
    select = [expression(name, hour) for name in by]
    add_up(groups, grouped(connection, select, sums_of_records(names), _RECORDS, values, filters, hour, where), shown)
    for row in adjustments(connection, by, since_ns, until_ns, filters, WITH_OUTCOME):
        key = tuple(show(value) for show, value in zip(shown, row, strict=False))
        if key[-1] != COMPLETED:
            groups.setdefault(key, [0] * len(names))[-1] += row[-1]
    return groups
