"""``spendgate prices``: take a newer catalogue in, and what it would change, in dollars."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gateway.cli.common import UserError, catalogue, command, configuration, forward, ledger_file, moment

if TYPE_CHECKING:
    from gateway.config.schema import Config
    from pricing.catalogue import Catalogue
    from pricing.diff import Call

DAY_NS = 86_400_000_000_000
MONTH_DAYS = 30
FETCH_SECONDS = 60
SHOWN = 40


def add_parser(commands: Any) -> None:
    top = commands.add_parser(
        "prices",
        help="take a newer price catalogue, and what it would change",
        epilog="example: spendgate prices diff --from data.json",
    )
    actions = top.add_subparsers(dest="action", metavar="ACTION", required=True)
    taken = command(
        actions, "update", "take a newer price catalogue in", "spendgate prices update --from genai-prices-data.json"
    )
    taken.add_argument(
        "--from", dest="source", required=True, metavar="FILE|URL", help="this package's format or genai-prices' own"
    )
    taken.add_argument("--dry-run", action="store_true", help="read and check it, say what differs, keep nothing")
    taken.set_defaults(run=run_update)
    compared = command(
        actions,
        "diff",
        "what a catalogue would change for the calls of the last month, in dollars",
        "spendgate prices diff --from genai-prices-data.json",
    )
    compared.add_argument("--from", dest="source", metavar="FILE|URL", help="default: the package's own catalogue")
    compared.add_argument("--since", type=moment, metavar="WHEN", help=f"default: {MONTH_DAYS} days ago")
    compared.add_argument("--until", type=moment, metavar="WHEN", help="default: now")
    compared.add_argument("--models", action="store_true", help="also every model that differs, used or not")
    compared.add_argument("--format", choices=("text", "json"), default="text")
    compared.set_defaults(run=run_diff)


def run_update(options: argparse.Namespace) -> int:
    from pricing.diff import catalogue_text
    from pricing.update import CatalogueError, take

    config = configuration(options.config)
    base = options.config.resolve().parent
    from gateway.config.catalogue import catalogue_path

    target = catalogue_path(config, base)
    try:
        if not options.dry_run:
            target.parent.mkdir(parents=True, exist_ok=True)
        done = take(
            options.source, target, catalogue(config, options), _fetch, time.time_ns(), keep=not options.dry_run
        )
    except CatalogueError as error:
        more = f" (and {len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
        raise UserError(f"{options.source} is not taken: {error.problems[0]}{more}") from error
    except OSError as error:
        raise UserError(f"{options.source} can't be read: {error}") from error
    lines = catalogue_text(done.changes).splitlines()
    print("\n".join(lines[:SHOWN]) + (f"\n… and {len(lines) - SHOWN:,} lines more" if len(lines) > SHOWN else ""))
    if done.remarks:
        print(f"{len(done.remarks):,} prices in it are for units that no answer reports; they are not billed")
    if options.dry_run:
        print(f"{done.before} -> {done.after}: {len(done.changes):,} models differ; nothing was kept")
    else:
        print(f"{done.before} -> {done.after}: {len(done.changes):,} models differ; kept in {target}")
        print("A running gateway takes it when its configuration is reloaded (SIGHUP).")
    return 0


def run_diff(options: argparse.Namespace) -> int:
    from gateway.assembly import book_of
    from pricing.diff import catalogue_text, compare, compare_catalogues, comparison_text

    config = configuration(options.config)
    before, after = catalogue(config, options), _proposed(options)
    until = options.until if options.until is not None else time.time_ns()
    since = options.since if options.since is not None else until - MONTH_DAYS * DAY_NS
    forward(options, since, until)
    found = compare(book_of(config, before), book_of(config, after), _calls(options, config, since, until))
    if options.format == "json":
        import msgspec

        whole = {"before": before.version, "after": after.version, **msgspec.to_builtins(found)}
        if options.models:
            whole["models"] = msgspec.to_builtins(compare_catalogues(before, after))
        print(json.dumps(whole, indent=1))
        return 0
    print(f"{before.version} -> {after.version}, over the calls of the period:")
    print(comparison_text(found), end="")
    if options.models:
        print(catalogue_text(compare_catalogues(before, after)), end="")
    return 0


def _proposed(options: argparse.Namespace) -> Catalogue:
    from pricing.catalogue import catalogue_of, load
    from pricing.update import CatalogueError, parse, read_bytes

    if options.source is None:
        return load()
    try:
        return catalogue_of(parse(read_bytes(options.source, _fetch), time.time_ns()).file)
    except CatalogueError as error:
        raise UserError(f"{options.source} is no catalogue: {error.problems[0]}") from error
    except OSError as error:
        raise UserError(f"{options.source} can't be read: {error}") from error


def _fetch(url: str) -> bytes:
    import urllib.request

    from pricing.update import MAX_BYTES

    with urllib.request.urlopen(url, timeout=FETCH_SECONDS) as answer:  # noqa: S310 - http and https only
        raw: bytes = answer.read(MAX_BYTES + 1)
        return raw


def _calls(options: argparse.Namespace, config: Config, since_ns: int, until_ns: int) -> Iterator[Call]:
    """Calls of the period as they would be priced."""
    from gateway.config.price_lists import price_lists
    from gateway.ledger.connections import connect_reader
    from gateway.ledger.edges import horizon_ns
    from gateway.ledger.reprice import priced_again
    from gateway.ledger.rows import rfc3339
    from gateway.wire.batches import SUMMED
    from pricing.diff import Call

    lists = price_lists(config)
    connection = connect_reader(ledger_file(options))
    try:
        kept = horizon_ns(connection)
        if since_ns < kept:
            print(f"Calls from before {rfc3339(kept)} are left out: their records are gone.", file=sys.stderr)
        for one in priced_again(connection, since_ns, until_ns):
            yield Call(
                provider=lists.get(one.provider, one.provider),
                model=one.model,
                usage=one.usage,
                at_ns=one.started_ns,
                service_tier=one.service_tier,
                region=one.region,
                reported_cost_nanousd=one.reported_cost_nanousd,
                model_requested=one.model_requested,
                summed=one.api in SUMMED,
            )
    finally:
        connection.close()
