"""``spendgate price``: what a call costs, and which price says so."""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING, Any

from gateway.cli.common import UserError, command, configuration, count, moment

if TYPE_CHECKING:
    from gateway.config.schema import Config
    from pricing.book import Price, PriceBook

PARTS = {
    "input": "input_tokens_total", "output": "output_tokens_total", "cache-read": "cache_read_tokens",
    "cache-write": "cache_write_tokens", "cache-write-1h": "cache_write_1h_tokens", "reasoning": "reasoning_tokens",
    "input-audio": "input_audio_tokens", "output-audio": "output_audio_tokens", "input-image": "input_image_tokens",
    "output-image": "output_image_tokens", "web-searches": "web_search_requests", "search-units": "search_units",
    "images": "output_images", "pages": "pages", "characters": "input_characters",
    "audio-milliseconds": "audio_milliseconds",
}  # fmt: skip
"""Option → field of the usage. Parts are contained in their total: cached input in input, reasoning in output."""
FIRST = ("openai", "anthropic", "gemini")
"""Makers whose own price comes before a reseller's, where a model has both."""


def add_parser(commands: Any) -> None:
    made = command(
        commands,
        "price",
        "what a call costs and which price says so",
        "spendgate price gpt-4o-mini --input 1000 --output 500 --cache-read 200",
    )
    made.add_argument("model", metavar="MODEL", help="MODEL, or PROVIDER/MODEL")
    for name, field in PARTS.items():
        made.add_argument(f"--{name}", type=count, default=0, metavar="N", help=field.replace("_", " "))
    made.add_argument("--provider", metavar="NAME", help="a provider of the configuration, or a price list")
    made.add_argument("--service-tier", default="", metavar="TIER", help="batch, flex, priority…")
    made.add_argument("--region", default="", metavar="REGION")
    made.add_argument("--at", type=moment, metavar="WHEN", help="date or RFC 3339 time (default: now)")
    made.add_argument("--format", choices=("text", "json"), default="text")
    made.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from gateway.assembly import book_of
    from gateway.config.schema import Config
    from gateway.wire.usage import Usage
    from pricing.catalogue import load
    from pricing.explain import explain, text

    # without a configuration, the catalogue alone answers
    wanted = options.config.exists() or options.config_given
    config = configuration(options.config) if wanted else Config()
    book = book_of(config, load())
    at_ns = options.at if options.at is not None else time.time_ns()
    price = _find(options, config, book, at_ns)
    usage = Usage(**{field: getattr(options, name.replace("-", "_")) for name, field in PARTS.items()})
    found = explain(price, usage, at_ns=at_ns, service_tier=options.service_tier, region=options.region)
    if options.format == "json":
        import msgspec

        print(json.dumps(msgspec.to_builtins(found), indent=2))
    else:
        print(text(found), end="")
    return 0


def _find(options: argparse.Namespace, config: Config, book: PriceBook, at_ns: int) -> Price:
    from gateway.wire import dialects

    lists = {name: p.price_as or dialects.get(p.kind).price_as for name, p in config.providers.items()}
    provider, model = options.provider, options.model
    first, slash, rest = model.partition("/")
    if provider is None and slash and (first in lists or book.catalogue.list_id(first) is not None):
        price = book.find(lists.get(first, first), rest, at_ns)
        if price is not None:
            return price
    if provider is not None:
        if provider not in lists and book.catalogue.list_id(provider) is None and not _has_entries(book, provider):
            from gateway.config.problems import near

            raise UserError(f'there is no price list "{provider}". {near(provider, [*lists, *book.catalogue.lists])}')
        candidates = [lists.get(provider, provider)]
    else:
        real = [name for name in lists.values() if name != "simulated"]
        candidates = list(dict.fromkeys([*real, *FIRST, *dialects.kinds(), *book.catalogue.lists]))
    for name in candidates:
        price = book.find(name, model, at_ns)
        if price is not None:
            return price
    raise UserError(f'no price is known for "{model}". {_advice(model, book)}')


def _has_entries(book: PriceBook, provider: str) -> bool:
    return any(entry.provider.lower() == provider.lower() for entry in book.entries)


def _advice(model: str, book: PriceBook) -> str:
    from gateway.config.problems import near

    hint = near(model, {one.id for prices in book.catalogue.lists.values() for one in prices.models})
    return hint or "Add a [[prices]] entry, or name its --provider."
