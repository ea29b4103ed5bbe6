"""Spend and tokens by any dimension, from rollups; the hours at the edges of a period from records.

Adjustments count in the hour of the call that they correct.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from gateway.ledger.ids import first_id_at
from gateway.ledger.rows import HOUR_NS, USAGE_FIELDS

DIMENSIONS = ("team", "workflow", "key", "provider", "model", "hour", "day", "month")
_COLUMNS = {"key": "key_id"}
_HOUR_S = 3600
COUNTS = ("requests", "rejected", "errors", "estimated", "recovered", "unpriced")
TOKENS = ("input_tokens_total", "output_tokens_total", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
SUMS = (*COUNTS, *TOKENS, "cost_nanousd")


class UnknownDimensionError(ValueError):
    """A dimension that no report has."""


class SpendRow(msgspec.Struct, frozen=True):
    """One group of calls. ``requests`` counts calls that were not rejected."""

    group: tuple[str, ...]
    requests: int
    rejected: int
    errors: int
    estimated: int
    recovered: int
    unpriced: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    cost_nanousd: int


def spend(
    connection: sqlite3.Connection,
    by: Sequence[str],
    since_ns: int,
    until_ns: int,
    filters: Sequence[tuple[str, str]] = (),
) -> list[SpendRow]:
    """Groups of calls started in ``[since_ns, until_ns)``, the dearest first."""
    groups: dict[tuple[str, ...], list[int]] = {}
    first, last = -(-since_ns // HOUR_NS), until_ns // HOUR_NS
    if first < last:
        _add(groups, _rollups(connection, by, first, last, filters), len(by))
        edges = [(since_ns, first * HOUR_NS), (last * HOUR_NS, until_ns)]
    else:
        edges = [(since_ns, until_ns)]
    for start, end in edges:
        if start < end:
            _add(groups, _records(connection, by, start, end, filters), len(by))
    for row in _adjustments(connection, by, since_ns, until_ns, filters):
        key = tuple(str(value) for value in row[: len(by)])
        groups.setdefault(key, [0] * len(SUMS))[-1] += row[-1]
    rows = []
    for key, sums in groups.items():
        counts = dict(zip(SUMS, sums, strict=True))
        counts["requests"] -= counts["rejected"]
        counts["input_tokens"] = counts.pop("input_tokens_total")
        counts["output_tokens"] = counts.pop("output_tokens_total")
        rows.append(SpendRow(group=key, **counts))
    return sorted(rows, key=lambda row: (-row.cost_nanousd, row.group))


def _add(groups: dict[tuple[str, ...], list[int]], rows: sqlite3.Cursor, size: int) -> None:
    for row in rows:
        key = tuple(str(value) for value in row[:size])
        known = groups.get(key)
        if known is None:
            groups[key] = list(row[size:])
        else:
            groups[key] = [a + b for a, b in zip(known, row[size:], strict=True)]


def _expression(dimension: str, seconds: str) -> str:
    """SQL of a dimension; ``seconds`` is the SQL of the call's start."""
    if dimension.startswith("tag.") and len(dimension) > 4:
        name = dimension[4:].replace('"', "").replace("'", "''")
        return f"coalesce(json_extract(tags, '$.\"{name}\"'), '')"
    formats = {"hour": "%Y-%m-%dT%H:00Z", "day": "%Y-%m-%d", "month": "%Y-%m"}
    if dimension in formats:
        return f"strftime('{formats[dimension]}', {seconds}, 'unixepoch')"
    if dimension in DIMENSIONS:
        return _COLUMNS.get(dimension, dimension)
    raise UnknownDimensionError(f'no report by "{dimension}": use {", ".join(DIMENSIONS)} or tag.NAME')


def _query(
    connection: sqlite3.Connection,
    select: Sequence[str],
    sums: Sequence[str],
    source: str,
    where: str,
    values: Sequence[object],
    filters: Sequence[tuple[str, str]],
    seconds: str,
) -> sqlite3.Cursor:
    conditions = [where]
    bound = list(values)
    for dimension, value in filters:
        conditions.append(f"{_expression(dimension, seconds)} = ?")
        bound.append(value)
    groups = ", ".join(str(number + 1) for number in range(len(select)))
    sql = f"SELECT {', '.join([*select, *sums])} FROM {source} WHERE {' AND '.join(conditions)}"  # noqa: S608
    return connection.execute(sql + (f" GROUP BY {groups}" if groups else ""), bound)


def _rollups(
    connection: sqlite3.Connection, by: Sequence[str], first: int, last: int, filters: Sequence[tuple[str, str]]
) -> sqlite3.Cursor:
    seconds = f"hour * {_HOUR_S}"
    select = [_expression(dimension, seconds) for dimension in by]
    sums = [f"coalesce(sum({name}), 0)" for name in SUMS]
    return _query(connection, select, sums, "rollups", "hour >= ? AND hour < ?", (first, last), filters, seconds)


def _records(
    connection: sqlite3.Connection, by: Sequence[str], since_ns: int, until_ns: int, filters: Sequence[tuple[str, str]]
) -> sqlite3.Cursor:
    seconds = "started_ns / 1000000000"
    select = [_expression(dimension, seconds) for dimension in by]
    counts = {
        "requests": "count(*)",
        "rejected": "coalesce(sum(outcome = 'rejected'), 0)",
        "errors": "coalesce(sum(outcome IN ('upstream_error', 'upstream_timeout')), 0)",
        "estimated": "coalesce(sum(usage_source = 'estimated'), 0)",
        "recovered": "coalesce(sum(outcome = 'recovered'), 0)",
        "unpriced": "coalesce(sum(NOT priced), 0)",
        "cost_nanousd": "coalesce(sum(cost_nanousd), 0)",
    }
    sums = [
        f"coalesce(sum(json_extract(usage, '$.{name}')), 0)" if name in USAGE_FIELDS else counts[name] for name in SUMS
    ]
    where = "request_id >= ? AND started_ns >= ? AND started_ns < ?"
    values = (first_id_at(since_ns - HOUR_NS), since_ns, until_ns)
    return _query(connection, select, sums, "requests", where, values, filters, seconds)


def _adjustments(
    connection: sqlite3.Connection, by: Sequence[str], since_ns: int, until_ns: int, filters: Sequence[tuple[str, str]]
) -> sqlite3.Cursor:
    seconds = f"hour * {_HOUR_S}"
    select = [_expression(dimension, seconds) for dimension in by]
    where = "hour >= ? AND hour < ?"
    bounds = (since_ns // HOUR_NS, -(-until_ns // HOUR_NS))
    return _query(
        connection, select, ["coalesce(sum(delta_nanousd), 0)"], "adjustments", where, bounds, filters, seconds
    )
