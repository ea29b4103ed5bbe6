"""What genai-prices itself makes of a usage: the judge of our bills. Exact, in fractions, from its own objects."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatch
from fractions import Fraction
from functools import cache
from importlib import resources
from typing import Any

from genai_prices.data import providers
from genai_prices.decompose import compute_leaf_values
from genai_prices.types import ModelInfo, Provider, TieredPrices
from genai_prices.types import Usage as GenaiUsage
from genai_prices.units import UnitRegistry
from msgspec.structs import replace

from gateway.wire.usage import Usage
from pricing.money import NANO

REGISTRY = UnitRegistry(__import__("genai_prices.data_units", fromlist=["unit_data"]).unit_data)
ALL = list(providers)
BY_ID = {provider.id: provider for provider in ALL}
MODELS = [(provider, model) for provider in ALL for model in provider.models]


ADDED = json.loads(resources.files("pricing.data").joinpath("additions.json").read_bytes())

OWN_NAMES: dict[str, set[str]] = {}
"""By list: names that the additions price themselves."""
for _one in ADDED:
    OWN_NAMES.setdefault(_one["list"], set()).update(_one.get("names", ()))


def as_listed(list_id: str, model_id: str, usage: Usage) -> Usage:
    """A usage without the searches that genai-prices has no price for and the additions have."""
    for more in ADDED:
        models = () if more.get("when") else more.get("models", ())
        if more["list"] == list_id and any(fnmatch(model_id, text) for text in models):
            assert set(more["prices"]) == {"web_searches_kcount"}
            return replace(usage, web_search_requests=0)
    return usage


@cache
def name_of(list_id: str, model_id: str) -> str | None:
    """A name that finds this model in its list: its id, else the literal of one of its match clauses."""
    provider = BY_ID[list_id]
    wanted = next(model for model in provider.models if model.id == model_id)
    for name in (model_id, *_literals(wanted.match)):
        if provider.find_model(name) is wanted:
            return name
    return None


def _literals(clause: Any) -> list[str]:
    out: list[str] = []
    for value in vars(clause).values():
        if isinstance(value, list):
            out += [text for inner in value for text in _literals(inner)]
        else:
            out.append(value)
    return out


def genai_values(usage: Usage, groq_minimum: bool = False) -> dict[str, int | Fraction]:
    """Our usage in genai-prices' words."""
    milliseconds = usage.audio_milliseconds
    if groq_minimum and milliseconds:
        milliseconds = max(milliseconds, 10_000)
    return {
        "input_tokens": usage.input_tokens_total,
        "output_tokens": usage.output_tokens_total,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "cache_write_1h_tokens": usage.cache_write_1h_tokens,
        "output_reasoning_tokens": usage.reasoning_tokens,
        "input_audio_tokens": usage.input_audio_tokens,
        "input_image_tokens": usage.input_image_tokens,
        "output_audio_tokens": usage.output_audio_tokens,
        "output_image_tokens": usage.output_image_tokens,
        "cache_audio_read_tokens": usage.cache_read_audio_tokens,
        "cache_image_read_tokens": usage.cache_read_image_tokens,
        "input_video_tokens": usage.input_video_tokens,
        "web_searches": usage.web_search_requests,
        "rerank_searches": usage.search_units,
        "input_characters": usage.input_characters,
        "audio_seconds": Fraction(milliseconds, 1000),
        "input_audio_seconds": Fraction(milliseconds, 1000),
        "input_document_pages": usage.pages,
    }


def exact_nanousd(
    provider: Provider, model: ModelInfo, usage: Usage, at_ns: int, context: dict[str, str] | None = None
) -> Fraction:
    """The cost by genai-prices' rules and numbers, as an exact fraction of a nanodollar."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_ns // 1000)
    own = any(model is one for one in provider.models)
    prices = model.get_prices(moment, context if own else None)
    priced = {key: value for key, value in vars(prices).items() if value is not None}
    units = {
        REGISTRY.unit_for_price_key(key).usage_key: (REGISTRY.unit_for_price_key(key), priced[key]) for key in priced
    }
    groq = provider.id == "groq" and model.id in ("whisper-large-v3", "whisper-large-v3-turbo")
    values = genai_values(usage, groq)

    class Reported:
        pass

    for key, value in values.items():
        # the split counts whole numbers: milliseconds stand for seconds here
        setattr(Reported, key, int(value * 1000) if key.endswith("seconds") else value)
    leaves = compute_leaf_values(
        {key for key in units if key != "requests"}, Reported, {key: unit for key, (unit, _) in units.items()}
    )
    total = Fraction(0)
    for key, (unit, price) in units.items():
        count = Fraction(1) if key == "requests" else Fraction(leaves[key])
        if key.endswith("seconds"):
            count /= 1000
        if isinstance(price, TieredPrices):
            chosen = price.base
            for tier in price.tiers:
                if usage.input_tokens_total > tier.start:
                    chosen = tier.price
        else:
            chosen = price
        total += Fraction(chosen) * count / unit.per
    return total * NANO


def as_genai(usage: Usage) -> GenaiUsage:
    """For ``calc_price`` itself."""
    values = {key: float(value) if isinstance(value, Fraction) else value for key, value in genai_values(usage).items()}
    return GenaiUsage(**values)
