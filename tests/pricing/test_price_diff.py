"""What a price change would cost, told before it is made; and why a call costs what it costs."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.usage import Usage
from pricing.book import PriceBook, PriceEntry
from pricing.catalogue import CatalogueFile, CatalogueModel, catalogue_of, load
from pricing.diff import Call, catalogue_text, compare, compare_catalogues, comparison_text
from pricing.explain import exact, explain, text

CATALOGUE = load()
NOW = 1_795_500_000_000_000_000
USAGE = Usage(input_tokens_total=1000, output_tokens_total=500)


def test_a_new_contract_shows_what_it_would_save_on_past_calls() -> None:
    before = PriceBook((), CATALOGUE)
    contract = PriceEntry(provider="openai", model="gpt-4o", output_per_mtok=Decimal(8))
    after = PriceBook([contract], CATALOGUE)
    calls = [
        Call(provider="openai", model="gpt-4o", usage=USAGE, at_ns=NOW, count=3),
        Call(provider="openai", model="gpt-4o", usage=USAGE, at_ns=NOW),
        Call(provider="openai", model="gpt-4o-mini", usage=USAGE, at_ns=NOW),
    ]
    result = compare(before, after, calls)
    (change,) = result.changes
    assert (change.model, change.calls, change.nanousd) == ("gpt-4o", 4, -4 * 1_000_000)
    assert change.source_after.startswith("config prices[0]")
    assert result.after_nanousd - result.before_nanousd == -4_000_000
    assert result.before_nanousd == 4 * 7_500_000 + 450_000
    assert comparison_text(result) == (
        "openai/gpt-4o: 4 calls, $0.03 -> $0.026 (-$0.004)\n"
        "  catalogue genai-prices 0.2.3 openai/gpt-4o -> "
        'config prices[0] "gpt-4o" over catalogue genai-prices 0.2.3 openai/gpt-4o\n'
        "total $0.03045 -> $0.02645 (-$0.004)\n"
    )


def test_a_call_that_gains_or_loses_its_price_is_told() -> None:
    entry = PriceEntry(provider="own", model="m", input_per_mtok=Decimal(1))
    calls = [Call(provider="own", model="m", usage=USAGE, at_ns=NOW, count=2)]
    gained = compare(PriceBook((), CATALOGUE), PriceBook([entry], CATALOGUE), calls).changes[0]
    assert (gained.unpriced_before, gained.unpriced_after, gained.nanousd) == (2, 0, 2_000_000)
    lost = compare(PriceBook([entry], CATALOGUE), PriceBook((), CATALOGUE), calls).changes[0]
    assert (lost.unpriced_before, lost.unpriced_after, lost.nanousd) == (0, 2, -2_000_000)


def test_a_call_whose_answer_names_a_model_that_nobody_lists_is_priced_by_the_name_it_asked_for() -> None:
    entry = PriceEntry(provider="own", model="prod-chat", input_per_mtok=Decimal(1))
    calls = [Call(provider="own", model="build-7", model_requested="prod-chat", usage=USAGE, at_ns=NOW)]
    result = compare(PriceBook([entry], CATALOGUE), PriceBook([entry], CATALOGUE), calls)
    assert (result.before_nanousd, result.after_nanousd, result.changes) == (1_000_000, 1_000_000, ())


def test_equal_books_change_nothing() -> None:
    calls = [Call(provider="openai", model="gpt-4o", usage=USAGE, at_ns=NOW)]
    assert compare(PriceBook((), CATALOGUE), PriceBook((), load()), calls).changes == ()


def test_two_catalogues_are_compared_model_by_model() -> None:
    openai = CATALOGUE.lists["openai"]
    replace = msgspec.structs.replace
    changed: list[CatalogueModel] = []
    for model in openai.models:
        if model.id == "gpt-4o":
            prices = model.conditional()[-1].prices
            changed.append(replace(model, prices={**prices, "output_mtok": Decimal("9.5")}))
        elif model.id != "gpt-4o-mini":
            changed.append(model)
    changed.append(replace(openai.models[0], id="gpt-new"))
    file = CatalogueFile(CATALOGUE.source, (replace(openai, models=tuple(changed)),))
    found = [one for one in compare_catalogues(CATALOGUE, catalogue_of(file)) if one.list_id == "openai"]
    assert [(one.model, one.what) for one in found] == [
        ("gpt-4o", "changed"),
        ("gpt-4o-mini", "removed"),
        ("gpt-new", "added"),
    ]
    assert catalogue_text(found[:2]) == (
        "changed  openai/gpt-4o\n         output: $10 per million -> $9.5 per million\nremoved  openai/gpt-4o-mini\n"
    )
    assert catalogue_text(()) == "nothing changes\n"
    assert found[0].details == ("output: $10 per million -> $9.5 per million",)


def test_an_explanation_shows_source_rates_lines_and_total() -> None:
    price = PriceBook((), CATALOGUE).find("openai", "gpt-4o", NOW)
    assert price is not None
    usage = Usage(input_tokens_total=1000, output_tokens_total=500, cache_read_tokens=200)
    shown = text(explain(price, usage, at_ns=NOW))
    assert "price    catalogue genai-prices 0.2.3 openai/gpt-4o\n" in shown
    assert re.search(r"rate +cache_read +\$1.25 per million tokens\n", shown)
    assert re.search(r"line +input +800 token +\$0.002\n", shown)
    assert shown.endswith("total    $0.00725\n")


def test_an_explanation_for_another_time_shows_the_rates_of_then() -> None:
    price = PriceBook((), CATALOGUE).find("deepseek", "deepseek-flash", NOW)
    assert price is not None
    night = NOW - NOW % 86_400_000_000_000 + 2 * 3_600_000_000_000
    found = explain(price, USAGE, at_ns=night)
    assert (found.since[11:], found.until[11:]) == ("01:00:00Z", "04:00:00Z")
    assert found.rates[0].usd == "0.3"


def test_an_explanation_of_a_tier_shows_its_rates() -> None:
    price = PriceBook((), CATALOGUE).find("openai", "gpt-4.1", NOW)
    assert price is not None
    assert explain(price, USAGE, at_ns=NOW, service_tier="priority").rates[0].usd == "3.5"


@given(st.fractions(-100, 100))
def test_rates_are_written_exactly(value: Fraction) -> None:
    assert Fraction(exact(value)) == value


@pytest.mark.parametrize(
    ("value", "written"), [("5/2", "2.5"), ("1/3", "1/3"), ("3", "3"), ("-1/8", "-0.125"), ("0", "0")]
)
def test_a_rate_is_a_decimal_where_it_has_one(value: str, written: str) -> None:
    assert exact(Fraction(value)) == written


def test_every_rate_that_a_configuration_may_name_is_explained() -> None:
    names = [name for name in PriceEntry.__struct_fields__ if "per_" in name and name != "per_1k_characters"]
    entry = PriceEntry(provider="own", model="m", **dict.fromkeys(names, Decimal(3)))  # type: ignore[arg-type]
    price = PriceBook([entry], CATALOGUE).find("own", "m", NOW)
    assert price is not None
    found = explain(price, USAGE, at_ns=NOW)
    assert len(found.rates) == len(names)
    assert {rate.usd for rate in found.rates} == {"3"}
