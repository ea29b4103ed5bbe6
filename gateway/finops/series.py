"""What the insights are computed from: days of spend, read from the ledger's sums."""

from __future__ import annotations

import calendar
import sqlite3
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from gateway.finops.anomalies import BASE_WEEKS, Anomaly, Day, anomalies
from gateway.finops.forecast import HISTORY_DAYS, Forecast, forecast
from gateway.ledger.rows import HOUR_NS
from gateway.reports.spend import spend

DAY_NS = 24 * HOUR_NS
_EPOCH = date(1970, 1, 1)
Filters = Sequence[tuple[str, str]]


def day_start_ns(day: date) -> int:
    """00:00 UTC of a day."""
    return (day - _EPOCH).days * DAY_NS


def month_of(day: date) -> tuple[date, date]:
    """The first day of the month, and of the next."""
    first = day.replace(day=1)
    return first, first + timedelta(days=calendar.monthrange(day.year, day.month)[1])


def today_of(now_ns: int) -> date:
    """The day, UTC."""
    return datetime.fromtimestamp(now_ns // 10**9, UTC).date()


def daily(connection: sqlite3.Connection, first: date, last: date, filters: Filters = ()) -> list[int]:
    """Cost of each day from ``first`` up to ``last``, which is not included."""
    rows = spend(connection, ["day"], day_start_ns(first), day_start_ns(last), filters)
    costs = {row.group[0]: row.cost_nanousd for row in rows}
    days = [first + timedelta(days=offset) for offset in range((last - first).days)]
    return [costs.get(day.isoformat(), 0) for day in days]


def month_forecast(connection: sqlite3.Connection, now_ns: int, filters: Filters = ()) -> Forecast:
    """The forecast of this month's cost."""
    today = today_of(now_ns)
    first, end = month_of(today)
    begin = today - timedelta(days=HISTORY_DAYS)
    costs = daily(connection, begin, today + timedelta(days=1), filters)
    history = costs[:-1]
    while history and not history[0]:
        history = history[1:]
    return forecast(
        history,
        today,
        period_before=sum(costs[len(costs) - 1 - (today - first).days : -1]),
        today_so_far=costs[-1],
        day_share=(now_ns - day_start_ns(today)) / DAY_NS,
        end=end,
    )


def recent_anomalies(connection: sqlite3.Connection, first: date, last: date, filters: Filters = ()) -> list[Anomaly]:
    """Anomalies of the days from ``first`` to ``last``, both included."""
    begin = first - timedelta(weeks=2 * BASE_WEEKS)
    rows = spend(
        connection,
        ["day", "team", "workflow", "model"],
        day_start_ns(begin),
        day_start_ns(last + timedelta(days=1)),
        filters,
    )
    days = [
        Day(
            date.fromisoformat(row.group[0]),
            row.group[1],
            row.group[2],
            row.group[3],
            calls=row.requests,
            tokens=row.input_tokens + row.output_tokens,
            nanousd=row.cost_nanousd,
        )
        for row in rows
    ]
    return anomalies(days, first, last)
