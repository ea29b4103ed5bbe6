"""When prices hold: dates, times of day, and the span around a moment in which nothing changes. Nanoseconds, UTC."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta

from pricing.catalogue import Constraint

DAY = 86_400_000_000_000
"""Nanoseconds in a day."""
ALWAYS = (-(1 << 63), (1 << 63) - 1)
"""The span of a price that never changes."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()


def start_of(moment: date | datetime) -> int:
    """A moment in nanoseconds since 1970. A date means 00:00 UTC, a time without zone is UTC."""
    if isinstance(moment, datetime):
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return (aware - _EPOCH) // timedelta(microseconds=1) * 1000
    return (moment.toordinal() - _EPOCH_DAY) * DAY


def of_day(moment: time) -> int:
    """A time of day in nanoseconds since 00:00 UTC."""
    if moment.tzinfo is not None:
        moment = datetime.combine(date(1970, 1, 2), moment).astimezone(UTC).time()
    return ((moment.hour * 60 + moment.minute) * 60 + moment.second) * 1_000_000_000 + moment.microsecond * 1000


def holds(constraint: Constraint | None, at_ns: int) -> bool:
    """Whether a catalogue constraint is met at ``at_ns``. An interval that ends before it starts spans midnight."""
    if constraint is None:
        return True
    if constraint.start_date is not None:
        return at_ns >= start_of(constraint.start_date)
    if constraint.start_time is None or constraint.end_time is None:
        return True
    start, end, now = of_day(constraint.start_time), of_day(constraint.end_time), at_ns % DAY
    if end < start:
        return now >= start or now < end
    return start <= now < end


class Changes:
    """The moments at which any of some conditions may change."""

    __slots__ = ("_daily", "_once")

    def __init__(self, constraints: Iterable[Constraint], moments: Iterable[date | datetime]) -> None:
        once = {start_of(moment) for moment in moments}
        daily = set()
        for constraint in constraints:
            if constraint.start_date is not None:
                once.add(start_of(constraint.start_date))
            elif constraint.start_time is not None and constraint.end_time is not None:
                daily |= {of_day(constraint.start_time), of_day(constraint.end_time)}
        self._once = sorted(once)
        self._daily = sorted(daily)

    def around(self, at_ns: int) -> tuple[int, int]:
        """The span ``since <= at_ns < until`` in which nothing changes."""
        since, until = ALWAYS
        place = bisect_right(self._once, at_ns)
        if place:
            since = self._once[place - 1]
        if place < len(self._once):
            until = self._once[place]
        if self._daily:
            midnight = at_ns - at_ns % DAY
            place = bisect_right(self._daily, at_ns - midnight)
            last = midnight + self._daily[place - 1] if place else midnight - DAY + self._daily[-1]
            next_ = midnight + (self._daily[place] if place < len(self._daily) else DAY + self._daily[0])
            since, until = max(since, last), min(until, next_)
        return since, until
