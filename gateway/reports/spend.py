"""Spend and tokens by any dimension, from rollups; the hours at the edges of a period from records.

Adjustments count when the call that they correct began.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from gateway.ledger.days import closed_until
from gateway.ledger.edges import id_bounds, in_whole_hours
from gateway.ledger.ids import first_id_at
from gateway.ledger.rows import GROUP_BITS, GROUP_MASK, HOUR_NS, OWNER_COLUMNS, TIMES, USAGE_FIELDS
from gateway.ledger.splitting import is_split

OUTCOME = "outcome"
DIMENSIONS = ("team", "workflow", "key", "provider", "model", OUTCOME, "hour", "day", "week", "month")
_COLUMNS = {"key": "key_id"}
_HOUR_S = 3600
COUNTS = ("requests", "rejected", "errors", "disconnected", "estimated", "recovered", "unpriced")
SUMS: tuple[str, ...] = (*COUNTS, *TIMES, *USAGE_FIELDS, "cost_nanousd")
ALWAYS = ("requests", "rejected", "cost_nanousd")
"""Fields of a row that are always known."""
MAX_TAG = 128
WITH_OUTCOME = (
    f"(SELECT {', '.join(OWNER_COLUMNS)}, a.hour, a.request_id, a.delta_nanousd, coalesce(a.ended_as, "  # noqa: S608
    "(SELECT k.outcome FROM records r CROSS JOIN kinds k ON k.id = r.kind_id WHERE r.request_id = a.request_id), "
    "'completed') AS outcome FROM adjustments a)"
)
"""Adjustments with how the calls ended that they correct."""


class UnknownDimensionError(ValueError):
    """A dimension that no report has."""


class SpendRow(msgspec.Struct, frozen=True, kw_only=True):
    """One group of calls. ``requests`` counts calls that were not rejected; times are microseconds, summed up."""

    group: tuple[str, ...]
    requests: int
    rejected: int
    errors: int
    disconnected: int
    estimated: int
    recovered: int
    unpriced: int
    latency_us: int
    """Of all calls, rejected ones included."""
    gateway_us: int
    ttft_us: int
    ttft_count: int
    """Calls that have a time to first token."""
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cache_write_1h_tokens: int
    reasoning_tokens: int
    input_audio_tokens: int
    input_image_tokens: int
    output_audio_tokens: int
    output_image_tokens: int
    cache_read_audio_tokens: int
    web_search_requests: int
    search_units: int
    input_characters: int
    audio_milliseconds: int
    output_images: int
    pages: int
    web_searches_seen: int
    cache_read_image_tokens: int
    input_video_tokens: int
    cost_nanousd: int


def spend(
    connection: sqlite3.Connection,
    by: Sequence[str],
    since_ns: int,
    until_ns: int,
    filters: Sequence[tuple[str, str]] = (),
    measures: Sequence[str] = (),
) -> list[SpendRow]:
    """Groups of calls started in ``[since_ns, until_ns)``, as ``in_whole_hours`` has it, the dearest first.

    ``filters``: dimension and value; several values of one dimension are alternatives. ``measures``: the fields of a
    row that are wanted, beside ``ALWAYS``; the others are 0, which is quicker. Default: all. Raises
    ``UnknownDimensionError``.
    """
    by_outcomes = OUTCOME in by or any(name == OUTCOME for name, _ in filters)
    if by_outcomes and not is_split(connection):
        from gateway.reports.outcomes import by_outcome

        return by_outcome(connection, by, since_ns, until_ns, filters, measures)
    names = names_of(measures)
    shown = [FORMATS.get(dimension, str) for dimension in by]
    groups: dict[tuple[str, ...], list[int]] = {}
    since_ns, until_ns = in_whole_hours(connection, since_ns, until_ns)
    first, last = -(-since_ns // HOUR_NS), until_ns // HOUR_NS
    if until_ns % HOUR_NS and _nothing_since(connection, until_ns):
        # the last hour is whole: what began in it began before the period's end
        last, until_ns = last + 1, (last + 1) * HOUR_NS
    if first < last:
        for period, since, until in _periods(connection, by, first, last, filters):
            add_up(groups, _sums(connection, by, period, since, until, filters, names), shown)
        edges = [(since_ns, first * HOUR_NS), (last * HOUR_NS, until_ns)]
    else:
        edges = [(since_ns, until_ns)]
    for start, end in edges:
        if start < end:
            add_up(groups, _records(connection, by, start, end, filters, names), shown)
    booked = WITH_OUTCOME if by_outcomes else "adjustments"
    for row in adjustments(connection, by, since_ns, until_ns, filters, booked):
        key = tuple(show(value) for show, value in zip(shown, row, strict=False))
        groups.setdefault(key, [0] * len(names))[-1] += row[-1]
    return rows_of(groups, names)


def rows_of(groups: Mapping[tuple[str, ...], Sequence[int]], names: Sequence[str]) -> list[SpendRow]:
    """Groups with their sums as rows, the dearest first."""
    rows = []
    for key, sums in groups.items():
        counts = dict.fromkeys(SUMS, 0) | dict(zip(names, sums, strict=True))
        counts["requests"] -= counts["rejected"]
        counts["input_tokens"] = counts.pop("input_tokens_total")
        counts["output_tokens"] = counts.pop("output_tokens_total")
        rows.append(SpendRow(group=key, **counts))
    return sorted(rows, key=lambda row: (-row.cost_nanousd, row.group))


def names_of(measures: Sequence[str]) -> tuple[str, ...]:
    """The sums that the wanted fields of a row are made of, in the order of ``SUMS``."""
    wanted = {f"{name}_total" if f"{name}_total" in USAGE_FIELDS else name for name in (*measures, *ALWAYS)}
    return tuple(name for name in SUMS if name in wanted) if measures else SUMS


def _nothing_since(connection: sqlite3.Connection, moment_ns: int) -> bool:
    """Whether no call began at that moment or later: an id's time is never before the start of its call."""
    later = "SELECT 1 FROM records WHERE request_id >= ? LIMIT 1"
    return connection.execute(later, (first_id_at(moment_ns),)).fetchone() is None


