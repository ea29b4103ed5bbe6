"""Every example of the pricing page works as it stands there."""

from __future__ import annotations

import json
import re
import time
import tomllib
from decimal import Decimal
from importlib import resources
from pathlib import Path

import pytest

from gateway.wire.usage import Usage
from pricing.book import PriceBook, PriceEntry
from pricing.catalogue import load
from pricing.entry import entries_of
from pricing.units import PARTS, UNITS, WHOLES

PAGE = (Path(__file__).parents[2] / "docs" / "pricing.md").read_text(encoding="utf-8")
TOML = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
MEANT = {("openai", "*"): "gpt-4o", ("azure-eu", "*"): "gpt-4o", ("mistral", "*"): "mistral-large-latest"}
NOW = 1_795_500_000_000_000_000


@pytest.mark.parametrize("block", [block for block in TOML if "[[prices]]" in block])
def test_an_example_of_prices_is_taken_and_prices_its_model(block: str) -> None:
    written = tomllib.loads(block, parse_float=Decimal)
    entries, providers = entries_of(written["prices"]), written.get("providers", {})
    book = PriceBook(entries, load())
    for entry in entries:
        own = providers.get(entry.provider)
        listed = f"{entry.provider}:{own['kind']}" if own is not None else entry.provider
        name = MEANT.get((entry.provider, entry.model), entry.model.replace("*", ""))
        for model in (name, *(alias.replace("*", "x") for alias in entry.aliases)):
            price = book.find(listed, model, NOW)
            assert price is not None, model
            usage = Usage(input_tokens_total=1000, output_tokens_total=100, search_units=1)
            bill = price.bill(usage, at_ns=NOW, service_tier=entry.service_tier, region=entry.region)
            assert bill.nanousd > 0


def test_the_long_context_example_charges_what_it_says() -> None:
    block = next(block for block in TOML if "above_input_tokens" in block)
    book = PriceBook(entries_of(tomllib.loads(block, parse_float=Decimal)["prices"]), load())
    price = book.find("gemini", "gemini-2.5-pro", NOW)
    assert price is not None
    assert price.bill(Usage(input_tokens_total=200_000), at_ns=NOW).nanousd == 200_000 * 1000
    assert price.bill(Usage(input_tokens_total=200_001), at_ns=NOW).nanousd == 200_001 * 2000


def test_the_page_names_every_line_and_every_rate() -> None:
    lines = [part.item for part in (*WHOLES, *PARTS)] + [unit.item for unit in UNITS]
    assert [item for item in lines if f"`{item}`" not in PAGE] == []
    rates = [name for name in PriceEntry.__struct_fields__ if "per_" in name]
    assert [name for name in rates if f"`{name}`" not in PAGE] == []


def test_the_page_says_how_large_the_catalogue_is() -> None:
    lists = json.loads(resources.files("pricing.data").joinpath("catalogue.json").read_bytes())["providers"]
    models = sum(len(one["models"]) for one in lists)
    assert f"{len(lists)} price lists, {models} models" in PAGE
    supplement = load().supplement
    assert supplement is not None
    assert f"{sum(len(one.models) for one in supplement.lists.values())} models from [litellm]" in PAGE


def test_the_library_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code = next(iter(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)))
    scope = {"usage": Usage(input_tokens_total=1000, output_tokens_total=500), "time": time}
    exec(compile(code, "docs/pricing.md", "exec"), scope)
    assert "total    $0.006\n" in capsys.readouterr().out
