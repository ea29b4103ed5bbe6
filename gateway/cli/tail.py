"""``spendgate tail``: records as they are settled."""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.parse
from typing import Any

from gateway.cli.common import UserError, command, count, dollars, seconds, takes_token

FILTERS = ("team", "workflow", "key", "provider", "model", "outcome")
PAGE = 1000


def add_parser(commands: Any) -> None:
    made = command(commands, "tail", "records as they are settled", "spendgate tail --team search")
    for name in FILTERS:
        made.add_argument(f"--{name}", metavar=name[0].upper(), help="only these calls")
    made.add_argument("--last", type=count, default=10, metavar="N", help="begin with so many (default: 10)")
    made.add_argument("--no-follow", action="store_true", help="end after those")
    made.add_argument("--interval", type=seconds, default=1.0, metavar="SECONDS", help="default: 1")
    made.add_argument("--format", choices=("text", "json"), default="text", help="json: a record a line")
    takes_token(made)
    made.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from gateway.cli.asking import Gateway

    if options.last > PAGE:
        raise UserError(f"--last is at most {PAGE}: see spendgate ledger export")
    gateway = Gateway(options)
    query = {name: getattr(options, name) for name in FILTERS if getattr(options, name) is not None}
    show = _text if options.format == "text" else json.dumps
    said = gateway.needed(_path(query, limit=max(1, options.last)))
    _print(said["requests"] if options.last else [], show)
    waiting = False
    while not options.no_follow:
        after = said["after"]
        time.sleep(max(0.05, options.interval))
        found = gateway.ask(_path(query, limit=PAGE, after=after))
        if found is None:
            if not waiting:
                print(f"spendgate: no gateway answers at {gateway.address}; waiting", file=sys.stderr)
            waiting = True
            continue
        waiting, said = False, found
        _print(said["requests"], show)
    return 0


def _path(query: dict[str, str], **more: int) -> str:
    return "/api/requests/settled?" + urllib.parse.urlencode({**query, **more})


def _print(records: list[dict[str, Any]], show: Any) -> None:
    for record in records:
        print(show(record))
    sys.stdout.flush()


def _text(record: dict[str, Any]) -> str:
    """A record as a line: when it was settled, who, what, how it ended, what it used and cost, how long it took."""
    from gateway.cli.tables import encodable, plain

    usage = record["usage"]
    who = f"{record['team']}/{record['workflow']}"
    end = record["outcome"] if record["outcome"] != "completed" else ""
    if record["refused_by"]:
        end += f" by {record['refused_by']}"
    tokens = f"{usage.get('input_tokens_total', 0):,} in {usage.get('output_tokens_total', 0):,} out"
    unsure = "~" if record["usage_source"] == "estimated" else ""
    cost = f"{unsure}${dollars(record['cost_nanousd'])}" if record["priced"] else "no price"
    parts = (
        record["ended_at"][:19].replace("T", " "),
        f"{record['status'] or '-':>3}",
        f"{who:<24}",
        f"{record['model'] or record['model_requested']:<24}",
        f"{tokens:>20}",
        f"{cost:>12}",
        f"{record['latency_ms'] / 1000:7.2f}s",
        end,
    )
    return encodable(plain("  ".join(parts).rstrip()))
