"""What a month will be: weekday pattern × current level, with an interval from how wrong the method was so far.

An estimate, so it is computed in floats and rounded to nanodollars at the end. ``bench/insight.py`` sets it beside the
naive run rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, timedelta

import msgspec

HISTORY_DAYS = 70
HALF_LIFE_DAYS = 7.0
SHRINK_WEEKS = 2.0
"""Weeks of evidence that weigh as much as the assumption that all weekdays are alike."""
Z80 = 1.2816
FIRST_DAYS = 4
"""With fewer days than this, the error is taken to be ``UNKNOWN``."""
UNKNOWN = 0.5
DRIFT = 0.35
"""How much of a day's relative error stays in the level of the days to come; makes intervals hold as often as they
say, on the histories of the bench."""


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """Nanodollars. ``low`` and ``high`` hold the outcome in 8 of 10 cases."""

    so_far: int
    expected: int
    low: int
    high: int
    days_left: float
    """Days of the period that are not over, today in part."""
    history_days: int
    """Whole days that the forecast rests on."""


def forecast(
    history: Sequence[int], today: date, *, period_before: int, today_so_far: int, day_share: float, end: date
) -> Forecast:
    """The cost of a period that ends before ``end``.

    ``history``: cost of each whole day before ``today``, oldest first; ``period_before``: the part of it that belongs
    to the period; ``day_share``: how much of today is over, 0 to 1.
    """
    days = [float(cost) for cost in history[-HISTORY_DAYS:]]
    so_far = period_before + today_so_far
    left = (end - today).days - day_share
    if not any(days):
        rate = today_so_far / day_share if day_share > 0.05 else 0.0
        rest = rate * left
        return _made(so_far, rest, UNKNOWN * rest, left, 0)
    first = today - timedelta(days=len(days))
    factors = weekday_factors(days, first.weekday())
    level = _level(days, factors, first.weekday())
    weights = [factors[(today + timedelta(days=offset)).weekday()] for offset in range((end - today).days)]
    if weights:
        weights[0] *= 1 - day_share
    rest = level * sum(weights)
    error = _error(days)
    spread = error * level * math.sqrt(sum(weight**2 for weight in weights) + (DRIFT * sum(weights)) ** 2)
    return _made(so_far, rest, spread, left, len(days))


def _made(so_far: int, rest: float, spread: float, left: float, days: int) -> Forecast:
    # days that credits made negative say nothing about those to come: calls cost nothing or more
    rest, spread = max(0.0, rest), max(0.0, spread)
    return Forecast(
        so_far=so_far,
        expected=so_far + round(rest),
        low=so_far + max(0, round(rest - Z80 * spread)),
        high=so_far + round(rest + Z80 * spread),
        days_left=round(left, 3),
        history_days=days,
    )


def weekday_factors(days: Sequence[float], first_weekday: int) -> list[float]:
    """How each weekday stands to the mean of its own week, shrunk towards 1 where there is little evidence."""
    sums, counts = [0.0] * 7, [0] * 7
    for start in range(len(days) % 7, len(days), 7):
        week = days[start : start + 7]
        mean = sum(week) / 7
        if mean > 0:
            for offset, cost in enumerate(week):
                weekday = (first_weekday + start + offset) % 7
                sums[weekday] += cost / mean
                counts[weekday] += 1
    factors = [(total + SHRINK_WEEKS) / (count + SHRINK_WEEKS) for total, count in zip(sums, counts, strict=True)]
    scale = 7 / sum(factors)
    return [factor * scale for factor in factors]


def _level(days: Sequence[float], factors: Sequence[float], first_weekday: int) -> float:
    """A usual day's cost now: recent days count more."""
    decay = 0.5 ** (1 / HALF_LIFE_DAYS)
    weight, total, weights = 1.0, 0.0, 0.0
    for offset in range(len(days) - 1, -1, -1):
        total += weight * days[offset]
        weights += weight * factors[(first_weekday + offset) % 7]
        weight *= decay
    return total / weights


def _error(days: Sequence[float]) -> float:
    """The relative error of a day's forecast: how far off it was on the days that are known."""
    errors = []
    for position in range(max(7, len(days) - 28), len(days)):
        past = days[:position]
        factors = weekday_factors(past, 0)
        guess = _level(past, factors, 0) * factors[position % 7]
        if guess > 0:
            errors.append((days[position] - guess) / guess)
    if len(errors) < FIRST_DAYS:
        return UNKNOWN
    return math.sqrt(sum(error**2 for error in errors) / len(errors))
