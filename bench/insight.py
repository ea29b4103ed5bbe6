"""Backtest of the forecast, the anomalies and their drivers on generated histories whose truth is known.

    .venv/bin/python bench/insight.py [SEEDS]

Each history has a level, weekdays, noise and, by kind, growth, a step or bursts. The forecast is asked on five days of
each month and compared with what the month then cost; beside it the run rate, which is what a spreadsheet does.
Anomalies are put into days at random; beside the method the rule "more than three deviations from the mean of four
weeks".
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from statistics import mean, median, pstdev

from gateway.finops.anomalies import Day, anomalies
from gateway.finops.forecast import forecast

SEEDS = 12
START = date(2025, 6, 2)
DAYS = 420
LEVEL = 400 * 10**9
WEEK = (1.15, 1.2, 1.15, 1.1, 0.95, 0.4, 0.35)
ASKED = (3, 8, 15, 22, 27)
SHAPES: dict[str, Callable[[int, random.Random], float]] = {
    "steady": lambda day, rng: 1.0,
    "growth 10 % a month": lambda day, rng: 1.1 ** (day / 30),
    "decline 10 % a month": lambda day, rng: 0.9 ** (day / 30),
    "steps": lambda day, rng: 1.0 + (day // 90) * 0.5,
    "bursts": lambda day, rng: 4.0 if rng.random() < 0.04 else 1.0,
}
NOISE = {"calm": 0.08, "noisy": 0.35}


def history(shape: str, noise: float, seed: int) -> list[int]:
    """Cost of each day."""
    rng = random.Random(f"{shape} {noise} {seed}")
    return [
        int(LEVEL * SHAPES[shape](day, rng) * WEEK[(START.weekday() + day) % 7] * math.exp(rng.gauss(0, noise)))
        for day in range(DAYS)
    ]


def months() -> Iterator[tuple[date, date]]:
    """First day of each whole month that has ten weeks of past, and of the next."""
    first = date(2025, 9, 1)
    while True:
        after = (first + timedelta(days=32)).replace(day=1)
        if (after - START).days > DAYS:
            return
        yield first, after
        first = after


def forecasts(costs: list[int]) -> Iterator[tuple[float, float, bool]]:
    """Relative error of the forecast and of the run rate, and whether the interval held, for each day asked on."""
    for first, after in months():
        begin, end = (first - START).days, (after - START).days
        truth = sum(costs[begin:end])
        for number in ASKED:
            today = begin + number - 1
            so_far = sum(costs[begin:today])
            made = forecast(costs[:today], START + timedelta(days=today), period_before=so_far, today_so_far=0,
                            day_share=0.0, end=after)  # fmt: skip
            rate = so_far / (today - begin) * (end - begin)
            yield abs(made.expected - truth) / truth, abs(rate - truth) / truth, made.low <= truth <= made.high


def show_forecasts(seeds: int) -> None:
    print("forecast of the month: median error (mean error), asked on days " + ", ".join(map(str, ASKED)))
    print(f"{'history':32}{'forecast':>18}{'run rate':>20}{'interval of 8 in 10 held':>28}")
    every: list[tuple[float, float, bool]] = []
    for shape in SHAPES:
        for name, noise in NOISE.items():
            rows = [row for seed in range(seeds) for row in forecasts(history(shape, noise, seed))]
            every += rows
            print(_forecast_line(f"{shape}, {name}", rows))
    print(_forecast_line("all", every))


def _forecast_line(text: str, rows: list[tuple[float, float, bool]]) -> str:
    own, naive = [row[0] for row in rows], [row[1] for row in rows]
    parts = [f"{median(one):.1%} ({mean(one):.1%})" for one in (own, naive)]
    return f"{text:32}{parts[0]:>18}{parts[1]:>20}{mean(row[2] for row in rows):>27.0%}"


def spoiled(costs: list[int], seed: int, factor: float) -> tuple[list[int], set[int]]:
    """The history with 8 days made unusual, from the tenth week on, and which."""
    rng = random.Random(seed)
    days = set(rng.sample(range(70, DAYS), 8))
    return [int(cost * factor) if day in days else cost for day, cost in enumerate(costs)], days


def found_by_method(costs: list[int]) -> set[int]:
    """Days that the gateway calls unusual, each judged when it was over."""
    days = [Day(START + timedelta(days=day), "t", "w", "m", calls=1, tokens=1, nanousd=cost)
            for day, cost in enumerate(costs)]  # fmt: skip
    found = anomalies(days, START + timedelta(days=70), START + timedelta(days=DAYS - 1))
    return {(date.fromisoformat(one.day) - START).days for one in found}


def found_by_deviations(costs: list[int]) -> set[int]:
    """Days more than three deviations from the mean of the four weeks before."""
    found = set()
    for day in range(70, DAYS):
        past = costs[day - 28 : day]
        if abs(costs[day] - mean(past)) > 3 * pstdev(past):
            found.add(day)
    return found


def show_anomalies(seeds: int) -> None:
    print("\nunusual days: share of them that was found (recall), share of alarms that were right (precision)")
    print(f"{'history':22}{'a day is':>12}{'found':>14}{'right':>8}{'three deviations: found':>28}{'right':>8}")
    for noise_name, noise in NOISE.items():
        for factor in (1.5, 2.0, 3.0, 0.3):
            sums = [[0, 0, 0], [0, 0, 0]]
            for seed in range(seeds):
                costs, truth = spoiled(history("steady", noise, seed), seed, factor)
                for place, found in enumerate((found_by_method(costs), found_by_deviations(costs))):
                    for at, value in enumerate((len(found & truth), len(truth), len(found))):
                        sums[place][at] += value
            shares = [(hit / whole, hit / max(1, alarms)) for hit, whole, alarms in sums]
            print(f"{'steady, ' + noise_name:22}{f'x {factor}':>12}{shares[0][0]:>14.0%}{shares[0][1]:>8.0%}"
                  f"{shares[1][0]:>28.0%}{shares[1][1]:>8.0%}")  # fmt: skip


def show_drivers() -> None:
    """One fact changes at a time: how much of the change the right driver gets."""
    print("\ndrivers: one fact changes; the driver that is to blame gets")
    base = [Day(START + timedelta(days=day), "t", "w", model, calls=calls, tokens=calls * 1000, nanousd=calls * price)
            for day in range(70) for model, calls, price in (("small", 900, 10**6), ("large", 100, 10**7))]  # fmt: skip
    last = START + timedelta(days=69)
    changes: dict[str, Callable[[Day], Day]] = {
        "volume": lambda one: _changed(one, calls=3, tokens=3, cost=3),
        "price": lambda one: _changed(one, calls=1, tokens=1, cost=2),
        "tokens_per_call": lambda one: _changed(one, calls=1, tokens=2, cost=2),
        "mix": lambda one: _changed(one, *((4, 4, 4) if one.model == "large" else (2 / 3, 2 / 3, 2 / 3))),
    }
    for name, change in changes.items():
        days = [change(one) if one.day == last else one for one in base]
        (found,) = anomalies(days, last, last)
        parts = {part: getattr(found.drivers, part) for part in changes}
        assert sum(parts.values()) == found.drivers.change
        print(f"{name:18}{parts[name] / found.drivers.change:>8.0%}   of {found.drivers.change / 1e9:+.2f} dollars, "
              "and all parts sum to it")  # fmt: skip


def _changed(one: Day, calls: float, tokens: float, cost: float) -> Day:
    return Day(one.day, one.team, one.workflow, one.model, calls=round(one.calls * calls),
               tokens=round(one.tokens * tokens), nanousd=round(one.nanousd * cost))  # fmt: skip


def main() -> int:
    """Prints the backtests."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS
    show_forecasts(seeds)
    show_anomalies(seeds)
    show_drivers()
    return 0


if __name__ == "__main__":
    sys.exit(main())
