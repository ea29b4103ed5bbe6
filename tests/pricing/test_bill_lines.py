"""What the lines of a bill promise: disjoint quantities, exact amounts, one rounding each, the sum as total."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from any_usage import usages
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire.usage import Usage
from pricing.book import Price, PriceBook, PriceEntry, PriceTier, reported_bill
from pricing.catalogue import load
from pricing.money import Bill, dollars, half_even

CATALOGUE = load()
NOW = 1_795_500_000_000_000_000  # 2026-11-24
INPUT = ("input", "cache_read", "cache_read_audio", "cache_read_image", "cache_write", "cache_write_1h", "input_audio",
         "input_image", "input_video")  # fmt: skip
OUTPUT = ("output", "reasoning", "output_audio", "output_image")


def price(model: str = "m", provider: str = "openai-compatible", **rates: object) -> Price:
    entry = PriceEntry(provider=provider, model=model, **{k: Decimal(str(v)) for k, v in rates.items()})  # type: ignore[arg-type]
    found = PriceBook([entry], CATALOGUE).find(provider, model, NOW)
    assert found is not None
    return found


def lines(bill: Bill) -> dict[str, tuple[int, int]]:
    return {line.item: (line.quantity, line.nanousd) for line in bill.lines}


EVERYTHING = price(
    input_per_mtok=2, output_per_mtok=8, cache_read_per_mtok="0.5", cache_read_audio_per_mtok="0.25",
    cache_write_per_mtok="2.5", cache_write_1h_per_mtok=4, reasoning_per_mtok=3, input_audio_per_mtok=40,
    output_audio_per_mtok=80, input_image_per_mtok=5, cache_read_image_per_mtok=1, input_video_per_mtok=6,
    output_image_per_mtok=30, per_request="0.01", per_image="0.04",
    per_minute="0.006", per_mchars=15, per_page="0.001", web_search_per_k=10, search_units_per_k=2,
)  # fmt: skip


def test_each_part_stands_on_its_own_line_and_is_taken_out_of_its_whole() -> None:
    bill = EVERYTHING.bill(
        Usage(
            input_tokens_total=1000,
            cache_read_tokens=300,
            cache_read_audio_tokens=100,
            cache_write_tokens=200,
            cache_write_1h_tokens=50,
            input_audio_tokens=140,
            cache_read_image_tokens=40,
            input_image_tokens=100,
            input_video_tokens=70,
            output_tokens_total=500,
            reasoning_tokens=200,
            output_audio_tokens=100,
            output_image_tokens=20,
        ),
        at_ns=NOW,
    )
    assert lines(bill) == {
        "input": (330, 660_000),
        "cache_read": (160, 80_000),
        "cache_read_audio": (100, 25_000),
        "cache_read_image": (40, 40_000),
        "cache_write": (150, 375_000),
        "cache_write_1h": (50, 200_000),
        "input_audio": (40, 1_600_000),
        "input_image": (60, 300_000),
        "input_video": (70, 420_000),
        "output": (180, 1_440_000),
        "reasoning": (200, 600_000),
        "output_audio": (100, 8_000_000),
        "output_image": (20, 600_000),
        "request": (1, 10_000_000),
    }
    assert bill.irregular == ""


@settings(max_examples=300, deadline=None)
@given(usages())
def test_token_quantities_add_up_to_the_usage_and_never_overlap(usage: Usage) -> None:
    bill = EVERYTHING.bill(usage, at_ns=NOW)
    assert sum(line.quantity for line in bill.lines if line.item in INPUT) == usage.input_tokens_total
    assert sum(line.quantity for line in bill.lines if line.item in OUTPUT) == usage.output_tokens_total
    assert bill.nanousd == sum(line.nanousd for line in bill.lines)
    assert all(line.quantity > 0 for line in bill.lines)
    assert bill.irregular == ""


def test_cached_audio_without_a_rate_of_its_own_is_billed_once_as_cached() -> None:
    bill = price(input_per_mtok=2, cache_read_per_mtok=1, input_audio_per_mtok=40).bill(
        Usage(input_tokens_total=100, cache_read_tokens=50, input_audio_tokens=40, cache_read_audio_tokens=30),
        at_ns=NOW,
    )
    assert lines(bill) == {"input": (40, 80_000), "cache_read": (50, 50_000), "input_audio": (10, 400_000)}


def test_cached_pictures_without_a_rate_of_their_own_are_billed_once_as_cached() -> None:
    bill = price(input_per_mtok=2, cache_read_per_mtok=1, input_image_per_mtok=4).bill(
        Usage(input_tokens_total=100, cache_read_tokens=50, input_image_tokens=40, cache_read_image_tokens=30),
        at_ns=NOW,
    )
    assert lines(bill) == {"input": (40, 80_000), "cache_read": (50, 50_000), "input_image": (10, 40_000)}
    assert bill.irregular == ""


def test_a_part_without_a_rate_stays_in_its_whole() -> None:
    bill = price(input_per_mtok=2, output_per_mtok=8).bill(
        Usage(input_tokens_total=100, cache_read_tokens=50, output_tokens_total=10, reasoning_tokens=9), at_ns=NOW
    )
    assert lines(bill) == {"input": (100, 200_000), "output": (10, 80_000)}


def test_units_beside_tokens_are_billed_by_the_piece() -> None:
    bill = EVERYTHING.bill(
        Usage(
            web_search_requests=3,
            search_units=2,
            input_characters=1000,
            audio_milliseconds=90_000,
            output_images=2,
            pages=7,
        ),
        at_ns=NOW,
    )
    assert lines(bill) == {
        "web_search": (3, 30_000_000),
        "search_unit": (2, 4_000_000),
        "character": (1000, 15_000_000),
        "audio_time": (90_000, 9_000_000),
        "image": (2, 80_000_000),
        "page": (7, 7_000_000),
        "request": (1, 10_000_000),
    }


def test_a_used_unit_without_a_rate_is_named_and_not_charged() -> None:
    bill = price(input_per_mtok=2).bill(Usage(input_tokens_total=1, web_search_requests=2, pages=1), at_ns=NOW)
    assert bill.unpriced == ("web_search", "page")
    assert bill.nanousd == 2000


@pytest.mark.parametrize(
    ("tokens", "nanousd"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 2), (6, 3), (7, 4)], ids=lambda value: str(value)
)
def test_a_line_is_rounded_once_half_to_even(tokens: int, nanousd: int) -> None:
    bill = price(input_per_mtok="0.0005").bill(Usage(input_tokens_total=tokens), at_ns=NOW)
    assert bill.nanousd == nanousd  # half a nanodollar a token


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**12))
def test_rounding_is_what_exact_fractions_say(numerator: int, denominator: int) -> None:
    assert half_even(numerator, denominator) == round(Fraction(numerator, denominator))


def test_no_amount_is_too_large_to_be_exact() -> None:
    bill = price(input_per_mtok="0.000001").bill(Usage(input_tokens_total=10**24 + 7), at_ns=NOW)
    assert bill.nanousd == half_even(10**24 + 7, 1000)


@given(st.lists(st.integers(-(10**12), 10**12), min_size=17, max_size=17))
def test_contradictory_usage_never_raises_and_is_flagged(values: list[int]) -> None:
    usage = Usage(**dict(zip(Usage.__struct_fields__, values, strict=False)))
    bill = EVERYTHING.bill(usage, at_ns=NOW)
    assert bill.nanousd == sum(line.nanousd for line in bill.lines)
    assert all(line.quantity > 0 and line.nanousd >= 0 for line in bill.lines)
    whole = sum(line.quantity for line in bill.lines if line.item in INPUT)
    assert bill.irregular or whole <= max(0, usage.input_tokens_total)


def test_a_part_larger_than_its_whole_counts_in_full_and_is_told() -> None:
    bill = EVERYTHING.bill(Usage(input_tokens_total=10, cache_read_tokens=50), at_ns=NOW)
    assert lines(bill) == {"cache_read": (50, 25_000), "request": (1, 10_000_000)}
    assert bill.irregular == "parts of input exceed it by 40"


TIERED = PriceBook(
    [
        PriceEntry(
            provider="own",
            model="long",
            input_per_mtok=Decimal(2),
            output_per_mtok=Decimal(8),
            cache_read_per_mtok=Decimal(1),
            tiers=(
                PriceTier(above_input_tokens=500_000, input_per_mtok=Decimal(6)),
                PriceTier(above_input_tokens=200_000, input_per_mtok=Decimal(4), output_per_mtok=Decimal(12)),
            ),
        )
    ],
    CATALOGUE,
).find("own", "long", NOW)


def test_a_sum_of_many_calls_is_billed_at_the_rates_of_small_ones() -> None:
    assert TIERED is not None
    usage = Usage(input_tokens_total=900_000, cache_read_tokens=100, output_tokens_total=10)
    bill = TIERED.bill(usage, at_ns=NOW, summed=True)
    assert lines(bill) == {
        "input": (899_900, 899_900 * 2000),
        "cache_read": (100, 100_000),
        "output": (10, 80_000),
    }
    assert bill.nanousd == sum(line.nanousd for line in bill.lines)


@pytest.mark.parametrize(
    ("tokens", "rate_in", "rate_out"),
    [(200_000, 2000, 8000), (200_001, 4000, 12000), (500_000, 4000, 12000), (500_001, 6000, 12000)],
)
def test_a_long_context_rate_holds_for_all_tokens_of_the_call(tokens: int, rate_in: int, rate_out: int) -> None:
    assert TIERED is not None
    bill = TIERED.bill(Usage(input_tokens_total=tokens, cache_read_tokens=100, output_tokens_total=10), at_ns=NOW)
    assert lines(bill) == {
        "input": (tokens - 100, (tokens - 100) * rate_in),
        "cache_read": (100, 100_000),
        "output": (10, 10 * rate_out),
    }


def test_a_short_recording_is_billed_as_ten_seconds_where_the_provider_does() -> None:
    whisper = PriceBook((), CATALOGUE).find("groq", "whisper-large-v3", NOW)
    assert whisper is not None
    short = whisper.bill(Usage(audio_milliseconds=1200), at_ns=NOW)
    assert lines(short) == {"audio_time": (10_000, half_even(111_000_000 * 10_000, 3_600_000))}
    assert whisper.bill(Usage(), at_ns=NOW).lines == ()


def test_us_only_inference_costs_a_tenth_more_on_tokens_alone() -> None:
    claude = PriceBook((), CATALOGUE).find("anthropic", "claude-sonnet-4-6", NOW)
    assert claude is not None
    usage = Usage(input_tokens_total=1000, output_tokens_total=100, web_search_requests=1)
    plain = claude.bill(usage, at_ns=NOW, region="global")
    us = claude.bill(usage, at_ns=NOW, region="us")
    assert lines(plain) == {"input": (1000, 3_000_000), "output": (100, 1_500_000), "web_search": (1, 10_000_000)}
    assert lines(us) == {"input": (1000, 3_300_000), "output": (100, 1_650_000), "web_search": (1, 10_000_000)}
    assert us.source == "catalogue genai-prices 0.2.3 anthropic/claude-sonnet-4-6 us +10%"
    assert claude.bill(usage, at_ns=NOW, region="not_available") == plain


@pytest.mark.parametrize("tier", ["default", "standard", "auto", "on_demand", "ON_DEMAND", "scale-of-its-own"])
def test_a_tier_without_prices_of_its_own_costs_the_standard_rates(tier: str) -> None:
    gpt = PriceBook((), CATALOGUE).find("openai", "gpt-4.1", NOW)
    assert gpt is not None
    usage = Usage(input_tokens_total=1000, output_tokens_total=100)
    assert gpt.bill(usage, at_ns=NOW, service_tier=tier) == gpt.bill(usage, at_ns=NOW)


def test_a_confirmed_tier_is_billed_at_its_rates_whatever_its_spelling() -> None:
    gpt = PriceBook((), CATALOGUE).find("openai", "gpt-4.1", NOW)
    assert gpt is not None
    usage = Usage(input_tokens_total=1000, output_tokens_total=100)
    for spelling in ("priority", "PRIORITY", "ON_DEMAND_PRIORITY"):
        bill = gpt.bill(usage, at_ns=NOW, service_tier=spelling)
        assert lines(bill) == {"input": (1000, 3_500_000), "output": (100, 1_400_000)}
        assert bill.source.endswith("openai/gpt-4.1 priority")


def test_answers_with_endless_tier_names_do_not_grow_the_book() -> None:
    gpt = PriceBook((), CATALOGUE).find("openai", "gpt-4.1", NOW)
    assert gpt is not None
    usage = Usage(input_tokens_total=1000)
    bills = {gpt.bill(usage, at_ns=NOW, service_tier=f"tier-{number}").nanousd for number in range(500)}
    assert bills == {2_000_000}
    assert len(gpt._sheets) == 1
    assert len(gpt._spellings) <= 64
    for number in range(500):
        gpt.ceiling(10, 10, {}, service_tier=f"tier-{number}")
    assert len(gpt._ceilings) == 1
    assert len(gpt._asked) <= 64


def test_what_the_provider_reports_is_one_line_where_the_list_is_reported() -> None:
    book = PriceBook((), CATALOGUE)
    price = book.find("reported", "openai/gpt-4o", NOW)
    assert price is not None
    usage = Usage(input_tokens_total=1000, output_tokens_total=100)
    bill = price.bill(usage, at_ns=NOW, reported_cost_nanousd=123)
    assert bill == reported_bill(123)
    assert lines(bill) == {"reported": (1, 123)}
    assert bill.source == "reported by the provider"
    unreported = price.bill(usage, at_ns=NOW)
    assert lines(unreported) == {"input": (1000, 2_500_000), "output": (100, 1_000_000)}
    assert unreported.source == "catalogue genai-prices 0.2.3 openrouter/openai/gpt-4o"
    assert book.find("reported", "no/such-model", NOW) is None


def test_a_reported_cost_changes_nothing_under_a_price_list() -> None:
    price = PriceBook((), CATALOGUE).find("openrouter", "openai/gpt-4o", NOW)
    assert price is not None
    usage = Usage(input_tokens_total=1000)
    assert price.bill(usage, at_ns=NOW, reported_cost_nanousd=5) == price.bill(usage, at_ns=NOW)


@pytest.mark.parametrize(
    ("nanousd", "text"),
    [
        (0, "0"), (1, "0.000000001"), (75_000, "0.000075"), (999_999_999, "0.999999999"), (10**9, "1"),
        (2_500_000_000, "2.5"), (20 * 10**9, "20"), (-10, "-0.00000001"), (-20 * 10**9, "-20"),
    ],
)  # fmt: skip
def test_dollars_are_written_exactly(nanousd: int, text: str) -> None:
    assert dollars(nanousd) == text


@pytest.mark.parametrize(("model", "tier", "region"), [("gpt-4.1", "priority", ""), ("claude-sonnet-4-6", "", "us")])
def test_a_maker_s_own_tiers_and_uplifts_do_not_hold_where_another_provider_sells_the_model(
    model: str, tier: str, region: str
) -> None:
    azure = PriceBook((), CATALOGUE).find("azure", model, NOW)
    assert azure is not None
    assert "azure/" not in azure.source
    usage = Usage(input_tokens_total=1000, output_tokens_total=100)
    assert azure.bill(usage, at_ns=NOW, service_tier=tier, region=region) == azure.bill(usage, at_ns=NOW)
