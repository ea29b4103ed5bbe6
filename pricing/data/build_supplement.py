"""Writes ``supplement.json`` from a litellm wheel: ``python -m pricing.data.build_supplement litellm-….whl``.

Prices of models that the catalogue has no price for. A model is left out where litellm prices it in a way that a usage
can't express (by video second, by pixel): half a price is none. Facts only; litellm is MIT-licensed, see NOTICE.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import zipfile
from decimal import Decimal
from pathlib import Path
from time import time_ns
from typing import Any

from msgspec.structs import replace

from pricing.catalogue import Catalogue, Source, load
from pricing.data.build_models import GROUPS, MEMBER, bare, belongs
from pricing.update import parse, save

TARGET = Path(__file__).parent / "supplement.json"
LEFT_OUT = {"ollama"}
"""Kinds that run where the price list can't know what they cost."""
SIZE_CLASSES = re.compile(r"^(?:fireworks|together)-ai-")
FLAT = {"azure", "bedrock", "openai"}
"""Kinds whose names have no slash: what litellm puts before one is a region, a commitment or a picture's size."""
KEYS: dict[str, tuple[str, int]] = {
    "input_cost_per_token": ("input_mtok", 1_000_000),
    "output_cost_per_token": ("output_mtok", 1_000_000),
    "cache_read_input_token_cost": ("cache_read_mtok", 1_000_000),
    "cache_read_input_audio_token_cost": ("cache_audio_read_mtok", 1_000_000),
    "cache_creation_input_token_cost": ("cache_write_mtok", 1_000_000),
    "cache_creation_input_token_cost_above_1hr": ("cache_write_1h_mtok", 1_000_000),
    "input_cost_per_audio_token": ("input_audio_mtok", 1_000_000),
    "output_cost_per_audio_token": ("output_audio_mtok", 1_000_000),
    "input_cost_per_image_token": ("input_image_mtok", 1_000_000),
    "output_cost_per_image_token": ("output_image_mtok", 1_000_000),
    "output_cost_per_reasoning_token": ("output_reasoning_mtok", 1_000_000),
    "input_cost_per_query": ("rerank_searches_kcount", 1000),
    "input_cost_per_request": ("requests_kcount", 1000),
    "input_cost_per_character": ("input_mchars", 1_000_000),
    "output_cost_per_image": ("output_images_kcount", 1000),
    "ocr_cost_per_page": ("input_document_kpages", 1000),
}
"""litellm's dollars for one, and the catalogue's key with the quantity its dollars are for."""
TIERS = {
    "_priority": {"service_tier": "priority"},
    "_flex": {"service_tier": "flex"},
    "_batches": {"processing": "batch"},
}
ABOVE = re.compile(r"_above_(\d+)k_tokens")
BESIDE = (
    "search_context_cost_per_query",
    "code_interpreter_cost_per_session",
    "google_maps_grounding_cost_per_query",
    "annotation_cost_per_page",
    "cache_creation_input_audio_token_cost",
    "cache_read_input_image_token_cost",
    "output_vector_size",
)
"""Prices of tools and parts that no usage holds."""


def main() -> int:
    """Builds the file; prints what it holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, default=TARGET)
    arguments = parser.parse_args()
    with zipfile.ZipFile(arguments.wheel) as wheel:
        rows: dict[str, Any] = json.loads(wheel.read(MEMBER), parse_float=Decimal)
    known = load()
    lists = [
        {"id": kind, "models": list(models_of(rows, kind, groups, known).values())}
        for kind, groups in GROUPS.items()
        if kind not in LEFT_OUT
    ]
    file = parse(json.dumps(lists).encode(), time_ns()).file
    source = Source(
        name="litellm",
        version=arguments.wheel.name.split("-")[1],
        date=file.source.date,
        licence="MIT",
        url="https://github.com/BerriAI/litellm",
    )
    save(replace(file, source=source), arguments.out)
    sys.stdout.write(f"{arguments.out}: {sum(len(one['models']) for one in lists)} models\n")
    return 0


def models_of(rows: dict[str, Any], kind: str, groups: tuple[str, ...], known: Catalogue) -> dict[str, dict[str, Any]]:
    """Models of one kind that the catalogue itself has no price for, by name; the first row of a name counts."""
    models: dict[str, dict[str, Any]] = {}
    for key in sorted(rows):
        row = rows[key]
        if not belongs(row.get("litellm_provider") or "", groups):
            continue
        name = bare(key, row["litellm_provider"])
        if kind in FLAT and "/" in key.removeprefix(row["litellm_provider"] + "/").removeprefix(kind + "/"):
            continue
        found = known.find(kind, name)
        if (
            name in models
            or SIZE_CLASSES.match(name)
            or (found is not None and not found.version.startswith("litellm"))
        ):
            continue
        prices = prices_of(row)
        if prices is None:
            continue
        standard, variants = prices
        models[name] = {"id": name, "match": {"equals": name}, "prices": standard}
        if variants:
            models[name]["price_variants"] = variants
    return models


def prices_of(row: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
    """Standard prices and variants of a row; None where it has none, only zeros, or any that can't be expressed."""
    found: dict[str, dict[str, dict[int, Decimal]]] = {}
    for field, value in row.items():
        if "cost" not in field or not isinstance(value, Decimal | int) or isinstance(value, bool):
            continue
        name, tier, above = taken_apart(field)
        if name == "input_cost_per_second" and row.get("mode") == "audio_transcription":
            key, per = "input_audio_hours", 3600
        elif name in KEYS and (name != "output_cost_per_image" or str(row.get("mode")).startswith("image_")):
            key, per = KEYS[name]
        elif name.startswith(BESIDE) or not value:
            continue
        else:
            return None
        found.setdefault(tier, {}).setdefault(key, {})[above] = Decimal(value) * per
    if any(0 not in steps for prices in found.values() for steps in prices.values()) or not found.get(""):
        return None
    if not any(amount for steps in found[""].values() for amount in steps.values()):
        return None
    variants = [
        {"when": TIERS[tier], "prices": {key: price(steps) for key, steps in prices.items()}}
        for tier, prices in sorted(found.items())
        if tier
    ]
    return {key: price(steps) for key, steps in found[""].items()}, variants


def taken_apart(field: str) -> tuple[str, str, int]:
    """A field as name, tier and the input size above which it holds."""
    tier = next((suffix for suffix in TIERS if field.endswith(suffix)), "")
    name = field.removesuffix(tier)
    above = ABOVE.search(name)
    return ABOVE.sub("", name), tier, int(above[1]) * 1000 if above else 0


def price(steps: dict[int, Decimal]) -> Any:
    """One price as the catalogue writes it."""
    base, *tiers = (
        {"start": start, "price": format(amount.normalize(), "f")} for start, amount in sorted(steps.items())
    )
    return {"base": base["price"], "tiers": tiers} if tiers else base["price"]


if __name__ == "__main__":
    sys.exit(main())
