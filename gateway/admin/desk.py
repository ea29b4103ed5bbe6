"""``/api/forecast``, ``/api/anomalies``, ``/api/waste``, ``/api/allocation``: what the numbers mean."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import msgspec
from aiohttp import web

from gateway.admin import query
from gateway.admin.query import BadQueryError, answer
from gateway.admin.services import SERVICES
from gateway.finops.allocation import Share
from gateway.finops.lists import price_lists
from gateway.finops.series import (
    DAY_NS,
    day_start_ns,
    month_forecast,
    month_named,
    month_of,
    recent_anomalies,
    today_of,
)
from gateway.finops.showback import GROUPINGS, showback
from gateway.finops.waste import waste
from gateway.ledger.rows import rfc3339
from pricing.book import PriceBook

MAX_WASTE_DAYS = 31


def add(app: web.Application) -> None:
    """Add the routes."""
    app.router.add_get("/api/forecast", forecast)
    app.router.add_get("/api/anomalies", anomalies)
    app.router.add_get("/api/waste", wasted)
    app.router.add_get("/api/allocation", allocation)


async def forecast(request: web.Request) -> web.Response:
    """What this month will cost, for the calls that the filters take."""
    services = request.app[SERVICES]
    filters, now_ns = query.filters(request), services.now_ns()
    found = await services.read(lambda connection: month_forecast(connection, now_ns, filters))
    first, end = month_of(today_of(now_ns))
    return answer(
        {
            "since": rfc3339(day_start_ns(first)),
            "until": rfc3339(day_start_ns(end)),
            **{
                f"{name}_nanousd" if isinstance(value, int) and name != "history_days" else name: value
                for name, value in msgspec.structs.asdict(found).items()
            },
        }
    )


async def anomalies(request: web.Request) -> web.Response:
    """Unusual days of the last ``days`` (default 7), today left out: it is not over."""
    services = request.app[SERVICES]
    filters = query.filters(request)
    count = query.number(request, "days", 7, 1, 90)
    today = today_of(services.now_ns())
    first, last = today - timedelta(days=count), today - timedelta(days=1)
    found = await services.read(lambda connection: recent_anomalies(connection, first, last, filters))
    return answer({"since": first.isoformat(), "until": today.isoformat(), "anomalies": found})


async def wasted(request: web.Request) -> web.Response:
    """Money that bought little, in a period of at most 31 days (default: the last 7)."""
    services = request.app[SERVICES]
    now_ns = services.now_ns()
    until = query.when(request.query["until"]) if "until" in request.query else now_ns
    since = query.when(request.query["since"]) if "since" in request.query else until - 7 * DAY_NS
    if not 0 < until - since <= MAX_WASTE_DAYS * DAY_NS:
        raise BadQueryError(f"the period is at most {MAX_WASTE_DAYS} days long")
    config, book = services.config(), services.book()
    lists = price_lists(config)
    # a book of its own: it is used in a thread
    own = PriceBook(book.entries, book.catalogue)
    found = await services.read(
        lambda connection: waste(connection, own, lambda name: lists.get(name, name), since, until)
    )
    return answer({"since": rfc3339(since), "until": rfc3339(until), "findings": found})


async def allocation(request: web.Request) -> web.Response:
    """A month's direct and shared costs, by team, or by team and workflow."""
    services = request.app[SERVICES]
    by = request.query.get("by", "team").split(",")
    if by not in GROUPINGS:
        raise BadQueryError("by is team, or team,workflow")
    day = month(request.query["month"]) if "month" in request.query else today_of(services.now_ns())
    first, end = (day_start_ns(one) for one in month_of(day))
    costs = services.config().shared_costs
    shares = await services.read(lambda connection: showback(connection, costs, by, first, end))
    return answer({"month": f"{day:%Y-%m}", "by": by, **allocated(shares, by)})


def allocated(shares: list[Share], by: list[str]) -> dict[str, Any]:
    """An allocation as JSON."""
    rows = [
        {
            "group": dict(zip(by, share.group, strict=False)),
            "direct_nanousd": share.direct,
            "shared_nanousd": share.shared,
            "total_nanousd": share.total,
        }
        for share in shares
    ]
    return {"rows": rows, "total_nanousd": sum(share.total for share in shares)}


def month(text: str) -> date:
    """The first day of ``2026-11``."""
    try:
        return month_named(text)
    except ValueError as error:
        raise BadQueryError("month is like 2026-11") from error