def _hour(number: int) -> str:
    return f"{datetime.fromtimestamp(number * _HOUR_S, UTC):%Y-%m-%dT%H:00Z}"


def _day(number: int) -> date:
    return date(1970, 1, 1) + timedelta(days=number)


FORMATS: dict[str, Callable[[int], str]] = {
    "hour": _hour,
    "day": lambda number: _day(number).isoformat(),
    "week": lambda number: (_day(number) - timedelta(days=_day(number).weekday())).isoformat(),
    "month": lambda number: f"{_day(number):%Y-%m}",
}
"""Hours and days since 1970 as text. A week is called by its Monday."""


def add_up(
    groups: dict[tuple[str, ...], list[int]], rows: sqlite3.Cursor, shown: Sequence[Callable[[Any], str]]
) -> None:
    size = len(shown)
    for row in rows:
        key = tuple(show(value) for show, value in zip(shown, row, strict=False))
        known = groups.get(key)
        if known is None:
            groups[key] = list(row[size:])
        else:
            groups[key] = [a + b for a, b in zip(known, row[size:], strict=True)]


def by_of(text: str) -> list[str]:
    """The dimensions that somebody names, with commas between. Raises ``UnknownDimensionError`` for one named twice."""
    by = [name.strip() for name in text.split(",") if name.strip()]
    twice = [name for at, name in enumerate(by) if name in by[:at]]
    if twice:
        raise UnknownDimensionError(f"{twice[0][:40]} is named twice")
    return by


