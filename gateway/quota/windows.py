"""Windows over which a quota counts: calendar windows in a timezone, all time, and rolling ones.

A window is half-open, ``[start, end)``, in nanoseconds since the epoch. Calendar windows begin at local midnight (or
the local hour or minute), so a day of a clock change has 23 or 25 hours.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

SECOND = 1_000_000_000
FOREVER = 1 << 62
"""The end of a window that never ends."""
ROLLING_PARTS = 60
"""A rolling window is counted in so many parts; the oldest counts whole until it is wholly past."""
_ROLLING = re.compile(r"rolling (\d+)\s?([mhd])")
_LENGTH = {"m": 60, "h": 3600, "d": 86_400}
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

Bounds = tuple[int, int]
WindowOf = Callable[[int], Bounds]


def rolling_seconds(spec: str) -> int:
    """The length of a rolling window; 0 where it is a calendar window."""
    match = _ROLLING.fullmatch(spec)
    return int(match[1]) * _LENGTH[match[2]] if match else 0


def window_of(spec: str, zone: str = "UTC", week_start: str = "monday") -> WindowOf:
    """A function from a time to the window that holds it. For a rolling window: to the part that holds it."""
    length = rolling_seconds(spec)
    if length:
        part = length * SECOND // ROLLING_PARTS
        return lambda now_ns: (now_ns - now_ns % part, now_ns - now_ns % part + part)
    if spec == "total":
        return lambda now_ns: (0, FOREVER)
    timezone = ZoneInfo(zone)
    first_day = WEEKDAYS.index(week_start)
    return lambda now_ns: _calendar(spec, timezone, first_day, now_ns)


def _calendar(spec: str, zone: ZoneInfo, first_day: int, now_ns: int) -> Bounds:
    seconds = now_ns // SECOND
    if spec == "minute":
        return seconds // 60 * 60 * SECOND, (seconds // 60 * 60 + 60) * SECOND
    local = datetime.fromtimestamp(seconds, UTC).astimezone(zone)
    if spec == "hour":
        return _hour(local, seconds)
    day = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0, tzinfo=None)
    if spec == "day":
        begin, end = day, day + timedelta(days=1)
    elif spec == "week":
        begin = day - timedelta(days=(day.weekday() - first_day) % 7)
        end = begin + timedelta(days=7)
    else:
        begin = day.replace(day=1)
        end = (begin + timedelta(days=32)).replace(day=1)
    return _instant(begin, zone), _instant(end, zone)


def _hour(local: datetime, seconds: int) -> Bounds:
    """Hours follow the offset of the moment: in a zone half an hour off, they begin at half past in UTC."""
    offset = local.utcoffset() or timedelta()
    shift = int(offset.total_seconds()) % 3600
    start = seconds - (seconds + shift) % 3600
    return start * SECOND, (start + 3600) * SECOND


def _instant(local: datetime, zone: ZoneInfo) -> int:
    """The moment of a local midnight; where a clock change skips it, the first moment after it."""
    return int(local.replace(tzinfo=zone, fold=0).timestamp()) * SECOND
