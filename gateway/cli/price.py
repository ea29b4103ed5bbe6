"""``spendgate price``: what a call costs, and which price says so."""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING, Any

from gateway.cli.common import UserError, catalogue, command, configuration, count, ledger_file, moment, table

if TYPE_CHECKING:
    from gateway.config.schema import Config
    from pricing.book import Price, PriceBook

PARTS = {
    "input": "input_tokens_total", "output": "output_tokens_total", "cache-read": "cache_read_tokens",
    "cache-write": "cache_write_tokens", "cache-write-1h": "cache_write_1h_tokens", "reasoning": "reasoning_tokens",
    "input-audio": "input_audio_tokens", "output-audio": "output_audio_tokens", "input-image": "input_image_tokens",
    "input-video": "input_video_tokens",
    "output-image": "output_image_tokens", "web-searches": "web_search_requests", "search-units": "search_units",
    "images": "output_images", "pages": "pages", "characters": "input_characters",
    "audio-milliseconds": "audio_milliseconds",
}  # fmt: skip
"""Option → field of the usage. Parts are contained in their total: cached input in input, reasoning in output."""
MISSING_DAYS = 30
SIMULATED = "simulated"
FIRST = ("openai", "anthropic", "gemini")
"""Makers whose own price comes before a reseller's, where a model has both."""


def add_parser(commands: Any) -> None:
    made = command(
        commands,
        "price",
        "what a call costs and which price says so",
        "spendgate price gpt-4o-mini --input 1000 --output 500 --cache-read 200",
    )
    made.add_argument("model", metavar="MODEL", nargs="?", help="MODEL, or PROVIDER/MODEL")
    made.add_argument("--missing", action="store_true", help="list the models that were used without a price")
    made.add_argument("--since", type=moment, metavar="WHEN", help="of --missing: from here on (default: 30 days ago)")
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
    from pricing.explain import explain, text

    if options.missing:
        return _missing(options)
    if not options.model:
        raise UserError("name a MODEL, or ask for --missing")
    # without a configuration, the catalogue alone answers
    wanted = options.config.exists() or options.config_given
    config = configuration(options.config) if wanted else Config()
    book = book_of(config, catalogue(config, options))
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


def _missing(options: argparse.Namespace) -> int:
    """The models that were used without a price, and whether they have one now."""
    import msgspec

    from gateway.assembly import book_of
    from gateway.config.price_lists import price_lists
    from gateway.ledger.connections import connect_reader
    from gateway.ledger.rows import rfc3339
    from gateway.reports.missing import missing

    config = configuration(options.config)
    book, lists = book_of(config, catalogue(config, options)), price_lists(config)
    now_ns = time.time_ns()
    since = options.since if options.since is not None else now_ns - MISSING_DAYS * 86_400_000_000_000
    connection = connect_reader(ledger_file(options))
    found = missing(connection, since, now_ns)
    connection.close()
    known = [book.find(lists.get(one.provider, one.provider), one.model, now_ns) for one in found]
    if options.format == "json":
        rows = [
            {**msgspec.to_builtins(one), "first_at": rfc3339(one.first_ns), "last_at": rfc3339(one.last_ns),
             "priced_now": price is not None}
            for one, price in zip(found, known, strict=True)
        ]  # fmt: skip
        print(json.dumps(rows, indent=2))
        return 0
    if not found:
        print("Every call of this period has a price.")
        return 0
    lines = [
        [one.provider, one.model, f"{one.calls:,}", f"{one.input_tokens:,}", f"{one.output_tokens:,}",
         rfc3339(one.first_ns)[:13] + "h", rfc3339(one.last_ns)[:13] + "h", "yes" if price is not None else "no"]
        for one, price in zip(found, known, strict=True)
    ]  # fmt: skip
    headers = ["provider", "model", "calls", "input", "output", "first", "last", "priced now"]
    print(table(headers, lines, {2, 3, 4}))
    print("Price them with [[prices]] or spendgate prices update, then correct the past with spendgate ledger reprice.")
    return 0


def _find(options: argparse.Namespace, config: Config, book: PriceBook, at_ns: int) -> Price:
    from gateway.config.price_lists import price_lists
    from gateway.wire import dialects

    lists = price_lists(config)
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
        guessed = dict.fromkeys([*lists.values(), *FIRST, *dialects.kinds(), *book.catalogue.lists])
        # what the built-in provider's calls cost says nothing of a model that nobody prices
        candidates = [name for name in guessed if name != SIMULATED]
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
