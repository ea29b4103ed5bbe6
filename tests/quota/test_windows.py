"""Windows: each moment is in exactly one; they follow the calendar of their zone, over leap days and clock changes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.quotas import QuotaConfig
from gateway.ledger.view import Spent
from gateway.quota.engine import Amounts, Quotas, Reservation, Shortage, Subject
from gateway.quota.replay import load
from gateway.quota.rule import from_config
from gateway.quota.windows import FOREVER, ROLLING_PARTS, SECOND, rolling_seconds, window_of

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Santiago",
         "Pacific/Apia", "Africa/Cairo", "America/St_Johns")  # fmt: skip
NOON = 1_790_000_000 // 3600 * 3600 * SECOND
SPECS = ("minute", "hour", "day", "week", "month")
MOMENTS = st.integers(946_684_800, 4_102_444_800).map(lambda seconds: seconds * SECOND)


def ns(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * SECOND


@given(MOMENTS, st.sampled_from(ZONES), st.sampled_from(SPECS), st.sampled_from(["monday", "sunday", "wednesday"]))
def test_windows_follow_each_other_without_gap_or_overlap(now: int, zone: str, spec: str, first: str) -> None:
    window = window_of(spec, zone, first)
    start, end = window(now)
    assert start <= now < end
    assert window(start) == (start, end)
    assert window(end - 1) == (start, end)
    assert window(end)[0] == end
    assert window(start - 1)[1] == start


@given(MOMENTS, st.sampled_from(ZONES), st.sampled_from(["monday", "sunday"]))
def test_days_weeks_and_months_begin_when_the_zones_calendar_does(now: int, zone: str, first: str) -> None:
    here = ZoneInfo(zone)
    local = datetime.fromtimestamp(now // SECOND, UTC).astimezone(here)
    for spec in ("day", "week", "month"):
        start, _ = window_of(spec, zone, first)(now)
        begin = datetime.fromtimestamp(start // SECOND, UTC).astimezone(here)
        before = datetime.fromtimestamp(start // SECOND - 1, UTC).astimezone(here)
        assert before.date() < begin.date()
        if spec == "day":
            assert begin.date() == local.date()
        elif spec == "week":
            assert begin.weekday() == (0 if first == "monday" else 6)
            assert timedelta(0) <= local.date() - begin.date() < timedelta(7)
        else:
            # a zone may skip the first day of a month when it crosses the date line
            assert (begin.year, begin.month) == (local.year, local.month)
            assert begin.day <= 2


@pytest.mark.parametrize(
    ("zone", "spec", "at", "start", "end", "hours"),
    [
        ("UTC", "month", "2028-02-29T12:00", "2028-02-01T00:00", "2028-03-01T00:00", 29 * 24),
        ("UTC", "month", "2026-12-31T23:59", "2026-12-01T00:00", "2027-01-01T00:00", 31 * 24),
        ("Europe/Berlin", "day", "2026-03-29T12:00", "2026-03-29T00:00", "2026-03-30T00:00", 23),
        ("Europe/Berlin", "day", "2026-10-25T12:00", "2026-10-25T00:00", "2026-10-26T00:00", 25),
        ("Europe/Berlin", "month", "2026-10-25T02:30", "2026-10-01T00:00", "2026-11-01T00:00", 31 * 24 + 1),
        ("America/New_York", "week", "2026-03-08T12:00", "2026-03-02T00:00", "2026-03-09T00:00", 7 * 24 - 1),
        ("Africa/Cairo", "day", "2026-04-24T12:00", "2026-04-24T01:00", "2026-04-25T00:00", 23),
    ],
)
def test_the_length_of_windows_in_known_cases(zone: str, spec: str, at: str, start: str, end: str, hours: int) -> None:
    found = window_of(spec, zone)(ns(at, zone))
    assert found == (ns(start, zone), ns(end, zone))
    assert found[1] - found[0] == hours * 3600 * SECOND


def test_the_hour_that_comes_twice_is_two_windows() -> None:
    window = window_of("hour", "Europe/Berlin")
    first = int(datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()) * SECOND
    second = first + 3600 * SECOND
    assert window(first)[1] == window(second)[0]


@given(MOMENTS, st.sampled_from(["rolling 24h", "rolling 5 m", "rolling 30d", "rolling 1h"]))
def test_a_rolling_window_is_counted_in_parts_that_follow_each_other(now: int, spec: str) -> None:
    window = window_of(spec)
    start, end = window(now)
    assert start <= now < end
    assert (end - start) * ROLLING_PARTS == rolling_seconds(spec) * SECOND
    assert window(end)[0] == end


def test_total_never_ends() -> None:
    assert window_of("total")(ns("2026-11-24T00:00")) == (0, FOREVER)


class Ahead:
    """A ledger with one call, half an hour to come: the clock was set back since."""

    def spent(self, since_ns: int, until_ns: int) -> Iterator[Spent]:
        if since_ns <= NOON + 1800 * SECOND < until_ns:
            yield Spent("t", "w", "k", "p", "m", {}, 0, 90, 0, 1)

    def last_start_ns(self, since_ns: int) -> int:
        return NOON + 1800 * SECOND


def test_what_a_rolling_window_used_by_a_clock_that_was_set_back_counts_before_its_part_comes() -> None:
    quotas = Quotas([from_config(QuotaConfig.model_validate({"name": "q", "tokens": 100, "window": "rolling 1h"}))])
    load(quotas, Ahead(), NOON)
    subject = Subject("t", "w", "k", "p", "m")
    short = quotas.reserve("large", subject, Amounts(0, 90, 0), NOON)
    assert isinstance(short, Shortage)
    # and who is refused is told so
    assert (short.used, short.reserved) == (90, 0)
    assert isinstance(quotas.reserve("small", subject, Amounts(0, 10, 0), NOON), Reservation)
    (counter,) = quotas.counters
    counter.current(NOON + 1801 * SECOND)
    assert counter.taken(0) == 100
