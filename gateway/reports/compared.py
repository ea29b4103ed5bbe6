"""A report beside another: the period before, the course of each group, what the month will come to."""

from __future__ import annotations

import calendar
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from gateway.ledger.rows import HOUR_NS
from gateway.reports.spend import SpendRow, spend

TIMES = ("hour", "day", "week", "month")
DAY_NS = 24 * HOUR_NS
MAX_POINTS = 31
Group = tuple[str, ...]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A group of calls in a period and in the one before."""

    now: SpendRow
    before: SpendRow

    @property
    def nanousd(self) -> int:
        return self.now.cost_nanousd - self.before.cost_nanousd


def nothing(group: Group) -> SpendRow:
    """A group without a call."""
    names = [name for name in SpendRow.__struct_fields__ if name != "group"]
    return SpendRow(group=group, **dict.fromkeys(names, 0))


def total(rows: Sequence[SpendRow], group: Group = ()) -> SpendRow:
    """All rows as one."""
    names = [name for name in SpendRow.__struct_fields__ if name != "group"]
    return SpendRow(group=group, **{name: sum(getattr(row, name) for row in rows) for name in names})


def previous(since_ns: int, until_ns: int) -> tuple[int, int]:
    """The period before: of a month, or of a month so far, the same part of the month before; else as long a time."""
    since = datetime.fromtimestamp(since_ns // 10**9, UTC)
    if since_ns % DAY_NS == 0 and since.day == 1:
        days = calendar.monthrange(since.year, since.month)[1]
        if until_ns <= since_ns + days * DAY_NS:
            first = (since - timedelta(days=1)).replace(day=1)
            first_ns = int(first.timestamp()) * 10**9
            whole = until_ns == since_ns + days * DAY_NS
            return first_ns, since_ns if whole else min(since_ns, first_ns + until_ns - since_ns)
    return since_ns - (until_ns - since_ns), since_ns


def compare(now: Sequence[SpendRow], before: Sequence[SpendRow]) -> list[Change]:
    """Every group of either period, in the order of ``now``, then those that are gone."""
    old = {row.group: row for row in before}
    found = [Change(now=row, before=old.pop(row.group, nothing(row.group))) for row in now]
    return [*found, *(Change(now=nothing(group), before=row) for group, row in old.items())]


def courses(
    connection: sqlite3.Connection,
    by: Sequence[str],
    since_ns: int,
    until_ns: int,
    filters: Sequence[tuple[str, str]] = (),
) -> tuple[str, dict[Group, list[int]]]:
    """The cost of each group over the period, in steps of hours, days or weeks, and which of them. At most some thirty
    steps: the period's last ones, where there are more."""
    span = until_ns - since_ns
    step, length = ("hour", HOUR_NS) if span <= 2 * DAY_NS else ("day", DAY_NS)
    if span > MAX_POINTS * DAY_NS:
        step, length = "week", 7 * DAY_NS
    names = _names(step, length, since_ns, until_ns)
    place = {name: number for number, name in enumerate(names)}
    found: dict[Group, list[int]] = {}
    for row in spend(connection, [step, *by], since_ns, until_ns, filters):
        at = place.get(row.group[0])
        if at is not None:
            found.setdefault(row.group[1:], [0] * len(names))[at] += row.cost_nanousd
    return step, found


def _names(step: str, length: int, since_ns: int, until_ns: int) -> list[str]:
    names: list[str] = []
    at = max(since_ns, until_ns - MAX_POINTS * length)
    if step != "week":
        # the hour or day that has begun: the last one counts, however late the first began
        at -= at % length
    while at < until_ns:
        moment = datetime.fromtimestamp(at // 10**9, UTC)
        if step == "hour":
            name = f"{moment:%Y-%m-%dT%H:00Z}"
        else:
            back = moment.weekday() if step == "week" else 0
            name = (moment - timedelta(days=back)).date().isoformat()
        if name not in names:
            names.append(name)
        at += length
    last = datetime.fromtimestamp((until_ns - 1) // 10**9, UTC)
    if step == "week" and (name := (last - timedelta(days=last.weekday())).date().isoformat()) not in names:
        names.append(name)
    return names
