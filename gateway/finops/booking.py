"""The ledger's side of a reconciliation: what it holds, and how a difference is booked."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import date

import msgspec

from gateway.finops.allocation import split
from gateway.finops.reconcile import Cell, Side
from gateway.finops.series import DAY_NS, day_start_ns, today_of
from gateway.ledger import releases
from gateway.ledger.edges import id_bounds
from gateway.ledger.releases import Release
from gateway.ledger.rows import HOUR_NS, OWNER_COLUMNS, tags_json
from gateway.reports.spend import column_of, spend
from gateway.statements.charge import WEB_SEARCH, model_key
from pricing.units import SEEN

NOBODY = ("unattributed", "bypassed", "")
"""Team, workflow and key of usage that did not come through the gateway."""
PROJECT = "project"
"""The tag that tells which project of the statement such usage was charged to."""
_ORDINAL = date(1970, 1, 1).toordinal()
Ledger = dict[tuple[date, str, str], Side]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An adjustment of what one group of calls cost on one day."""

    day: date
    group: tuple[str, ...]
    """In the order of ``OWNER_COLUMNS``."""
    nanousd: int
    cause: str
    mark: str
    """Equal for entries that are the same, so that none is booked twice."""


class Corrected(msgspec.Struct, frozen=True):
    """How far the ledger had been corrected when it was read: numbers of the newest adjustment and release."""

    adjustments: int
    releases: int


class Overtaken(Exception):  # noqa: N818 - a state, not a mistake
    """Somebody else corrected these days since they were read: what was found does not hold any more."""


def corrected(connection: sqlite3.Connection) -> Corrected:
    """To be asked before the ledger is read."""
    ((number,),) = connection.execute("SELECT coalesce(max(rowid), 0) FROM adjustments")
    return Corrected(number, releases.newest(connection))


def ledger_side(
    connection: sqlite3.Connection,
    providers: Sequence[str],
    dimension: str,
    first: date,
    last: date,
    project_of: Callable[[str], str],
    *,
    searches_apart: bool = False,
) -> Ledger:
    """What the ledger holds of these providers from ``first`` to ``last``, by day, model and project.

    ``project_of`` answers the project for a value of the dimension.
    ``searches_apart``: web searches are taken out of their models, as statements that charge for them apart do.
    """
    since, until = day_start_ns(first), day_start_ns(last) + DAY_NS
    found: Ledger = {}
    filters = [("provider", name) for name in providers]

    def side(day: date, model: str, value: str) -> Side:
        return found.setdefault((day, model, project_of(value)), Side())

    for row in spend(connection, ["day", "model", dimension], since, until, filters):
        one = side(date.fromisoformat(row.group[0]), *row.group[1:])
        one.nanousd += row.cost_nanousd
        one.calls += row.requests
        one.input_tokens += row.input_tokens
        one.output_tokens += row.output_tokens
        one.unpriced += row.unpriced
    marks = ", ".join("?" * len(providers))
    unsure = "(usage_source = 'estimated' OR outcome = 'recovered')"
    where = f"provider IN ({marks}) AND request_id >= ? AND request_id < ? AND started_ns >= ? AND started_ns < ?"
    values = (*providers, *id_bounds(connection, since, until), since, until)
    rows = connection.execute(
        f"SELECT started_ns / {DAY_NS}, model, {column_of(dimension)}, "  # noqa: S608 - our own names
        f"sum(iif({unsure}, cost_nanousd, 0)), sum(iif({unsure}, max(cost_nanousd, reserved_nanousd), 0)), "
        f"sum(iif(ended_ns / {DAY_NS} > started_ns / {DAY_NS}, cost_nanousd, 0)) FROM requests "
        f"WHERE {where} AND (cost_nanousd > 0 OR {unsure}) GROUP BY 1, 2, 3",
        values,
    )
    for number, model, value, estimated, most, over in rows:
        one = side(_day(number), model, value)
        one.estimated_nanousd += estimated
        one.estimated_most_nanousd += most
        one.over_midnight_nanousd += over
    if searches_apart:
        _searches(connection, side, dimension, where, values)
    _bypassed(connection, found, side, providers, dimension, since, until)
    return found


