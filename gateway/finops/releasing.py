"""What a statement gives back of calls whose true cost was not known, and of which quotas hold the whole reservation.

A statement holds all that the provider charged. So the calls of a day and model that were recovered or broke off can
have cost no more above their estimates than what the statement says more than the ledger, whatever else may explain it.
The rest of what they hold is released. Nothing is released of a model for which the statement charges nothing, nor of
calls from the last hour of a day: they may stand in the next day's charges.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import date

import msgspec

from gateway.finops.allocation import split
from gateway.finops.reconcile import Cell
from gateway.finops.series import DAY_NS, day_start_ns, today_of
from gateway.ledger.edges import id_bounds
from gateway.ledger.releases import Release
from gateway.ledger.rows import BROKEN, GROUP_COLUMNS, HOUR_NS
from gateway.reports.spend import column_of
from gateway.statements.charge import WEB_SEARCH, model_key


class Unsure(msgspec.Struct):
    """A call that holds more than it is known to have cost."""

    request_id: str
    started_ns: int
    group: tuple[str, ...]
    held: tuple[int, int, int]
    """Above the estimate: nanousd, input and output tokens."""
    released: tuple[int, int, int] | None
    """Of it, by an earlier statement; None: none has told of it yet."""


def releases(
    connection: sqlite3.Connection,
    cells: Sequence[Cell],
    providers: Sequence[str],
    dimension: str,
    project_of: Callable[[str], str],
    *,
    models: bool,
    projects: bool,
) -> list[Release]:
    """What is released, or taken back, now that the statement says what these days cost. ``cells`` are as they were
    before the differences were booked."""
    if not cells:
        return []
    first, last = min(cell.day for cell in cells), max(cell.day for cell in cells)
    calls: dict[object, list[Unsure]] = {}
    for value, model, one in _unsure(
        connection, providers, dimension, day_start_ns(first), day_start_ns(last) + DAY_NS
    ):
        key = (today_of(one.started_ns), model_key(model if models else ""), project_of(value) if projects else "")
        calls.setdefault(key, []).append(one)
    searches: dict[tuple[date, str], int] = {}
    """What is charged for searches apart from models: it may be these calls' too."""
    for cell in cells:
        if cell.model == WEB_SEARCH:
            searches[cell.day, cell.project] = max(0, cell.difference)
    found: list[Release] = []
    for cell in cells:
        own = calls.get((cell.day, model_key(cell.model), cell.project), [])
        if own and cell.stated > 0:
            found += _of_cell(cell, own, searches.get((cell.day, cell.project), 0))
    return found


def _of_cell(cell: Cell, calls: list[Unsure], searches: int) -> Iterator[Release]:
    new = [one for one in calls if one.released is None]
    old = [one for one in calls if one.released is not None]
    more = max(0, cell.difference) + searches
    kept = _shares(more, [one.held[0] for one in new])
    settled = more <= cell.tolerance
    tokens = [_kept_tokens(cell, new, place, settled=settled) for place in (1, 2)]
    for place, one in enumerate(new):
        yield _release(one, one.held[0] - kept[place], one.held[1] - tokens[0][place], one.held[2] - tokens[1][place])
    # a statement that was revised: what it charges more is held again, what it charges less is given back too
    again = _shares(more - sum(kept), [one.released[0] for one in old if one.released])
    less = _shares(max(0, -cell.difference), [one.held[0] - one.released[0] for one in old if one.released])
    for one, taken, given in zip(old, again, less, strict=True):
        if given != taken:
            yield _release(one, given - taken, 0, 0)


def _kept_tokens(cell: Cell, calls: list[Unsure], place: int, *, settled: bool) -> list[int]:
    """Tokens that are still held of each call: as many as the statement tells more than the ledger; where it tells
    none, all of them, unless its costs leave nothing open."""
    held = [one.held[place] for one in calls]
    stated, known = (
        (cell.input_tokens, cell.ledger.input_tokens) if place == 1 else (cell.output_tokens, cell.ledger.output_tokens)
    )
    if stated is not None:
        return _shares(max(0, stated - known), held)
    return [0] * len(held) if settled else held


def _shares(amount: int, held: list[int]) -> list[int]:
    """``amount`` in proportion to what is held of each, and no more than that."""
    if amount >= sum(held):
        return held
    parts = split(amount, {(f"{place:09}",): one for place, one in enumerate(held)})
    return [parts[group] for group in sorted(parts)]


def _release(one: Unsure, nanousd: int, tokens_in: int, tokens_out: int) -> Release:
    return Release(
        request_id=one.request_id,
        started_ns=one.started_ns,
        group=one.group,
        nanousd=nanousd,
        input_tokens=tokens_in,
        output_tokens=tokens_out,
    )


def _unsure(
    connection: sqlite3.Connection, providers: Sequence[str], dimension: str, since: int, until: int
) -> Iterator[tuple[str, str, Unsure]]:
    """Calls that quotas count at their reservation, each with its value of the dimension and its model."""
    marks, broken = ", ".join("?" * len(providers)), ", ".join(f"'{outcome}'" for outcome in BROKEN)
    columns = ", ".join(GROUP_COLUMNS)
    used = [f"coalesce(json_extract(usage, '$.{name}'), 0)" for name in ("input_tokens_total", "output_tokens_total")]
    rows = connection.execute(
        f"SELECT {column_of(dimension)}, request_id, started_ns, max(0, reserved_nanousd - cost_nanousd), "  # noqa: S608
        f"max(0, reserved_input_tokens - {used[0]}), max(0, reserved_output_tokens - {used[1]}), "
        "(SELECT json_array(sum(nanousd), sum(input_tokens), sum(output_tokens)) FROM releases "
        "WHERE releases.request_id = requests.request_id HAVING count(*) > 0), "
        f"{columns} FROM requests WHERE provider IN ({marks}) AND request_id >= ? AND request_id < ? "
        "AND started_ns >= ? AND started_ns < ? AND (outcome = 'recovered' OR pending OR "
        f"(usage_source = 'estimated' AND (outcome IN ({broken}) OR refused_by <> ''))) "
        "AND NOT EXISTS (SELECT 1 FROM adjustments a WHERE a.request_id = requests.request_id AND a.kind = 'reported')",
        (*providers, *id_bounds(connection, since, until), since, until),
    )
    for value, request_id, started_ns, nanousd, tokens_in, tokens_out, released, *group in rows:
        if started_ns % DAY_NS >= DAY_NS - HOUR_NS:
            continue
        before = tuple(msgspec.json.decode(released)) if released else None
        held = (nanousd, tokens_in, tokens_out)
        model = group[GROUP_COLUMNS.index("model")]
        yield value, model, Unsure(request_id, started_ns, tuple(group), held, before)
