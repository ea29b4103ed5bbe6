"""What providers charge on top where a call is served in one region alone."""

from __future__ import annotations

from datetime import date

import pytest

from gateway.wire.usage import Usage
from pricing.book import PriceBook
from pricing.catalogue import load
from pricing.moments import start_of
from pricing.money import NANO

BOOK = PriceBook((), load())
NOW = start_of(date(2026, 11, 1))
USAGE = Usage(input_tokens_total=1_000_000)


def dearer(provider: str, model: str, region: str, at_ns: int = NOW) -> float:
    """A region's price of a million input tokens as a multiple of the usual one."""
    price = BOOK.find(provider, model, at_ns)
    assert price is not None
    bill = price.bill(USAGE, at_ns=at_ns, region=region)
    assert bill.nanousd == sum(line.nanousd for line in bill.lines)
    return bill.nanousd / price.bill(USAGE, at_ns=at_ns).nanousd


@pytest.mark.parametrize(
    ("provider", "model", "region"),
    [
        ("vertex", "claude-sonnet-4-5@20250929", "europe-west1"), ("vertex", "claude-opus-4-6", "us"),
        ("vertex", "gemini-3.5-flash", "eu"), ("openai", "gpt-5.4-mini", "eu"), ("openai", "gpt-6.1-sol", "jp"),
        ("mistral", "mistral-large-latest", "eu"), ("anthropic", "claude-sonnet-4-6", "us"),
    ],
)  # fmt: skip
def test_a_tenth_is_charged_on_top(provider: str, model: str, region: str) -> None:
    assert dearer(provider, model, region) == 1.1
    assert dearer(provider, model, region.upper()) == 1.1
    assert dearer(provider, model, "global") == 1


@pytest.mark.parametrize(
    ("provider", "model", "region"),
    [
        ("vertex", "claude-sonnet-4@20250514", "us-east5"), ("vertex", "claude-3-5-haiku@20241022", "us-east5"),
        ("vertex", "claude-opus-4-1@20250805", "us-east5"), ("vertex", "gemini-2.5-pro", "us-central1"),
        ("vertex", "gemini-3-pro-preview", "us"), ("openai", "gpt-4o", "eu"), ("openai", "gpt-5.2", "eu"),
        ("anthropic", "claude-sonnet-4-6", "eu"),
    ],
)  # fmt: skip
def test_nothing_where_the_provider_charges_nothing(provider: str, model: str, region: str) -> None:
    assert dearer(provider, model, region) == 1


def test_geminis_regions_cost_more_since_july() -> None:
    june, july = start_of(date(2026, 6, 30)), start_of(date(2026, 7, 1))
    assert dearer("vertex", "gemini-3.5-flash", "eu", june) == 1
    assert dearer("vertex", "gemini-3.5-flash", "eu", july) == 1.1


def test_the_price_says_so() -> None:
    price = BOOK.find("mistral", "mistral-large-latest", NOW)
    assert price is not None
    assert price.bill(USAGE, at_ns=NOW, region="eu").source.endswith(" regional +10%")


def test_any_number_of_spellings_is_one_price() -> None:
    price = BOOK.find("vertex", "claude-opus-4-6", NOW)
    assert price is not None
    for number in range(1000):
        assert price.bill(USAGE, at_ns=NOW, region=f"made-up-{number}").nanousd == 55 * NANO // 10
        price.ceiling(1, 1, {}, service_tier="", region=f"made-up-{number}")
    kept = [value for name in price.__slots__ if isinstance(value := getattr(price, name), dict)]
    assert max(map(len, kept)) < 100