def _searches(
    connection: sqlite3.Connection,
    side: Callable[[date, str, str], Side],
    dimension: str,
    where: str,
    values: tuple[object, ...],
) -> None:
    rows = connection.execute(
        f"SELECT started_ns / {DAY_NS}, model, {column_of(dimension)}, sum(json_extract(line.value, '$[3]')) "  # noqa: S608
        "FROM requests, json_each(requests.lines) AS line "
        f"WHERE json_extract(line.value, '$[0]') IN ('web_search', '{SEEN}') AND {where} GROUP BY 1, 2, 3",
        values,
    ).fetchall()
    for number, model, value, nanousd in rows:
        side(_day(number), model, value).nanousd -= nanousd
        side(_day(number), WEB_SEARCH, value).nanousd += nanousd


def _bypassed(
    connection: sqlite3.Connection,
    found: Ledger,
    side: Callable[[date, str, str], Side],
    providers: Sequence[str],
    dimension: str,
    since: int,
    until: int,
) -> None:
    """What earlier statements booked as usage that did not come through the gateway counts in the project that they
    charged it to, whatever its team and provider."""
    marks = ", ".join("?" * len(providers))
    rows = connection.execute(
        f"SELECT hour / 24, model, {column_of(dimension)}, json_extract(tags, '$.{PROJECT}'), sum(delta_nanousd) "  # noqa: S608
        "FROM adjustments WHERE kind = 'reconcile' AND team = ? AND workflow = ? AND hour >= ? AND hour < ? "
        f"AND provider IN ({marks}) GROUP BY 1, 2, 3, 4",
        (*NOBODY[:2], since // HOUR_NS, until // HOUR_NS, *providers),
    ).fetchall()
    for number, model, value, project, nanousd in rows:
        one = side(_day(number), model, value)
        if project is not None:
            one.nanousd -= nanousd
            one = found.setdefault((_day(number), model, project), Side())
            one.nanousd += nanousd
        one.bypassed_nanousd += nanousd


def _day(number: int) -> date:
    return date.fromordinal(_ORDINAL + number)


def entries(
    connection: sqlite3.Connection,
    cells: Sequence[Cell],
    providers: Sequence[str],
    dimension: str,
    project_of: Callable[[str], str],
    *,
    models: bool,
    projects: bool,
) -> list[Entry]:
    """The adjustments that make the ledger's days what the statement says, cause by cause.

    A difference falls to the groups whose calls it concerns, in proportion to their cost, or to their tokens where
    they have none; usage that did not come through the gateway falls to ``NOBODY``, with its project as a tag.
    """
    groups = _groups(connection, cells, providers, dimension, project_of, models=models, projects=projects)
    booked = _booked(connection, cells)
    found = []
    for cell in cells:
        own = groups.get((cell.day, model_key(cell.model), cell.project), {})
        for cause, nanousd in cell.causes.items():
            weights = {} if cause == "bypassed" else own
            parts = split(nanousd, weights) or {_nobody(cell, providers, dimension, project_of): nanousd}
            for group, part in parts.items():
                # with how many came before: a statement may be revised to what it was once
                mark = (booked.get(cell.day, 0), cell.day, cell.stated, cell.ledger.nanousd, cause, part, *group,
                        cell.project)  # fmt: skip
                if part:
                    found.append(
                        Entry(day=cell.day, group=group, nanousd=part, cause=cause, mark="|".join(map(str, mark)))
                    )
    return found


def _nobody(cell: Cell, providers: Sequence[str], dimension: str, project_of: Callable[[str], str]) -> tuple[str, ...]:
    """Who bears what no call in the ledger explains."""
    own = (name for name in providers if dimension == "provider" and cell.project and project_of(name) == cell.project)
    tags = tags_json({PROJECT: cell.project} if cell.project else {})
    return (*NOBODY, next(own, providers[0]), cell.model, cell.model, tags)


def _booked(connection: sqlite3.Connection, cells: Sequence[Cell]) -> dict[date, int]:
    """How many entries earlier statements made, by day."""
    first, last = min(cell.day for cell in cells), max(cell.day for cell in cells)
    rows = connection.execute(
        "SELECT hour / 24, count(*) FROM adjustments WHERE kind = 'reconcile' AND hour >= ? AND hour < ? GROUP BY 1",
        (day_start_ns(first) // HOUR_NS, day_start_ns(last) // HOUR_NS + 24),
    )
    return {_day(number): count for number, count in rows}


def _groups(
    connection: sqlite3.Connection,
    cells: Sequence[Cell],
    providers: Sequence[str],
    dimension: str,
    project_of: Callable[[str], str],
    *,
    models: bool,
    projects: bool,
) -> dict[tuple[date, tuple[str, ...], str], dict[tuple[str, ...], int]]:
    """Groups of each cell with their weights."""
    first, last = min(cell.day for cell in cells), max(cell.day for cell in cells)
    columns, marks = ", ".join(OWNER_COLUMNS), ", ".join("?" * len(providers))
    rows = connection.execute(
        f"SELECT hour / 24, {column_of(dimension)}, sum(cost_nanousd), sum(input_tokens_total + output_tokens_total), "  # noqa: S608
        f"{columns} FROM rollups WHERE hour >= ? AND hour < ? AND provider IN ({marks}) AND requests > rejected "
        f"GROUP BY hour / 24, 2, {columns}",
        (day_start_ns(first) // HOUR_NS, day_start_ns(last) // HOUR_NS + 24, *providers),
    )
    costs: dict[tuple[date, tuple[str, ...], str], dict[tuple[str, ...], tuple[int, int]]] = {}
    for number, value, nanousd, tokens, *group in rows:
        model = group[OWNER_COLUMNS.index("model")] if models else ""
        key = (_day(number), model_key(model), project_of(value) if projects else "")
        costs.setdefault(key, {})[tuple(group)] = (nanousd, tokens)
    return {key: _weights(known) for key, known in costs.items()}


def _weights(known: Mapping[tuple[str, ...], tuple[int, int]]) -> dict[tuple[str, ...], int]:
    by_cost = {group: max(0, nanousd) for group, (nanousd, _) in known.items()}
    return by_cost if any(by_cost.values()) else {group: tokens for group, (_, tokens) in known.items()}


def book(
    connection: sqlite3.Connection,
    found: Sequence[Entry],
    now_ns: int,
    who: str,
    why: str,
    given_back: Sequence[Release],
    since: Corrected,
) -> int:
    """Write the entries, and what quotas hold less, in one transaction; answers how many entries were new. Raises
    ``Overtaken``, and writes nothing, where their days were corrected ``since``."""
    columns = ", ".join(OWNER_COLUMNS)
    rows = [
        (
            "adj_" + hashlib.sha256(f"reconcile|{one.mark}".encode()).hexdigest()[:26], "", now_ns,
            day_start_ns(one.day) // HOUR_NS, "reconcile", f"{one.cause}: {why}" if why else one.cause, who,
            one.nanousd, "", "[]", *one.group,
        )
        for one in found
    ]  # fmt: skip
    connection.execute("BEGIN IMMEDIATE")
    try:
        days = {one.day for one in found} | {today_of(one.started_ns) for one in given_back}
        _hold_still(connection, days, {one.request_id for one in given_back}, since)
        before = connection.total_changes
        connection.executemany(
            "INSERT OR IGNORE INTO adjustments (id, request_id, at_ns, hour, kind, reason, who, delta_nanousd, price, "  # noqa: S608
            f"cost_lines, {columns}) VALUES ({', '.join('?' * (10 + len(OWNER_COLUMNS)))})",
            rows,
        )
        new = connection.total_changes - before
        releases.insert(connection, given_back, now_ns, who, why)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return new


def _hold_still(connection: sqlite3.Connection, days: set[date], calls: set[str], since: Corrected) -> None:
    """Raises ``Overtaken``. What a running gateway corrects of other days and calls does not matter."""
    hours = connection.execute("SELECT DISTINCT hour FROM adjustments WHERE rowid > ?", (since.adjustments,))
    given = connection.execute("SELECT request_id FROM releases WHERE rowid > ?", (since.releases,))
    if any(_day(hour // 24) in days for (hour,) in hours) or any(request_id in calls for (request_id,) in given):
        raise Overtaken
