"""Each kind of waste in calls where it is known what was wasted."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import book
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.finops import wasted
from gateway.finops.waste import MIN_CALLS, Finding, waste
from gateway.ledger.connections import connect, connect_reader
from gateway.ledger.writer import Writer
from gateway.wire.usage import Usage
from pricing.book import PriceBook
from pricing.catalogue import load
from pricing.entry import PriceEntry

WEEK_NS = 7 * 24 * book.HOUR_NS


def found(tmp_path: Path, *kinds: dict[str, Any], entries: tuple[PriceEntry, ...] = ()) -> list[Finding]:
    """Findings in a week with ``MIN_CALLS`` calls of each kind, priced by ``entries`` and the catalogue."""
    prices = PriceBook(entries, load())
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


def test_many_short_inputs_are_no_long_one(tmp_path: Path) -> None:
    """The model charges twice as much above 272,000 tokens: of one call, not of all together."""
    (one,) = found(tmp_path, {"model": "gpt-5.4", "usage": usage(20_000, 900)})
    # 2.50 dollars a million, 0.25 from the cache
    assert (one.kind, one.nanousd) == ("uncached", MIN_CALLS * 20_000 * 2250)
    small = usage(1000, 50)
    calls = [{"model": model, "usage": small} for model in ("gpt-5.4", "gpt-5.5") for _ in range(15)]
    (one,) = [one for one in found(tmp_path / "more", *calls) if one.kind == "small_tasks"]
    assert (one.model, one.nanousd) == ("gpt-5.5", 15 * MIN_CALLS * (1000 * 2500 + 50 * 15_000))


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


def fee(model: str, dollars: str) -> PriceEntry:
    """A price for each call, on top of nothing."""
    return PriceEntry(provider="openai", model=model, input_per_mtok=Decimal(1), output_per_mtok=Decimal(1),
                      per_request=Decimal(dollars))  # fmt: skip


def test_a_fee_for_each_call_is_counted_for_each_where_models_are_compared(tmp_path: Path) -> None:
    small = usage(400, 50)
    calls = {"model": "dear", "usage": small}, {"model": "cheap", "usage": small}
    (one,) = found(tmp_path, *calls, entries=(fee("dear", "0.05"), fee("cheap", "0.01")))
    assert (one.kind, one.model, one.nanousd) == ("small_tasks", "dear", MIN_CALLS * 40_000_000)


def test_less_reasoning_saves_no_fee(tmp_path: Path) -> None:
    thinks = {"model": "thinks", "usage": usage(400, 1000, reasoning_tokens=600)}
    (one,) = found(tmp_path, thinks, entries=(fee("thinks", "0.05"),))
    assert (one.kind, one.nanousd) == ("reasoning", MIN_CALLS * 600 * 1000)


def test_a_limit_far_above_use_shows_what_quotas_held_for_it(tmp_path: Path) -> None:
    calls = {"model": "gpt-4o-mini", "usage": usage(100, 300), "reserved_output_tokens": 3000}
    (one,) = found(tmp_path, {**calls, "reserved_nanousd": 5 * 10**6})
    cost = 100 * 150 + 300 * 600
    assert (one.kind, one.nanousd, one.at_most) == ("limits", MIN_CALLS * (5 * 10**6 - cost), True)
    assert "10 times" in one.because


def again(*minutes: int, **changes: Any) -> list[dict[str, Any]]:
    """The same prompt, so many minutes after the start each time."""
    at = [book.START_NS + minute * 60_000_000_000 for minute in minutes]
    plain = {"outcome": "completed", "usage_source": "response", "usage": usage(100, 300), "team": "t", "workflow": "w",
             "model": "m", "model_requested": "m", "prompt_hash": -7}  # fmt: skip
    return [{**plain, "started_ns": started, **changes} for started in at]


def retries(tmp_path: Path, *calls: dict[str, Any]) -> list[Finding]:
    records = [
        book.record(number, **{"cost_nanousd": 10**6 + number, "cost_lines": (), **one})
        for number, one in enumerate(sorted(calls, key=lambda one: int(one["started_ns"])))
    ]
    connection = connect_reader(book.ledger(tmp_path / "ledger.db", records))
    listed = waste(connection, PriceBook((), load()), lambda name: name, book.START_NS, book.START_NS + WEEK_NS)
    return [one for one in listed if one.kind == "retries"]


def test_a_prompt_that_is_sent_again_within_an_hour_costs_what_the_calls_before_did(tmp_path: Path) -> None:
    (one,) = retries(tmp_path, *again(0, 5, 65, 200))
    assert (one.calls, one.nanousd, one.at_most) == (2, 2 * 10**6 + 1, True)
    assert one.nanousd_a_month == round(one.nanousd * 30 / 7)
    assert one.examples == (book.id_of(1), book.id_of(2))
    assert "60 minutes" in one.because


@pytest.mark.parametrize(
    "other",
    [
        {"prompt_hash": 8}, {"team": "another"}, {"workflow": "another"}, {"provider": "another"},
        {"model_requested": "another"},
    ],
)  # fmt: skip
def test_another_prompt_team_workflow_or_model_is_no_retry(tmp_path: Path, other: dict[str, Any]) -> None:
    assert retries(tmp_path, *again(0), *again(1, **other)) == []


def test_calls_without_a_hash_are_no_retries_of_each_other(tmp_path: Path) -> None:
    assert retries(tmp_path, *again(0, 1, 2, prompt_hash=0)) == []


def test_a_retry_may_have_another_key_tags_outcome_and_answering_model(tmp_path: Path) -> None:
    first = again(0, key_id="a", tags={"a": "b"}, outcome="client_disconnected", usage_source="estimated")
    (one,) = retries(tmp_path, *first, *again(1, model="m-2026-11-01"))
    assert (one.calls, one.nanousd, one.model) == (1, 10**6, "m")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_is_kept_of_hours_and_days_changes_no_finding_whenever_calls_are_settled(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    rng = data.draw(st.randoms(use_true_random=False))
    records = []
    for number in range(120):
        minute = rng.randrange(9 * 24 * 60)
        held = {"reserved_nanousd": rng.randrange(10**8), "reserved_output_tokens": rng.randrange(4000)}
        tokens = usage(rng.choice((10, 900, 5000)), rng.choice((0, 50, 900)), reasoning_tokens=rng.choice((0, 0, 9)),
                       cache_read_tokens=rng.choice((0, 0, 5)))  # fmt: skip
        started = book.START_NS + minute * 60_000_000_000
        own = {"request_id": book.id_of(minute) + f"{number}", "prompt_hash": rng.randrange(3), "started_ns": started}
        records.append(book.record(number, usage=tokens, **own, **held))
    path = tmp_path_factory.mktemp("l") / "l.db"
    cut = data.draw(st.integers(0, len(records)))
    book.ledger(path, records[:cut])
    reader, writer = connect_reader(path), connect(path)
    for rest in ([], records[cut:]):
        Writer().write(writer, records=rest) if rest else None
        since, until = sorted(
            book.START_NS + data.draw(st.integers(-10, 9 * 24 * 4)) * 15 * 60_000_000_000 for _ in range(2)
        )
        assert wasted.wasted(reader, since, until) == wasted.from_records(reader, since, until)
        now = book.START_NS + data.draw(st.integers(0, 10 * 24)) * book.HOUR_NS
        for _ in range(data.draw(st.integers(0, 12))):
            wasted.keep(writer, wasted.to_keep(reader, now))
        assert wasted.wasted(reader, since, until) == wasted.from_records(reader, since, until)
    for _ in range(50):
        if not (slices := wasted.to_keep(reader, now)):
            break
        wasted.keep(writer, slices)
    assert wasted.to_keep(reader, now) == []


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
