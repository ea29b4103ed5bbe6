"""Days on which a team's workflow cost what its own past does not explain, and why."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from fractions import Fraction
from statistics import median

import msgspec

from gateway.finops.drivers import Drivers, Usage, drivers

BASE_WEEKS = 4
MIN_DAYS = 14
"""Days of past that a judgement needs."""
THRESHOLD = 5.0
"""Distance from the usual day, in robust deviations."""
MIN_SHARE = 0.3
"""Smaller changes than this share of the usual day are no news, however quiet the past was."""
FLOOR_NANOUSD = 10**7
"""Neither are changes below a cent."""


class Day(msgspec.Struct, frozen=True):
    """Calls of one model on one day."""

    day: date
    team: str
    workflow: str
    model: str
    calls: int
    tokens: int
    nanousd: int


class Anomaly(msgspec.Struct, frozen=True, kw_only=True):
    """A day beside its usual cost: the mean of the same weekday in the weeks before. ``usual + change == cost``."""

    day: str
    team: str
    workflow: str
    cost_nanousd: int
    usual_nanousd: int
    score: float
    """Distance from the median of those days in robust deviations; negative: cheaper than usual."""
    drivers: Drivers
    """What made the change."""
    models: tuple[str, ...]
    """The models that changed most, the largest change first."""


def anomalies(days: Sequence[Day], first: date, last: date) -> list[Anomaly]:
    """Anomalies between ``first`` and ``last``, both included, the largest change first. ``days`` must reach back
    ``BASE_WEEKS`` weeks before ``first``."""
    groups: dict[tuple[str, str], list[Day]] = {}
    for one in days:
        groups.setdefault((one.team, one.workflow), []).append(one)
    found = []
    for rows in groups.values():
        found += _of_group(rows, first, last)
    return sorted(found, key=lambda one: (-abs(one.cost_nanousd - one.usual_nanousd), one.day, one.team, one.workflow))


def _of_group(rows: Sequence[Day], first: date, last: date) -> list[Anomaly]:
    costs: dict[date, int] = {}
    for row in rows:
        costs[row.day] = costs.get(row.day, 0) + row.nanousd
    begin = min(costs)
    found = []
    day = max(first, begin + timedelta(days=MIN_DAYS))
    while day <= last:
        score, usual = _score(costs, day, begin)
        cost = costs.get(day, 0)
        change = abs(cost - usual)
        if abs(score) >= THRESHOLD and change >= max(FLOOR_NANOUSD, MIN_SHARE * usual):
            found.append(_anomaly(rows, day, cost, score, begin))
        day += timedelta(days=1)
    return found


def _base(day: date, begin: date) -> list[date]:
    past = [day - timedelta(weeks=week) for week in range(1, BASE_WEEKS + 1)]
    return [one for one in past if one >= begin]


def _score(costs: dict[date, int], day: date, begin: date) -> tuple[float, int]:
    """Distance from the usual day in robust deviations, and the usual cost."""
    usual = median([costs.get(one, 0) for one in _base(day, begin)])
    rests = []
    for back in range(1, 7 * BASE_WEEKS + 1):
        other = day - timedelta(days=back)
        base = _base(other, begin)
        if other >= begin and base:
            rests.append(costs.get(other, 0) - median([costs.get(one, 0) for one in base]))
    spread = 1.4826 * median([abs(rest) for rest in rests]) if rests else 0.0
    spread = max(spread, 0.02 * usual, 1.0)
    return round((costs.get(day, 0) - usual) / spread, 2), round(usual)


def _anomaly(rows: Sequence[Day], day: date, cost: int, score: float, begin: date) -> Anomaly:
    base = _base(day, begin)
    share = Fraction(1, len(base))
    before = _usage([row for row in rows if row.day in base], share)
    after = _usage([row for row in rows if row.day == day], Fraction(1))
    zero = Usage(Fraction(), Fraction(), Fraction())
    names = sorted(
        {*before, *after},
        key=lambda name: (-abs(after.get(name, zero).nanousd - before.get(name, zero).nanousd), name),
    )
    why = drivers(before, after)
    return Anomaly(
        day=day.isoformat(),
        team=rows[0].team,
        workflow=rows[0].workflow,
        cost_nanousd=cost,
        usual_nanousd=cost - why.change,
        score=score,
        drivers=why,
        models=tuple(names[:3]),
    )


def _usage(rows: Sequence[Day], share: Fraction) -> dict[str, Usage]:
    sums: dict[str, list[int]] = {}
    for row in rows:
        known = sums.setdefault(row.model, [0, 0, 0])
        for place, value in enumerate((row.calls, row.tokens, row.nanousd)):
            known[place] += value
    return {name: Usage(*(value * share for value in values)) for name, values in sums.items()}
