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
_LAST = date(9999, 12, 1)
"""A month that has no next one."""
Filters = Sequence[tuple[str, str]]


def day_start_ns(day: date) -> int:
    """00:00 UTC of a day."""
    return (day - _EPOCH).days * DAY_NS


def month_of(day: date) -> tuple[date, date]:
    """The first day of the month, and of the next."""
    first = day.replace(day=1)
    return first, first + timedelta(days=calendar.monthrange(day.year, day.month)[1])


def month_named(text: str) -> date:
    """The first day of ``2026-11``. Raises ``ValueError`` for what is no month, or one from before 1970."""
    day = date.fromisoformat(f"{text}-01")
    if not _EPOCH <= day < _LAST:
        raise ValueError("no month that a ledger can hold")
    return day


def today_of(now_ns: int) -> date:
    """The day, UTC."""
    return datetime.fromtimestamp(now_ns // 10**9, UTC).date()


def month_forecast(connection: sqlite3.Connection, now_ns: int, filters: Filters = ()) -> Forecast:
    """The forecast of this month's cost."""
    return month_forecasts(connection, (), now_ns, filters).get((), _of_days([], now_ns))


def month_forecasts(
    connection: sqlite3.Connection, by: Sequence[str], now_ns: int, filters: Filters = ()
) -> dict[tuple[str, ...], Forecast]:
    """The forecast of this month's cost for each group of calls."""
    today = today_of(now_ns)
    begin = today - timedelta(days=HISTORY_DAYS)
    since, until = day_start_ns(begin), day_start_ns(today + timedelta(days=1))
    days: dict[tuple[str, ...], list[int]] = {}
    for row in spend(connection, ["day", *by], since, until, filters, ["cost_nanousd"]):
        costs = days.setdefault(row.group[1:], [0] * (HISTORY_DAYS + 1))
        costs[(date.fromisoformat(row.group[0]) - begin).days] += row.cost_nanousd
    return {group: _of_days(costs, now_ns) for group, costs in days.items()}


def _of_days(costs: Sequence[int], now_ns: int) -> Forecast:
    """The forecast from the cost of each day of the past, today's last."""
    today = today_of(now_ns)
    first, end = month_of(today)
    costs = costs or [0]
    history = list(costs[:-1])
    while history and not history[0]:
        history = history[1:]
    return forecast(
        history,
        today,
        period_before=sum(costs[max(0, len(costs) - 1 - (today - first).days) : -1]),
        today_so_far=costs[-1],
        day_share=(now_ns - day_start_ns(today)) / DAY_NS,
        end=end,
    )


def recent_anomalies(connection: sqlite3.Connection, first: date, last: date, filters: Filters = ()) -> list[Anomaly]:
    """Anomalies of the days from ``first`` to ``last``, both included."""
    begin = first - timedelta(weeks=2 * BASE_WEEKS)
    # what a day cost tells whether it was unusual; models, which are many, are read for those workflows alone
    found = anomalies(_days(connection, begin, last, filters, ()), first, last)
    unusual = {(one.team, one.workflow) for one in found}
    if not unusual:
        return []
    narrow = [one for one in filters if one[0] not in ("team", "workflow")]
    narrow += dict.fromkeys(one for team, workflow in unusual for one in (("team", team), ("workflow", workflow)))
    days = _days(connection, begin, last, narrow, ("model",))
    return anomalies([day for day in days if (day.team, day.workflow) in unusual], first, last)


def _days(
    connection: sqlite3.Connection, first: date, last: date, filters: Filters, more: tuple[str, ...]
) -> list[Day]:
    """What each workflow used on each day; with ``more``, also by model."""
    since, until = day_start_ns(first), day_start_ns(last + timedelta(days=1))
    by = ["day", "team", "workflow", *more]
    return [
        Day(
            date.fromisoformat(row.group[0]),
            row.group[1],
            row.group[2],
            row.group[3] if more else "",
            calls=row.requests,
            tokens=row.input_tokens + row.output_tokens,
            nanousd=row.cost_nanousd,
        )
        for row in spend(connection, by, since, until, filters, ["input_tokens", "output_tokens"])
    ]
