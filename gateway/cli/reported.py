"""A report as rows of text, whatever they are written as."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from gateway.cli.common import dollars
from gateway.cli.tables import sparkline
from gateway.finops.forecast import Forecast
from gateway.ledger.rows import rfc3339
from gateway.reports.compared import Change, total
from gateway.reports.spend import SpendRow

NOTES = {
    "rejected": "calls were refused",
    "estimated": "calls rest on an estimate",
    "recovered": "calls were recovered after a crash",
    "unpriced": "calls have no known price",
}


class Report(msgspec.Struct, kw_only=True):
    """What was asked for, and what was found."""

    by: list[str]
    since_ns: int
    until_ns: int
    rows: list[SpendRow]
    before_ns: tuple[int, int] | None = None
    changes: list[Change] = []
    """One for each row, where the period before was asked for."""
    forecasts: dict[tuple[str, ...], Forecast] = {}
    forecast: Forecast | None = None
    """Of all rows together."""
    step: str = ""
    """Hour, day or week, where courses were asked for."""
    courses: dict[tuple[str, ...], list[int]] = {}
    counted_ns: tuple[int, int] | None = None
    """The period in whole hours, where records at its edges are no longer kept."""


class _Column(msgspec.Struct):
    header: str
    of: Callable[[SpendRow], str]
    spare: bool = False
    """May be left out where lines are short."""
    number: bool = True


Shown = tuple[list[str], list[list[str]], list[list[str]], set[int], list[int]]


def shown(report: Report) -> Shown:
    """Headers, rows, the line of totals, which columns hold numbers, which may be left out first."""
    columns = [
        _Column("requests", lambda row: f"{row.requests:,}", spare=True),
        _Column("input", lambda row: f"{row.input_tokens:,}", spare=True),
        _Column("cached", lambda row: f"{row.cache_read_tokens:,}", spare=True),
        _Column("output", lambda row: f"{row.output_tokens:,}", spare=True),
        _Column("cost USD", lambda row: dollars(row.cost_nanousd)),
        *_compared(report),
        *_forecast(report),
        *_courses(report),
    ]
    start = len(report.by)
    shown_rows = [row for row in report.rows if _is_shown(report, row)]
    rows = [[*row.group, *(column.of(row) for column in columns)] for row in shown_rows]
    whole = total(report.rows)
    totals = [["total"] + [""] * (start - 1) + [column.of(whole) for column in columns]] if start else []
    headers = [*report.by, *(column.header for column in columns)]
    right = {start + place for place, column in enumerate(columns) if column.number}
    # cached input first, then the rest from the right
    spare = [start + place for place, column in enumerate(columns) if column.spare]
    return headers, rows, totals, right, sorted(spare, key=lambda place: (headers[place] != "cached", -place))


def _is_shown(report: Report, row: SpendRow) -> bool:
    if row.requests or row.cost_nanousd:
        return True
    return any(change.now is row and (change.before.requests or change.before.cost_nanousd)
               for change in report.changes)  # fmt: skip


def _compared(report: Report) -> list[_Column]:
    if report.before_ns is None:
        return []
    before = {change.now.group: change.before for change in report.changes}
    before[()] = total([change.before for change in report.changes]) if report.by else before.get((), total([]))

    def change(row: SpendRow) -> str:
        difference = row.cost_nanousd - before[row.group].cost_nanousd
        return ("+" if difference > 0 else "") + dollars(difference)

    def share(row: SpendRow) -> str:
        old = before[row.group].cost_nanousd
        if not old:
            return "new" if row.cost_nanousd else ""
        # tenths of a percent, halves away from zero
        tenths, rest = divmod(abs(row.cost_nanousd - old) * 1000, abs(old))
        tenths += rest * 2 >= abs(old)
        sign = "-" if row.cost_nanousd < old else "+"
        return f"{sign}{tenths // 10}.{tenths % 10}%"

    return [
        _Column("before", lambda row: dollars(before[row.group].cost_nanousd)),
        _Column("change", change),
        _Column("%", share),
    ]


def _forecast(report: Report) -> list[_Column]:
    whole = report.forecast
    if whole is None:
        return []

    def of(row: SpendRow, name: str) -> str:
        found = whole if not row.group else report.forecasts.get(row.group)
        return dollars(getattr(found, name) if found is not None else row.cost_nanousd, 2)

    return [
        _Column("forecast", lambda row: of(row, "expected")),
        _Column("at least", lambda row: of(row, "low")),
        _Column("at most", lambda row: of(row, "high")),
    ]


def _courses(report: Report) -> list[_Column]:
    if not report.step:
        return []
    whole = [sum(values) for values in zip(*report.courses.values(), strict=True)]

    def course(row: SpendRow) -> str:
        return sparkline(report.courses.get(row.group, []) if row.group else whole)

    return [_Column(f"by {report.step}", course, spare=True)]


def caption(report: Report) -> str:
    """What a report is about."""
    what = f"Spend by {', '.join(report.by)}" if report.by else "Spend"
    return f"{what}, {_span(report.since_ns, report.until_ns)}"


def notes(report: Report) -> list[str]:
    """What is to be known beside the numbers."""
    found: list[Any] = []
    if report.counted_ns is not None:
        found.append(f"counted: {_span(*report.counted_ns)}; of older records only whole hours are kept")
    if report.before_ns is not None:
        found.append(f"before: {_span(*report.before_ns)}")
    if report.forecast is not None:
        found.append("forecast: this month's cost; between at least and at most in 8 of 10 cases")
    for name, text in NOTES.items():
        count = sum(getattr(row, name) for row in report.rows)
        if count:
            found.append(f"{count:,} {text}")
    return found


def _span(since_ns: int, until_ns: int) -> str:
    return f"{_short(since_ns)} to {_short(until_ns)}"


def _short(time_ns: int) -> str:
    text = rfc3339(time_ns)
    return text[:10] if text.endswith("T00:00:00.000000Z") else text[:16] + "Z"
