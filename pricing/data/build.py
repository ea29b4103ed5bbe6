"""Writes ``catalogue.json`` from the installed genai-prices package: ``python -m pricing.data.build``.

Facts only: names, match rules, prices and when they hold. genai-prices is MIT-licensed, see NOTICE.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from time import time_ns
from typing import Any

from msgspec.structs import replace

from pricing.catalogue import Source
from pricing.update import parse, save

TARGET = Path(__file__).parent / "catalogue.json"


def main() -> int:
    """Builds the file; prints what it holds."""
    from genai_prices.data import providers

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=TARGET)
    target = parser.parse_args().out
    version = metadata.version("genai-prices")
    raw = json.dumps([provider_json(provider) for provider in providers]).encode()
    file = parse(raw, time_ns()).file
    source = Source(
        name="genai-prices",
        version=version,
        date=file.source.date,
        licence="MIT",
        url="https://github.com/pydantic/genai-prices",
    )
    save(replace(file, source=source), target)
    models = sum(len(one.models) for one in file.providers)
    sys.stdout.write(f"{target}: genai-prices {version}, {len(file.providers)} lists, {models} models\n")
    return 0


def provider_json(provider: Any) -> dict[str, Any]:
    """One price list."""
    out: dict[str, Any] = {"id": provider.id}
    if provider.provider_match is not None:
        out["provider_match"] = clause_json(provider.provider_match)
    if provider.fallback_model_providers:
        out["fallback_model_providers"] = list(provider.fallback_model_providers)
    out["models"] = [model_json(model) for model in provider.models]
    return out


def model_json(model: Any) -> dict[str, Any]:
    """One model."""
    out: dict[str, Any] = {"id": model.id, "match": clause_json(model.match)}
    if model.context_window:
        out["context_window"] = model.context_window
    if isinstance(model.prices, list):
        out["prices"] = [conditional_json(one) for one in model.prices]
    else:
        out["prices"] = prices_json(model.prices)
    if model.price_variants:
        out["price_variants"] = [{"when": dict(one.when)} | conditional_json(one) for one in model.price_variants]
    return out


def conditional_json(one: Any) -> dict[str, Any]:
    """Prices with the constraint under which they hold."""
    out: dict[str, Any] = {}
    if one.constraint is not None:
        out["constraint"] = {
            field.name: moment(getattr(one.constraint, field.name)) for field in dataclasses.fields(one.constraint)
        }
    out["prices"] = prices_json(one.prices)
    return out


def moment(value: date | time) -> str:
    """A date, or a time of day in UTC without zone."""
    if isinstance(value, time) and value.tzinfo is not None:
        value = datetime.combine(date(1970, 1, 2), value).astimezone(UTC).time()
    return value.isoformat()


def prices_json(prices: Any) -> dict[str, Any]:
    """Dollars by key, as text: exact."""
    return {key: price_json(value) for key, value in vars(prices).items() if value is not None}


def price_json(value: Any) -> Any:
    """One price, by input size where it depends on it."""
    if isinstance(value, Decimal):
        return str(value)
    return {"base": str(value.base), "tiers": [{"start": t.start, "price": str(t.price)} for t in value.tiers]}


def clause_json(clause: Any) -> dict[str, Any]:
    """A match clause; the field's name is its type."""
    ((name, value),) = vars(clause).items()
    if isinstance(value, list):
        return {name.rstrip("_"): [clause_json(inner) for inner in value]}
    return {name: value}


if __name__ == "__main__":
    sys.exit(main())
