"""A month's allocation, read from the ledger."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from gateway.config.shared import SharedCostConfig
from gateway.finops.allocation import Share, allocate
from gateway.reports.spend import SpendRow, spend

GROUPINGS = (["team"], ["team", "workflow"])


def showback(
    connection: sqlite3.Connection, costs: Sequence[SharedCostConfig], by: Sequence[str], since_ns: int, until_ns: int
) -> list[Share]:
    """What each team, or each team's workflow, bears of the calls of ``[since_ns, until_ns)`` and of shared costs."""

    def rows_of(filters: Sequence[tuple[str, str]] = ()) -> list[SpendRow]:
        # whoever was refused, each time, made no call that could bear a share
        found = spend(connection, by, since_ns, until_ns, filters)
        return [row for row in found if row.requests or row.cost_nanousd]

    rows = rows_of()
    named = sorted({cost.provider for cost in costs if cost.provider is not None})
    at_provider = {name: rows_of([("provider", name)]) for name in named}
    return allocate(rows, costs, since_ns, until_ns, at_provider)
