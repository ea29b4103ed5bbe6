"""Corrections as rows of their own: what a group of past calls costs more or less than was booked for it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

from gateway.exports.columns import Row, moment, usd, whole
from gateway.exports.scope import GRAINS, Scope, billing, shared
from gateway.ledger.rows import HOUR_NS

TEXTS = {"reprice": "Calls priced again", "reconcile": "Difference from the provider's bill",
         "reported": "Estimate replaced by what was reported"}  # fmt: skip
"""By kind of adjustment."""


def adjustment_rows(connection: sqlite3.Connection, scope: Scope, price_list: Callable[[str], str]) -> Iterator[Row]:
    """Adjustments that were booked in the scope: those to the calls of one group in one day (or hour) are one row."""
    values: tuple[Any, ...]
    if scope.adjustments_after is not None:
        # every file before held what was booked up to then for calls of its period and earlier
        where = "hour >= ? AND hour < ? AND rowid <= ? AND (rowid > ? OR hour >= ?)"
        bounds = [one // HOUR_NS for one in (scope.first_ns or 0, scope.until_ns, scope.since_ns)]
        values = (*bounds[:2], scope.adjustments_upto, scope.adjustments_after, bounds[2])
        month: Any = str(scope.since_ns)
    else:
        where, values = "at_ns >= ? AND at_ns < ?", (scope.adjusted_since_ns, scope.until_ns)
        # one row a month of booking: the first entry of the month stands for it
        month = "min(at_ns)"
    hours = GRAINS[scope.grain] // HOUR_NS
    cursor = connection.execute(
        f"SELECT hour / {hours}, team, workflow, key_id, provider, model, model_requested, tags, kind, reason, price, "  # noqa: S608
        f"{month}, sum(delta_nanousd), count(*) FROM adjustments WHERE {where} "
        f"GROUP BY strftime('%Y-%m', at_ns / 1000000000, 'unixepoch'), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 "
        "ORDER BY min(at_ns), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        values,
    )
    for row in cursor:
        yield _row(row, hours * HOUR_NS, price_list)


def _row(row: Any, step: int, price_list: Callable[[str], str]) -> Row:
    (number, team, workflow, key_id, provider, model, requested, tags, kind, reason, price, booked, delta, count) = row
    text = TEXTS.get(kind, kind)
    begin = number * step
    return {
        **shared(team, workflow, key_id, provider, "", tags, price_list(provider)),
        **billing(booked, begin),
        "BilledCost": usd(delta),
        "ChargeCategory": "Adjustment",
        "ChargeDescription": f"{text}: {reason}" if reason and reason != kind else text,
        "ChargeFrequency": "One-Time",
        "ChargePeriodStart": moment(begin),
        "ChargePeriodEnd": moment(begin + step),
        "ContractedCost": usd(delta),
        "EffectiveCost": usd(delta),
        "ListCost": usd(delta),
        "PricingCurrencyEffectiveCost": usd(delta),
        "x_Model": (model or requested) or None,
        "x_Calls": whole(count),
        "x_PriceSource": price or None,
        "x_Reason": reason or kind,
    }