def column_of(dimension: str) -> str:
    """SQL of a dimension that is no time, over the views ``requests`` and ``rollups``. Raises
    ``UnknownDimensionError``."""
    if dimension in FORMATS or dimension == OUTCOME:
        what = "a time" if dimension in FORMATS else "no part of the sums"
        raise UnknownDimensionError(f"{dimension} is {what}: use team, workflow, key, provider, model or tag.NAME")
    return expression(dimension, "0")


def expression(dimension: str, hour: str) -> str:
    """SQL of a dimension; ``hour`` is the SQL of the hour in which the call began."""
    if dimension.startswith("tag.") and 4 < len(dimension) <= MAX_TAG:
        name = dimension[4:].replace('"', "").replace("'", "''").replace("\\", "")
        return f"coalesce(json_extract(tags, '$.\"{name}\"'), '')"
    if dimension == "hour":
        return hour
    if dimension in FORMATS:
        return f"{hour} / 24"
    if dimension in DIMENSIONS:
        return _COLUMNS.get(dimension, dimension)
    raise UnknownDimensionError(f'no report by "{dimension[:40]}": use {", ".join(DIMENSIONS)} or tag.NAME')


def _filter(dimension: str, hour: str) -> str:
    """SQL that a filter compares with its values."""
    if dimension in ("hour", "day", "month"):
        formats = {"hour": "%Y-%m-%dT%H:00Z", "day": "%Y-%m-%d", "month": "%Y-%m"}
        return f"strftime('{formats[dimension]}', {hour} * {_HOUR_S}, 'unixepoch')"
    if dimension == "week":
        raise UnknownDimensionError("week is no filter: use since and until")
    return expression(dimension, hour)


def _conditions(filters: Sequence[tuple[str, str]], hour: str) -> tuple[list[str], list[object]]:
    """SQL of the filters, and the values in it."""
    conditions: list[str] = []
    bound: list[object] = []
    wanted: dict[str, list[str]] = {}
    for dimension, value in filters:
        wanted.setdefault(dimension, []).append(value)
    for dimension, allowed in wanted.items():
        conditions.append(f"{_filter(dimension, hour)} IN ({', '.join('?' * len(allowed))})")
        bound += allowed
    return conditions, bound


def grouped(
    connection: sqlite3.Connection,
    select: Sequence[str],
    sums: Sequence[str],
    source: str,
    values: Sequence[object],
    filters: Sequence[tuple[str, str]],
    hour: str,
    where: str = "1",
) -> sqlite3.Cursor:
    conditions, bound = _conditions(filters, hour)
    groups = ", ".join(str(number + 1) for number in range(len(select)))
    sql = f"SELECT {', '.join([*select, *sums])} FROM {source} WHERE {' AND '.join([where, *conditions])}"  # noqa: S608
    return connection.execute(sql + (f" GROUP BY {groups}" if groups else ""), [*values, *bound])


