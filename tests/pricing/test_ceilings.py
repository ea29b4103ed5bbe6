"""A ceiling holds whatever the call turns out to be; what is affordable is exactly what fits under it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from any_usage import SIZES, units_of, usages
from genai_oracle import MODELS, name_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.wire.usage import Usage
from pricing.book import Price, PriceBook, PriceEntry, PriceTier
from pricing.catalogue import load
from pricing.ceiling import UNBOUNDED

CATALOGUE = load()
BOOK = PriceBook((), CATALOGUE)
NOW = 1_795_500_000_000_000_000
TIERS = ["", "auto", "default", "standard", "flex", "priority", "batch", "fast", "ON_DEMAND_FLEX"]
REGIONS = ["", "us", "global", "eu"]
MORE = st.one_of(st.just(0), st.integers(0, 400_000))

RATE = st.one_of(st.none(), st.decimals(0, 100, places=7), st.sampled_from([Decimal("0.0001"), Decimal(0), Decimal(3)]))


@st.composite
def entries(draw: st.DrawFn) -> PriceEntry:
    token_fields = [name for name in PriceTier.__struct_fields__ if name.endswith("_per_mtok")]
    unit_fields = ["per_request", "per_image", "per_minute", "per_mchars", "per_page", "web_search_per_k"]
    rates: dict[str, Any] = {name: draw(RATE) for name in (*token_fields, *unit_fields, "search_units_per_k")}
    starts = draw(st.lists(st.sampled_from([10, 128_000, 200_000, 272_000]), max_size=2, unique=True))
    tiers = tuple(
        PriceTier(above_input_tokens=start, **{name: draw(RATE) for name in token_fields})  # type: ignore[arg-type]
        for start in starts
    )
    return PriceEntry(
        provider=draw(st.sampled_from(["own", "openai", "anthropic"])),
        model="*",
        tiers=tiers,
        service_tier=draw(st.sampled_from(["", "", "flex", "priority"])),
        region=draw(st.sampled_from(["", "", "eu"])),
        discount_percent=draw(st.sampled_from([None, Decimal("12.5"), Decimal(-10), Decimal(100)])),
        **rates,
    )


@st.composite
def prices(draw: st.DrawFn) -> Price:
    """Any price: of the catalogue, of a configuration, of both."""
    provider, info = draw(st.sampled_from(MODELS))
    name = name_of(provider.id, info.id)
    assume(name is not None)
    assert name is not None
    listed = draw(st.lists(entries(), max_size=3))
    listed_as = "own" if listed and draw(st.booleans()) else provider.id
    price = (PriceBook(listed, CATALOGUE) if listed else BOOK).find(listed_as, name, NOW)
    assume(price is not None)
    assert price is not None
    return price


@settings(max_examples=200, deadline=None)
@given(prices(), usages(), MORE, MORE, st.sampled_from(TIERS), st.sampled_from(REGIONS))
def test_no_bill_exceeds_the_ceiling_of_its_totals(
    price: Price, usage: Usage, more_in: int, more_out: int, tier: str, region: str
) -> None:
    bill = price.bill(usage, at_ns=NOW, service_tier=tier, region=region)
    totals = (usage.input_tokens_total + more_in, usage.output_tokens_total + more_out, units_of(usage))
    assert bill.nanousd <= price.ceiling(*totals)
    assert bill.nanousd <= price.ceiling(*totals, service_tier=tier)
    assert bill.nanousd <= price.ceiling(*totals, service_tier=tier, region=region)


@settings(max_examples=120, deadline=None)
@given(prices(), usages(), st.sampled_from(["", "priority", "flex", "default"]))
def test_a_call_that_asks_for_a_tier_may_be_served_at_the_standard_one_within_its_ceiling(
    price: Price, usage: Usage, asked: str
) -> None:
    ceiling = price.ceiling(usage.input_tokens_total, usage.output_tokens_total, units_of(usage), service_tier=asked)
    for region in REGIONS:
        assert price.bill(usage, at_ns=NOW, service_tier="default", region=region).nanousd <= ceiling


@settings(max_examples=200, deadline=None)
@given(prices(), SIZES, usages(), st.integers(0, 10**11))
def test_the_affordable_output_is_the_largest_that_fits(
    price: Price, input_tokens: int, usage: Usage, nanousd: int
) -> None:
    units = units_of(usage)
    affordable = price.affordable_output(nanousd, input_tokens, units)
    if price.ceiling(input_tokens, 0, units) > nanousd:
        assert affordable == 0
    elif affordable == UNBOUNDED:
        assert price.ceiling(input_tokens, 10**15, units) == price.ceiling(input_tokens, 0, units)
    else:
        assert price.ceiling(input_tokens, affordable, units) <= nanousd
        assert price.ceiling(input_tokens, affordable + 1, units) > nanousd


@settings(max_examples=100, deadline=None)
@given(prices(), SIZES, SIZES, MORE, MORE)
def test_a_larger_call_never_has_a_smaller_ceiling(price: Price, i: int, o: int, more_in: int, more_out: int) -> None:
    assert price.ceiling(i, o, {}) <= price.ceiling(i + more_in, o + more_out, {})


def test_a_ceiling_is_tight_where_nothing_is_left_open() -> None:
    gpt = BOOK.find("openai", "gpt-4o", NOW)
    assert gpt is not None
    assert gpt.ceiling(1000, 500, {}, service_tier="default") == 1000 * 2_500 + 500 * 10_000
    usage = Usage(input_tokens_total=1000, output_tokens_total=500)
    assert gpt.bill(usage, at_ns=NOW).nanousd == gpt.ceiling(1000, 500, {}, service_tier="default")


def test_a_tier_that_only_a_request_can_choose_is_not_held_against_others() -> None:
    claude = BOOK.find("anthropic", "claude-fable-5-2", NOW)
    assert claude is not None
    unasked, fast = claude.ceiling(1000, 500, {}, service_tier=""), claude.ceiling(1000, 500, {}, service_tier="fast")
    assert fast == 2 * unasked
    assert claude.ceiling(1000, 500, {}) == fast


def test_a_region_that_only_a_request_can_choose_is_not_held_against_others() -> None:
    gpt, claude = BOOK.find("openai", "gpt-5.4", NOW), BOOK.find("anthropic", "claude-sonnet-4-6", NOW)
    assert gpt is not None
    assert claude is not None
    anywhere = gpt.ceiling(1000, 500, {}, service_tier="default", region="")
    assert anywhere == 1000 * 2_500 + 500 * 15_000
    assert gpt.ceiling(1000, 500, {}, service_tier="default", region="eu") == anywhere * 11 // 10
    assert gpt.ceiling(1000, 500, {}, service_tier="default") == anywhere * 11 // 10
    # where Anthropic serves a call its answer tells
    told = claude.ceiling(1000, 500, {}, service_tier="standard", region="")
    assert told == claude.ceiling(1000, 500, {}, service_tier="standard")


def test_units_without_a_rate_cost_nothing_in_a_ceiling() -> None:
    gpt = BOOK.find("openai", "gpt-4o", NOW)
    assert gpt is not None
    assert gpt.ceiling(0, 0, {"pages": 10**6, "something_else": 5}) == 0
    assert gpt.ceiling(0, 0, {"web_search_requests": 2}) == 20_000_000


def test_free_output_is_affordable_without_bound() -> None:
    embeddings = BOOK.find("openai", "text-embedding-3-small", NOW)
    assert embeddings is not None
    assert embeddings.affordable_output(10**9, 1000, {}) == UNBOUNDED


def test_a_ceiling_has_room_for_every_line_that_rounds_up() -> None:
    rate = Decimal("0.0006")  # six tenths of a nanodollar a token
    entry = PriceEntry(
        provider="own", model="m", input_per_mtok=rate, cache_read_per_mtok=rate, cache_write_per_mtok=rate
    )
    price = PriceBook([entry], CATALOGUE).find("own", "m", NOW)
    assert price is not None
    usage = Usage(input_tokens_total=3, cache_read_tokens=1, cache_write_tokens=1)
    assert price.bill(usage, at_ns=NOW).nanousd == 3
    assert price.ceiling(3, 0, {}) == 3


def test_a_long_context_rate_that_is_lower_does_not_lower_the_ceiling_of_a_call_that_may_be_short() -> None:
    entry = PriceEntry(
        provider="own",
        model="m",
        input_per_mtok=Decimal(3),
        output_per_mtok=Decimal(9),
        tiers=(PriceTier(above_input_tokens=100, input_per_mtok=Decimal(1), output_per_mtok=Decimal(2)),),
    )
    price = PriceBook([entry], CATALOGUE).find("own", "m", NOW)
    assert price is not None
    short = price.bill(Usage(input_tokens_total=100, output_tokens_total=50), at_ns=NOW).nanousd
    assert short == 100 * 3000 + 50 * 9000
    assert price.ceiling(101, 50, {}) >= short
    assert price.affordable_output(101 * 3000 + 9000, 101, {}) == 1


def test_a_tier_that_a_provider_may_choose_itself_is_within_the_ceiling_of_a_call_that_asks_for_none() -> None:
    gpt = BOOK.find("openai", "gpt-4.1", NOW)
    assert gpt is not None
    usage = Usage(input_tokens_total=1000, output_tokens_total=500)
    priority = gpt.bill(usage, at_ns=NOW, service_tier="priority").nanousd
    assert priority > gpt.bill(usage, at_ns=NOW).nanousd
    assert gpt.ceiling(1000, 500, {}, service_tier="") == priority
    assert gpt.ceiling(1000, 500, {}, service_tier="default") < priority
