"""Each kind of waste in calls where it is known what was wasted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import book

from gateway.finops.waste import MIN_CALLS, Finding, waste
from gateway.ledger.schema import connect_reader
from gateway.wire.usage import Usage
from pricing.book import PriceBook
from pricing.catalogue import load

WEEK_NS = 7 * 24 * book.HOUR_NS


def found(tmp_path: Path, *kinds: dict[str, Any]) -> list[Finding]:
    """Findings in a week with ``MIN_CALLS`` calls of each kind, priced by the catalogue."""
    prices = PriceBook((), load())
    records = []
    for kind in kinds:
        for _ in range(MIN_CALLS):
            price = prices.find("openai", kind["model"], book.START_NS)
            assert price is not None
            cost = price.bill(kind["usage"], at_ns=book.START_NS).nanousd
            values = {"outcome": "completed", "usage_source": "response", "reserved_nanousd": cost, "workflow": "w",
                      "team": "t", "reserved_output_tokens": kind["usage"].output_tokens_total, "cost_nanousd": cost,
                      "cost_lines": ()}  # fmt: skip
            records.append(book.record(len(records), **{**values, **kind}))
    connection = connect_reader(book.ledger(tmp_path / "ledger.db", records))
    return waste(connection, prices, lambda name: name, book.START_NS, book.START_NS + WEEK_NS)


def usage(tokens_in: int, tokens_out: int, **more: int) -> Usage:
    return Usage(input_tokens_total=tokens_in, output_tokens_total=tokens_out, **more)


def test_calls_that_waste_nothing_are_not_listed(tmp_path: Path) -> None:
    assert found(tmp_path, {"model": "gpt-4o-mini", "usage": usage(4000, 900, cache_read_tokens=2000)}) == []


def test_what_a_cache_would_save_is_the_difference_of_the_two_prices(tmp_path: Path) -> None:
    (one,) = found(tmp_path, {"model": "gpt-4o", "usage": usage(10_000, 900)})
    # 2.50 dollars a million, 1.25 from the cache
    assert (one.kind, one.nanousd, one.at_most) == ("uncached", MIN_CALLS * 10_000 * 1250, True)
    assert one.nanousd_a_month == round(one.nanousd * 30 / 7)


def test_reasoning_is_what_its_tokens_cost(tmp_path: Path) -> None:
    (one,) = found(tmp_path, {"model": "o3-mini", "usage": usage(100, 1000, reasoning_tokens=600)})
    # 4.40 dollars a million
    assert (one.kind, one.nanousd) == ("reasoning", MIN_CALLS * 600 * 4400)
    assert "60 %" in one.because


def test_a_small_task_is_set_against_the_cheapest_model_in_use(tmp_path: Path) -> None:
    small = usage(400, 50)
    (one,) = found(tmp_path, {"model": "gpt-4o", "usage": small}, {"model": "gpt-4o-mini", "usage": small})
    dear, cheap = 400 * 2500 + 50 * 10_000, 400 * 150 + 50 * 600
    assert (one.kind, one.model, one.nanousd) == ("small_tasks", "gpt-4o", MIN_CALLS * (dear - cheap))
    assert "gpt-4o-mini" in one.because


def test_a_limit_far_above_use_shows_what_quotas_held_for_it(tmp_path: Path) -> None:
    calls = {"model": "gpt-4o-mini", "usage": usage(100, 300), "reserved_output_tokens": 3000}
    (one,) = found(tmp_path, {**calls, "reserved_nanousd": 5 * 10**6})
    cost = 100 * 150 + 300 * 600
    assert (one.kind, one.nanousd, one.at_most) == ("limits", MIN_CALLS * (5 * 10**6 - cost), True)
    assert "10 times" in one.because


def test_failures_and_answers_nobody_received_are_what_they_cost(tmp_path: Path) -> None:
    calls = {"model": "gpt-4o-mini", "usage": usage(100, 300)}
    gone, failed = {**calls, "outcome": "client_disconnected"}, {**calls, "outcome": "upstream_error"}
    cost = 100 * 150 + 300 * 600
    listed = found(tmp_path, gone, failed)
    assert [(one.kind, one.nanousd, one.at_most) for one in listed] == [
        ("failed", MIN_CALLS * cost, False),
        ("unreceived", MIN_CALLS * cost, False),
    ]
    assert all(one.examples for one in listed)
