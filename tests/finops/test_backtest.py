"""The backtests of bench/insight.py, in a small version: the method is better than what it is set beside."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import mean, median

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

import insight


def test_the_forecast_errs_less_than_the_run_rate_and_its_interval_holds() -> None:
    rows = [
        row
        for shape in insight.SHAPES
        for noise in insight.NOISE.values()
        for row in insight.forecasts(insight.history(shape, noise, 3))
    ]
    own, naive, held = zip(*rows, strict=True)
    assert median(own) < median(naive)
    assert mean(own) < 0.7 * mean(naive)
    assert 0.75 <= mean(held) <= 0.95


@pytest.mark.parametrize(("factor", "least"), [(3.0, 0.9), (2.0, 0.7), (0.3, 0.6)])
def test_unusual_days_are_found_where_days_are_calm_and_few_others_are(factor: float, least: float) -> None:
    costs, truth = insight.spoiled(insight.history("steady", insight.NOISE["calm"], 5), 5, factor)
    found = insight.found_by_method(costs)
    assert len(found & truth) >= least * len(truth)
    assert len(found & truth) >= 0.8 * len(found)
    assert len(found & truth) >= len(insight.found_by_deviations(costs) & truth)


def test_each_driver_is_blamed_for_its_own_change(capsys: pytest.CaptureFixture[str]) -> None:
    insight.show_drivers()
    assert capsys.readouterr().out.count("100%") == 4
