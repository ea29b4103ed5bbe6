"""``/api/spend``: spend, tokens, speed of any group of calls in any period."""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web

from gateway.admin import query
from gateway.admin.access import team_of
from gateway.admin.query import BadQueryError, answer
from gateway.admin.services import SERVICES
from gateway.ledger.edges import in_whole_hours
from gateway.ledger.rows import rfc3339
from gateway.reports.cells import cell
from gateway.reports.pages import Upto, newest, spend_upto
from gateway.reports.spend import SpendRow, by_of, spend
from pricing.money import dollars

MAX_BY = 8
MAX_LIMIT = 10_000
MEASURES = tuple(name for name in SpendRow.__struct_fields__ if name not in ("group", "ttft_count"))


NEEDS: dict[str, tuple[str, ...]] = {
    "cost_usd": ("cost_nanousd",),
    "latency_ms": ("latency_us", "requests", "rejected"),
    "gateway_ms": ("gateway_us", "requests", "rejected"),
    "ttft_ms": ("ttft_us", "ttft_count"),
    "output_tokens_per_second": ("output_tokens", "latency_us", "ttft_us"),
}
"""Measures that are made of others."""
SHOWN = (*(name for name in MEASURES if not name.endswith("_us")), *NEEDS)
"""Names of the measures in an answer."""


def add(app: web.Application) -> None:
    """Add the routes."""
    app.router.add_get("/api/spend", page)


async def page(request: web.Request) -> web.Response:
    """Groups of calls, the dearest first."""
    services = request.app[SERVICES]
    now_ns = services.now_ns()
    named = request.query.get("by", "")
    if named.count(",") >= MAX_BY:
        raise BadQueryError(f"at most {MAX_BY} dimensions")
    by = by_of(named)
    period = query.period(request, now_ns)
    filters = scoped(request)
    style = request.query.get("format", "json")
    if style not in ("json", "csv"):
        raise BadQueryError("format is json or csv")
    limit = query.number(request, "limit", 1000, 1, MAX_LIMIT)
    offset, upto = _place(request.query.get("cursor"))
    asked = wanted(request)
    fields = [field for name in asked for field in NEEDS.get(name, (name,))]

    def read(connection: sqlite3.Connection) -> tuple[list[SpendRow], tuple[int, int], Upto]:
        asked_for = (connection, by, period.since_ns, period.until_ns, filters, fields)
        # one view of the ledger: what is told is what the cursor leads on from
        connection.execute("BEGIN")
        try:
            rows = spend(*asked_for) if upto is None else spend_upto(*asked_for, upto)
            return rows, in_whole_hours(connection, period.since_ns, period.until_ns), upto or newest(connection)
        finally:
            connection.execute("ROLLBACK")

    found, counted, told = await services.read(read)
    rows = [row for row in found if row.requests or row.rejected or row.cost_nanousd]
    if style == "csv":
        return _csv(by, rows, asked)
    shown, cursor = query.paged(rows, offset, limit, f".{told.record}.{told.adjustment}")
    return answer(
        {
            "since": rfc3339(counted[0]),
            "until": rfc3339(counted[1]),
            "by": by,
            "rows": [{"group": dict(zip(by, row.group, strict=True)), **measures(row, asked)} for row in shown],
            "groups": len(rows),
            "total": measures(total(rows), asked),
            "cursor": cursor,
        }
    )


def _place(cursor: str | None) -> tuple[int, Upto | None]:
    """Where a page begins, and what counts on it; None: all."""
    numbers = query.numbers_of(cursor, 3)
    return (numbers[0], Upto(*numbers[1:])) if len(numbers) == 3 else (numbers[0] if numbers else 0, None)


def scoped(request: web.Request) -> list[tuple[str, str]]:
    """The filters of the query, kept to the viewer's team."""
    filters = query.filters(request)
    team = team_of(request, [value for name, value in filters if name == "team"])
    return [*filters, ("team", team)] if team is not None else filters


def wanted(request: web.Request) -> list[str]:
    """The measures that are asked for; empty: all."""
    asked = [name.strip() for name in request.query.get("measures", "").split(",") if name.strip()]
    unknown = [name for name in asked if name not in SHOWN]
    if unknown:
        raise BadQueryError(f'no measure "{unknown[0][:40]}": measures are {", ".join(SHOWN)}')
    return asked


def total(rows: list[SpendRow]) -> SpendRow:
    """All rows as one."""
    names = [name for name in SpendRow.__struct_fields__ if name != "group"]
    return SpendRow(group=(), **{name: sum(getattr(row, name) for row in rows) for name in names})


def measures(row: SpendRow, asked: Sequence[str] = ()) -> dict[str, Any]:
    """A row as JSON, all of it or what is asked for; means beside the sums, null where there is nothing to take the
    mean of."""
    values = {name: getattr(row, name) for name in MEASURES if not name.endswith("_us")}
    calls = row.requests + row.rejected
    generating = row.latency_us - row.ttft_us
    whole = {
        **values,
        "cost_usd": dollars(row.cost_nanousd),
        "latency_ms": round(row.latency_us / calls / 1000, 3) if calls else None,
        "gateway_ms": round(row.gateway_us / calls / 1000, 3) if calls else None,
        "ttft_ms": round(row.ttft_us / row.ttft_count / 1000, 3) if row.ttft_count else None,
        "output_tokens_per_second": round(row.output_tokens * 1e6 / generating, 2) if generating > 0 else None,
    }
    return {name: whole[name] for name in asked} if asked else whole


def _csv(by: list[str], rows: list[SpendRow], asked: Sequence[str]) -> web.Response:
    out = io.StringIO()
    names = list(asked or (*MEASURES, "cost_usd"))
    writer = csv.writer(out)
    writer.writerow([*by, *names])
    for row in rows:
        values = {**msgspec.structs.asdict(row), **measures(row)}
        writer.writerow([*[cell(text) for text in row.group], *[values[name] for name in names]])
    headers = {"Content-Disposition": 'attachment; filename="spend.csv"'}
    return web.Response(text=out.getvalue(), content_type="text/csv", headers=headers)
