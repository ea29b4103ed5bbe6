"""A configuration's prices: they come before the catalogue, layer by layer, when and for what they say."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from gateway.wire.usage import Usage
from pricing.book import Price, PriceBook
from pricing.catalogue import load
from pricing.entry import PriceEntry, entries_of, problems
from pricing.money import NANO

CATALOGUE = load()
USAGE = Usage(input_tokens_total=1_000_000, output_tokens_total=1_000_000, cache_read_tokens=500_000)


def moment(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * NANO  # type: ignore[misc,arg-type]


NOW = moment(2026, 11, 24)


def book(toml: str) -> PriceBook:
    return PriceBook(entries_of(tomllib.loads(toml, parse_float=Decimal)["prices"]), CATALOGUE)


def found(prices: PriceBook, provider: str, model: str, at_ns: int = NOW) -> Price:
    price = prices.find(provider, model, at_ns)
    assert price is not None
    return price


def amounts(price: Price, usage: Usage = USAGE, at_ns: int = NOW, **conditions: Any) -> dict[str, Decimal]:
    """Dollars by line."""
    return {line.item: Decimal(line.nanousd) / NANO for line in price.bill(usage, at_ns=at_ns, **conditions).lines}


CONTRACT = """
[[prices]]
provider = "openai"
model = "gpt-4o*"
from = 2026-01-01
input_per_mtok = 2.0
output_per_mtok = 8.0
cache_read_per_mtok = 1.0
"""


def test_a_contract_comes_before_the_catalogue() -> None:
    price = found(book(CONTRACT), "openai", "gpt-4o-2024-08-06")
    assert amounts(price) == {"input": 1, "cache_read": Decimal("0.5"), "output": 8}
    assert price.source == 'config prices[0] "gpt-4o*" over catalogue genai-prices 0.2.3 openai/gpt-4o'


def test_a_contract_does_not_hold_before_it_begins() -> None:
    prices = book(CONTRACT)
    assert found(prices, "openai", "gpt-4o", moment(2026, 1, 1) - 1).source.startswith("catalogue")
    assert found(prices, "openai", "gpt-4o", moment(2026, 1, 1)).source.startswith("config")
    assert found(prices, "openai", "gpt-4o", moment(2026, 1, 1) - 1).source.startswith("catalogue")


def test_consecutive_contracts_share_a_date_and_leave_no_gap() -> None:
    prices = book(
        """
        [[prices]]
        provider = "own"
        model = "m"
        until = 2026-07-01
        input_per_mtok = 1
        [[prices]]
        provider = "own"
        model = "m"
        from = 2026-07-01
        until = 2026-08-01T12:00:00Z
        input_per_mtok = 2
        """
    )
    turn, end = moment(2026, 7, 1), moment(2026, 8, 1, 12)
    usage = Usage(input_tokens_total=1_000_000)
    assert amounts(found(prices, "own", "m", turn - 1), usage, turn - 1) == {"input": 1}
    assert amounts(found(prices, "own", "m", turn), usage, turn) == {"input": 2}
    assert prices.find("own", "m", end - 1) is not None
    assert prices.find("own", "m", end) is None


def test_a_price_bills_a_call_by_the_rates_of_the_calls_own_time() -> None:
    price = found(book(CONTRACT), "openai", "gpt-4o", NOW)
    assert amounts(price, at_ns=moment(2025, 6, 1))["output"] == 10
    assert price.bill(USAGE, at_ns=moment(2025, 6, 1)).source == "catalogue genai-prices 0.2.3 openai/gpt-4o"


def test_a_remembered_price_ends_with_its_time_of_day() -> None:
    prices = PriceBook((), CATALOGUE)
    usage = Usage(input_tokens_total=1_000_000)
    day = moment(2026, 11, 24)
    hours = {
        hour: amounts(
            found(prices, "deepseek", "deepseek-flash", day + hour * 3600 * NANO), usage, day + hour * 3600 * NANO
        )
        for hour in (0, 1, 3, 4, 6, 9, 10, 23, 25)
    }
    busy = {hour for hour, cost in hours.items() if cost == {"input": Decimal("0.3")}}
    assert busy == {1, 3, 6, 9, 25}
    assert all(hours[hour] == {"input": Decimal("0.15")} for hour in hours.keys() - busy)


def test_a_rate_that_an_entry_leaves_out_comes_from_what_lies_below() -> None:
    prices = book(
        """
        [[prices]]
        provider = "openai"
        model = "gpt-4o"
        output_per_mtok = 9
        [[prices]]
        provider = "openai"
        model = "gpt-*"
        output_per_mtok = 1
        input_per_mtok = 2
        """
    )
    price = found(prices, "openai", "gpt-4o")
    assert amounts(price) == {"input": 1, "cache_read": Decimal("0.625"), "output": 9}
    assert price.source == (
        'config prices[0] "gpt-4o" over config prices[1] "gpt-*" over catalogue genai-prices 0.2.3 openai/gpt-4o'
    )


def test_a_discount_is_taken_off_everything_below_it_and_nothing_above() -> None:
    prices = book(
        """
        [[prices]]
        provider = "openai"
        model = "gpt-4o"
        input_per_mtok = 2
        [[prices]]
        provider = "openai"
        model = "*"
        discount_percent = 20
        committed = "acme-2026"
        """
    )
    price = found(prices, "openai", "gpt-4o")
    assert amounts(price) == {"input": 1, "cache_read": Decimal("0.5"), "output": 8}
    assert 'config prices[1] "*" (committed: acme-2026) -20%' in price.source
    mini = found(prices, "openai", "gpt-4o-mini")
    assert amounts(mini) == {"input": Decimal("0.06"), "cache_read": Decimal("0.03"), "output": Decimal("0.48")}


def test_a_negative_discount_is_an_uplift_also_of_long_context_rates() -> None:
    prices = book('[[prices]]\nprovider = "openai"\nmodel = "gpt-5.5"\nregion = "eu"\ndiscount_percent = -10')
    price = found(prices, "openai", "gpt-5.5")
    usage = Usage(input_tokens_total=1_000_000)
    assert amounts(price, usage) == {"input": 10}
    # on top of what the catalogue knows of regions
    assert amounts(price, usage, region="EU") == {"input": Decimal("12.1")}
    assert amounts(price, usage, region="us") == {"input": 11}
    assert price.ceiling(1_000_000, 0, {}, service_tier="default") == 12_100_000_000


def test_a_discount_alone_prices_nothing() -> None:
    assert book('[[prices]]\nprovider = "own"\nmodel = "*"\ndiscount_percent = 10').find("own", "m", NOW) is None


def test_an_entry_for_a_tier_or_region_holds_for_it_alone_and_lies_on_top() -> None:
    prices = book(
        """
        [[prices]]
        provider = "openai"
        model = "gpt-4o"
        input_per_mtok = 2
        [[prices]]
        provider = "openai"
        model = "gpt-4o"
        service_tier = "priority"
        input_per_mtok = 5
        [[prices]]
        provider = "openai"
        model = "gpt-4o"
        service_tier = "priority"
        region = "eu"
        input_per_mtok = 6
        """
    )
    price = found(prices, "openai", "gpt-4o")
    usage = Usage(input_tokens_total=1_000_000)
    assert amounts(price, usage) == {"input": 2}
    assert amounts(price, usage, service_tier="default") == {"input": 2}
    assert amounts(price, usage, service_tier="priority") == {"input": 5}
    assert amounts(price, usage, service_tier="priority", region="eu") == {"input": 6}
    assert amounts(price, usage, service_tier="flex", region="eu") == {"input": 2}
    assert price.bill(usage, at_ns=NOW, service_tier="priority").source.startswith("config prices[1]")


def test_an_entry_for_the_standard_tier_leaves_the_catalogues_other_tiers_alone() -> None:
    prices = book('[[prices]]\nprovider = "openai"\nmodel = "gpt-4.1"\nservice_tier = "standard"\ninput_per_mtok = 1')
    price = found(prices, "openai", "gpt-4.1")
    usage = Usage(input_tokens_total=1_000_000)
    assert amounts(price, usage, service_tier="default") == {"input": 1}
    assert amounts(price, usage, service_tier="priority") == {"input": Decimal("3.5")}


def test_an_alias_is_priced_as_the_model_it_stands_for() -> None:
    prices = book(
        """
        [[prices]]
        provider = "azure"
        model = "gpt-4o-mini"
        aliases = ["prod-chat", "team-*"]
        """
    )
    for name in ("prod-chat", "TEAM-search", "gpt-4o-mini"):
        price = found(prices, "azure", name)
        assert amounts(price) == amounts(found(PriceBook((), CATALOGUE), "azure", "gpt-4o-mini"))
    assert prices.find("azure", "prod", NOW) is None
    assert prices.find("openai", "prod-chat", NOW) is None


def test_an_alias_takes_the_rates_of_every_entry_for_its_model() -> None:
    prices = book(
        """
        [[prices]]
        provider = "azure"
        model = "gpt-4o"
        aliases = ["prod-chat"]
        [[prices]]
        provider = "azure"
        model = "gpt-4*"
        output_per_mtok = 7
        """
    )
    assert amounts(found(prices, "azure", "prod-chat"))["output"] == 7


def test_entries_hold_for_the_price_list_they_name_alone() -> None:
    prices = book('[[prices]]\nprovider = "vertex"\nmodel = "gemini-2.5-pro"\ninput_per_mtok = 1')
    usage = Usage(input_tokens_total=1_000)
    assert amounts(found(prices, "vertex", "gemini-2.5-pro"), usage)["input"] == Decimal("0.001")
    assert amounts(found(prices, "gemini", "gemini-2.5-pro"), usage)["input"] == Decimal("0.00125")
    shared = book('[[prices]]\nprovider = "google"\nmodel = "gemini-2.5-pro"\ninput_per_mtok = 1')
    for kind in ("vertex", "gemini"):
        assert amounts(found(shared, kind, "gemini-2.5-pro"), usage)["input"] == Decimal("0.001")


def test_a_long_context_rate_of_an_entry_keeps_the_catalogues_rate_below_it() -> None:
    prices = book(
        """
        [[prices]]
        provider = "openai"
        model = "gpt-4o"
        tiers = [{ above_input_tokens = 200000, input_per_mtok = 4 }]
        """
    )
    price = found(prices, "openai", "gpt-4o")
    assert amounts(price, Usage(input_tokens_total=200_000))["input"] == Decimal("0.5")
    assert amounts(price, Usage(input_tokens_total=1_000_000))["input"] == 4


def test_units_are_priced_in_the_words_of_price_lists() -> None:
    prices = book(
        """
        [[prices]]
        provider = "own"
        model = "*"
        per_request = 0.001
        per_image = 0.04
        per_minute = 0.006
        per_1k_characters = 0.015
        per_page = 0.002
        web_search_per_k = 10
        search_units_per_k = 2
        """
    )
    usage = Usage(
        output_images=2,
        audio_milliseconds=30_000,
        input_characters=2000,
        pages=3,
        web_search_requests=1,
        search_units=5,
    )
    assert amounts(found(prices, "own", "any"), usage) == {
        "web_search": Decimal("0.01"),
        "search_unit": Decimal("0.01"),
        "character": Decimal("0.03"),
        "audio_time": Decimal("0.003"),
        "image": Decimal("0.08"),
        "page": Decimal("0.006"),
        "request": Decimal("0.001"),
    }


def test_own_models_without_a_catalogue_are_told_apart_by_their_entry() -> None:
    prices = book('[[prices]]\nprovider = "*"\nmodel = "llama-?"\ninput_per_mtok = 0.1')
    assert found(prices, "openai-compatible", "Llama-3").source == 'config prices[0] "llama-?"'
    assert prices.find("openai-compatible", "llama-33", NOW) is None


def test_a_free_model_is_priced_at_nothing_and_an_unknown_one_not_at_all() -> None:
    prices = PriceBook((), CATALOGUE)
    free = found(prices, "openrouter", "openai/gpt-oss-20b:free")
    assert free.bill(USAGE, at_ns=NOW).nanousd == 0
    assert prices.find("openai", "no-such-model", NOW) is None
    assert prices.find("no-such-list", "gpt-4o", NOW) is None


def test_endless_names_do_not_grow_the_book() -> None:
    prices = book('[[prices]]\nprovider = "own"\nmodel = "*"\ninput_per_mtok = 1')
    for number in range(6_000):
        assert prices.find("own", f"model-{number}", NOW) is not None
    assert len(prices._slots) <= 4096
    assert len(prices._schedules) == 1
    assert prices.find("own", "x" * 10_000, NOW) is None


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("input_per_mtok = -1", "input_per_mtok is a number of dollars"),
        ("per_mchars = 1\nper_1k_characters = 1", "keep one"),
        ("discount_percent = 101", "discount_percent is at most 100"),
        ("from = 2026-02-01\nuntil = 2026-02-01", "is not after from"),
        ("tiers = [{above_input_tokens = 5, input_per_mtok = -3}]", "input_per_mtok is a number of dollars"),
        ("tiers = [{above_input_tokens = 5}, {above_input_tokens = 5}]", "above_input_tokens of its own"),
        ("input_per_mtok = nan", "input_per_mtok is a number of dollars"),
    ],
)
def test_what_contradicts_itself_is_told_with_the_entry(toml: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as raised:
        book(f'[[prices]]\nprovider = "own"\nmodel = "m"\n{toml}')
    assert 'prices[0] "m"' in str(raised.value)


def test_an_alias_of_a_pattern_is_refused() -> None:
    assert problems(PriceEntry(provider="own", model="m*", aliases=("a",)))


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="input_per_tok"):
        book('[[prices]]\nprovider = "own"\nmodel = "m"\ninput_per_tok = 1')
    with pytest.raises(msgspec.ValidationError, match=r"prices\[0\].from"):
        book('[[prices]]\nprovider = "own"\nmodel = "m"\nfrom = "soon"')


def test_a_date_with_a_zone_is_the_moment_it_means() -> None:
    prices = book('[[prices]]\nprovider = "own"\nmodel = "m"\nfrom = 2026-03-01T02:00:00+02:00\ninput_per_mtok = 1')
    assert prices.find("own", "m", moment(2026, 3, 1) - 1) is None
    assert prices.find("own", "m", moment(2026, 3, 1)) is not None
    assert date(2026, 3, 1).isoformat() == "2026-03-01"


@pytest.mark.parametrize(
    ("start", "end", "cheap", "dear"),
    [
        (time(16, 30), time(0, 30), ("16:30:00", "23:59:59", "00:29:59"), ("00:30:00", "12:00:00", "16:29:59")),
        (time(8), time(20), ("08:00:00", "19:59:59"), ("07:59:59", "20:00:00", "00:00:00")),
    ],
)
def test_an_entry_for_times_of_day_holds_then_alone_whichever_call_comes_first(
    start: time, end: time, cheap: tuple[str, ...], dear: tuple[str, ...]
) -> None:
    entries = entries_of(
        [
            {"provider": "openai", "model": "gpt-4o", "daily_from": start, "daily_until": end, "discount_percent": 50},
            {"provider": "openai", "model": "gpt-4o", "input_per_mtok": Decimal(2)},
        ]
    )
    moments = [(one, 1000) for one in cheap] + [(one, 2000) for one in dear]
    for order in (moments, moments[::-1]):
        book = PriceBook(entries, load())
        for clock, rate in order:
            at_ns = int(datetime.fromisoformat(f"2026-11-24T{clock}+00:00").timestamp()) * NANO
            price = book.find("openai", "gpt-4o", at_ns)
            assert price is not None
            assert price.bill(Usage(input_tokens_total=1), at_ns=at_ns).nanousd == rate
            assert price.since_ns <= at_ns < price.until_ns


@pytest.mark.parametrize("times", [{"daily_from": time(1)}, {"daily_until": time(1)},
                                   {"daily_from": time(1), "daily_until": time(1)}])  # fmt: skip
def test_half_a_time_of_day_is_a_mistake(times: dict[str, time]) -> None:
    with pytest.raises(ValueError, match="daily_from and daily_until"):
        entries_of([{"provider": "openai", "model": "x", "per_request": Decimal(1), **times}])