def _periods(
    connection: sqlite3.Connection, by: Sequence[str], first: int, last: int, filters: Sequence[tuple[str, str]]
) -> list[tuple[str, int, int]]:
    """Tables of sums that hold the hours from ``first`` up to ``last``: days that are closed, hours around them."""
    first_day, last_day = -(-first // 24), min(last // 24, closed_until(connection))
    if first_day >= last_day or "hour" in by or any(dimension == "hour" for dimension, _ in filters):
        return [("hours", first, last)]
    parts = [("hours", first, first_day * 24), ("days", first_day, last_day), ("hours", last_day * 24, last)]
    return [part for part in parts if part[1] < part[2]]


def _sums(
    connection: sqlite3.Connection,
    by: Sequence[str],
    period: str,
    first: int,
    last: int,
    filters: Sequence[tuple[str, str]],
    names: Sequence[str],
) -> sqlite3.Cursor:
    """Sums of ``hours`` or ``days``. Where no time is asked for, first of each group, by number; then by the names that
    the groups have."""
    in_time = [one for one in filters if one[0] in FORMATS]
    of_groups, bound = _conditions([one for one in filters if one[0] not in FORMATS], "")
    where = f"{period}.id >= ? AND {period}.id < ?"
    if of_groups:
        where += f" AND ({period}.id & {GROUP_MASK}) IN (SELECT id FROM groups WHERE {' AND '.join(of_groups)})"  # noqa: S608
    values = (first << GROUP_BITS, last << GROUP_BITS, *bound)
    hour = f"({period}.id >> {GROUP_BITS})" if period == "hours" else f"(({period}.id >> {GROUP_BITS}) * 24)"
    select = [expression(dimension, hour) for dimension in by]
    sums = [f"coalesce(sum({name}), 0)" for name in names]
    if in_time or any(dimension in FORMATS for dimension in by):
        source = f"{period} CROSS JOIN groups ON groups.id = ({period}.id & {GROUP_MASK})"
        return grouped(connection, select, sums, source, values, in_time, hour, where)
    totals = ", ".join(f"sum({name}) AS {name}" for name in names)
    source = (
        f"(SELECT id & {GROUP_MASK} AS group_id, {totals} FROM {period} WHERE {where} GROUP BY 1) "  # noqa: S608
        "CROSS JOIN groups ON groups.id = group_id"
    )
    return grouped(connection, select, sums, source, values, (), hour)


def sums_of_records(names: Sequence[str]) -> list[str]:
    """SQL of sums, over records."""
    counts = {
        "requests": "count(*)",
        "rejected": "coalesce(sum(outcome = 'rejected'), 0)",
        "errors": "coalesce(sum(outcome IN ('upstream_error', 'upstream_timeout')), 0)",
        "disconnected": "coalesce(sum(outcome = 'client_disconnected'), 0)",
        "estimated": "coalesce(sum(usage_source = 'estimated'), 0)",
        "recovered": "coalesce(sum(outcome = 'recovered'), 0)",
        "unpriced": "coalesce(sum(NOT priced), 0)",
        "ttft_count": "count(ttft_us)",
    }
    return [
        f"coalesce(sum(json_extract(usage, '$.{name}')), 0)"
        if name in USAGE_FIELDS
        else counts.get(name, f"coalesce(sum({name}), 0)")
        for name in names
    ]


def _records(
    connection: sqlite3.Connection,
    by: Sequence[str],
    since_ns: int,
    until_ns: int,
    filters: Sequence[tuple[str, str]],
    names: Sequence[str],
) -> sqlite3.Cursor:
    hour = f"(started_ns / {HOUR_NS})"
    select = [expression(dimension, hour) for dimension in by]
    sums = sums_of_records(names)
    where = "request_id >= ? AND request_id < ? AND started_ns >= ? AND started_ns < ?"
    values = (*id_bounds(connection, since_ns, until_ns), since_ns, until_ns)
    return grouped(connection, select, sums, "requests", values, filters, hour, where)


def adjustments(
    connection: sqlite3.Connection,
    by: Sequence[str],
    since_ns: int,
    until_ns: int,
    filters: Sequence[tuple[str, str]],
    source: str = "adjustments",
) -> sqlite3.Cursor:
    """What was booked later for calls of the period. What corrects no call that is kept counts where its hour
    begins."""
    select = [expression(dimension, "hour") for dimension in by]
    of_call = "SELECT started_ns FROM records r WHERE r.request_id = booked.request_id"
    began = f"coalesce(({of_call}), hour * {HOUR_NS})"
    first, last = since_ns // HOUR_NS, -(-until_ns // HOUR_NS)
    # the two hours at the edges alone: to look a call up takes time
    edges = [hour for hour, at in ((first, since_ns), (last - 1, until_ns)) if at % HOUR_NS]
    where = "hour >= ? AND hour < ?" + f" AND (hour <> ? OR ({began} >= ? AND {began} < ?))" * len(edges)
    values = [first, last, *(value for hour in edges for value in (hour, since_ns, until_ns))]
    sums = ["coalesce(sum(delta_nanousd), 0)"]
    return grouped(connection, select, sums, f"{source} AS booked", values, filters, "hour", where)
