"""Days, weeks and months, UTC."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import msgspec

from gateway.ledger.rows import HOUR_NS

Length = Literal["day", "week", "month"]
_EPOCH = date(1970, 1, 1)


class Period(msgspec.Struct, frozen=True):
    """``[start_ns, end_ns)`` and how its file is called."""

    name: str
    start_ns: int
    end_ns: int


def period_at(length: Length, at_ns: int) -> Period:
    """The period that a moment is in. A week is called by its Monday."""
    day = datetime.fromtimestamp(at_ns // 10**9, UTC).date()
    if length == "day":
        first, following = day, day + timedelta(days=1)
    elif length == "week":
        first = day - timedelta(days=day.weekday())
        following = first + timedelta(days=7)
    else:
        first = day.replace(day=1)
        following = (first + timedelta(days=32)).replace(day=1)
    name = f"{first:%Y-%m}" if length == "month" else first.isoformat()
    return Period(name, _ns(first), _ns(following))


def periods(length: Length, first_ns: int, until_ns: int) -> Iterator[Period]:
    """All periods from ``first_ns`` on that are over at ``until_ns``, the earliest first. The first may be a part."""
    while (period := period_at(length, first_ns)).end_ns <= until_ns:
        yield Period(period.name, max(period.start_ns, first_ns), period.end_ns)
        first_ns = period.end_ns


def by_first_day(period: Period) -> Period:
    """The same, called by the day on which it begins."""
    return Period(period_at("day", period.start_ns).name, period.start_ns, period.end_ns)


def _ns(day: date) -> int:
    return (day - _EPOCH).days * 24 * HOUR_NS
