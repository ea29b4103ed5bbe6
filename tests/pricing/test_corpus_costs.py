"""For every recorded exchange, each line of its bill is what exact fractions make of the catalogue file's own figures.

The reference here reads the files as plain JSON: nothing of ``pricing`` but the name of the entry that priced the call.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, time
from decimal import Decimal
from fractions import Fraction
from functools import cache
from importlib import resources
from typing import Any

import corpus
import pytest
from any_usage import units_of, usages
from genai_oracle import MODELS, name_of
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire import dialects
from gateway.wire.usage import Usage
from pricing.book import PriceBook
from pricing.catalogue import load

NOW_S = int(datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp())
NOW = NOW_S * 10**9
BOOK = PriceBook((), load())
PER = {"token": 10**6, "request": 1000, "search_unit": 1000, "character": 10**6, "millisecond": 3_600_000,
       "image": 1000, "page": 1000}  # fmt: skip
KEYS = {
    "input": "input_mtok", "output": "output_mtok", "cache_read": "cache_read_mtok",
    "cache_read_audio": "cache_audio_read_mtok", "cache_read_image": "cache_image_read_mtok",
    "input_video": "input_video_mtok", "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok", "input_audio": "input_audio_mtok", "input_image": "input_image_mtok",
    "reasoning": "output_reasoning_mtok", "output_audio": "output_audio_mtok", "output_image": "output_image_mtok",
    "web_search": "web_searches_kcount", "search_unit": "rerank_searches_kcount", "character": "input_mchars",
    "request": "requests_kcount", "page": "input_document_kpages",
}  # fmt: skip
INPUT = ("input", "cache_read", "cache_read_audio", "cache_read_image", "cache_write", "cache_write_1h", "input_audio",
         "input_image", "input_video")  # fmt: skip
OUTPUT = ("output", "reasoning", "output_audio", "output_image")


@cache
def file(name: str) -> Any:
    return json.loads(resources.files("pricing.data").joinpath(name).read_bytes(), parse_float=Decimal)


def listed_prices(source: str, tier: str) -> dict[str, Any]:
    """The figures of the entry that a bill names, with those of a tier on top."""
    match = re.match(r"catalogue (\S+) \S+ ([^/]+)/(\S+)", source)
    assert match is not None, source
    name = "catalogue.json" if match[1] == "genai-prices" else "supplement.json"
    model = next(
        model
        for one in file(name)["providers"] if one["id"] == match[2]
        for model in one["models"] if model["id"] == match[3]
    )  # fmt: skip
    prices = model["prices"]
    if isinstance(prices, list):
        holding = [one for one in prices if holds(one.get("constraint"))]
        prices = (holding or prices)[-1 if holding else 0]["prices"]
    for variant in model.get("price_variants") or ():
        if tier and tier in variant["when"].values():
            prices = {**prices, **variant["prices"]}
            break
    return dict(prices)


def holds(constraint: dict[str, Any] | None) -> bool:
    if constraint is None:
        return True
    if "start_date" in constraint:
        return date.fromisoformat(constraint["start_date"]) <= date(2026, 11, 24)
    start, end = (time.fromisoformat(constraint[key].rstrip("Z")) for key in ("start_time", "end_time"))
    noon = time(12)
    return start <= noon < end if start <= end else noon >= start or noon < end


def figure(price: Any, input_tokens: int) -> Fraction:
    if not isinstance(price, dict):
        return Fraction(price)
    higher = [tier["price"] for tier in price["tiers"] if input_tokens > tier["start"]]
    return Fraction(higher[-1] if higher else price["base"])


def uplift(source: str, region: str) -> Fraction:
    """What is charged on top for the region."""
    list_id, _, model = source.rpartition(" ")[2].partition("/")
    for one in file("uplifts.json"):
        if one["list"] == list_id and region in one["regions"] and model not in one.get("except_models", ()):
            return 1 + Fraction(one["percent"]) / 100
    return Fraction(1)


def priced(case: corpus.Case) -> bool:
    return BOOK.find(dialects.get(case.kind).price_as, case.model, NOW) is not None


def cases() -> list[Any]:
    found = [case for case in corpus.cases() if case.billable and case.usage and priced(case)]
    return [pytest.param(case, id=case.id) for case in found] or [
        pytest.param(None, marks=pytest.mark.skip(reason="no recorded exchanges here"))
    ]


@pytest.mark.parametrize("case", cases())
def test_each_line_of_a_recorded_exchange_is_the_catalogues_figure_in_exact_fractions(case: corpus.Case) -> None:
    reading, _ = corpus.read(case, [case.response_body])
    assert reading.usage is not None
    price = BOOK.find(dialects.get(case.kind).price_as, case.model, NOW)
    assert price is not None
    tier = reading.service_tier
    bill = price.bill(reading.usage, at_ns=NOW, service_tier=tier, region=reading.region)
    plain = tier if tier in ("batch", "flex", "priority", "fast") else ""
    prices = listed_prices(bill.source, plain)
    factor = uplift(bill.source, reading.region)
    for line in bill.lines:
        dollars = figure(prices[KEYS[line.item]], reading.usage.input_tokens_total) * factor
        assert line.nanousd == round(line.quantity * dollars * 10**9 / PER[line.unit]), line
    assert bill.nanousd == sum(line.nanousd for line in bill.lines)
    if not bill.irregular:
        billed_in = sum(line.quantity for line in bill.lines if line.item in INPUT)
        billed_out = sum(line.quantity for line in bill.lines if line.item in OUTPUT)
        assert billed_in in (0, reading.usage.input_tokens_total)
        assert billed_out in (0, reading.usage.output_tokens_total)


def assert_whole(value: Any) -> None:
    """Nothing in it is a float, however deep."""
    assert not isinstance(value, float), value
    if hasattr(value, "__struct_fields__"):
        for name in value.__struct_fields__:
            assert_whole(getattr(value, name))
    elif isinstance(value, tuple | list):
        for one in value:
            assert_whole(one)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(MODELS), usages(), st.sampled_from(("", "batch", "flex", "priority")), st.integers(0, 10**9))
def test_no_float_is_in_any_bill_and_its_lines_sum(model: Any, usage: Usage, tier: str, seconds: int) -> None:
    name = name_of(model[0].id, model[1].id)
    at_ns = NOW - seconds * 10**8
    price = BOOK.find(model[0].id, name, at_ns) if name is not None else None
    if price is None:
        return
    bill = price.bill(usage, at_ns=at_ns, service_tier=tier)
    assert_whole(bill)
    assert bill.nanousd == sum(line.nanousd for line in bill.lines)
    assert all(type(line.nanousd) is int and type(line.quantity) is int for line in bill.lines)
    ceiling = price.ceiling(usage.input_tokens_total, usage.output_tokens_total, units_of(usage), service_tier=tier)
    assert type(ceiling) is int
    assert_whole(price.affordable_output(ceiling, usage.input_tokens_total, units_of(usage)))
