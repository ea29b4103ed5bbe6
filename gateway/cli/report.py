"""``spendgate report``: spend and tokens, by any dimension."""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from datetime import UTC, datetime
from typing import Any

from gateway.cli.common import UserError, command, dollars, ledger_file, moment, table


def add_parser(commands: Any) -> None:
    made = command(
        commands,
        "report",
        "spend and tokens by any dimension",
        "spendgate report --by team,workflow,model --since 2026-11-01",
    )
    made.add_argument(
        "--by",
        default="team,workflow,model",
        metavar="LIST",
        help="team, workflow, key, provider, model, hour, day, month, tag.NAME (default: team,workflow,model)",
    )
    made.add_argument("--since", type=moment, metavar="WHEN", help="date or RFC 3339 time (default: this month)")
    made.add_argument("--until", type=moment, metavar="WHEN", help="default: now")
    made.add_argument("--where", action="append", default=[], metavar="DIMENSION=VALUE", help="only these calls")
    made.add_argument("--format", choices=("table", "json", "csv"), default="table")
    made.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from gateway.ledger.schema import connect_reader
    from gateway.reports.spend import UnknownDimensionError, spend

    by = [name.strip() for name in options.by.split(",") if name.strip()]
    filters = []
    for condition in options.where:
        name, separator, value = condition.partition("=")
        if not separator:
            raise UserError(f"--where {condition}: must be DIMENSION=VALUE, like team=search")
        filters.append((name, value))
    now = datetime.now(UTC)
    since = options.since
    if since is None:
        since = int(now.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()) * 1_000_000_000
    until = options.until if options.until is not None else time.time_ns()
    connection = connect_reader(ledger_file(options))
    try:
        rows = spend(connection, by, since, until, filters)
    except UnknownDimensionError as error:
        raise UserError(str(error)) from error
    finally:
        connection.close()
    if options.format == "table":
        _table(by, rows)
    else:
        _plain(by, rows, options.format)
    return 0


def _table(by: list[str], rows: list[Any]) -> None:
    if not rows:
        print("No calls in this period. Make one (see README), or look further back with --since.")
        return
    headers = [*by, "requests", "input", "cached", "output", "cost USD"]
    lines = [
        [
            *row.group,
            f"{row.requests:,}",
            f"{row.input_tokens:,}",
            f"{row.cache_read_tokens:,}",
            f"{row.output_tokens:,}",
            dollars(row.cost_nanousd),
        ]
        for row in rows
        if row.requests or row.cost_nanousd
    ]
    total = [
        *(["total"] + [""] * (len(by) - 1) if by else []),
        f"{sum(row.requests for row in rows):,}",
        f"{sum(row.input_tokens for row in rows):,}",
        f"{sum(row.cache_read_tokens for row in rows):,}",
        f"{sum(row.output_tokens for row in rows):,}",
        dollars(sum(row.cost_nanousd for row in rows)),
    ]
    print(table(headers, [*lines, total] if by else lines, set(range(len(by), len(headers)))))
    notes = {
        "rejected": "calls were refused",
        "estimated": "calls rest on an estimate",
        "recovered": "calls were recovered after a crash",
        "unpriced": "calls have no known price",
    }
    for name, text in notes.items():
        count = sum(getattr(row, name) for row in rows)
        if count:
            print(f"{count:,} {text}")


def _plain(by: list[str], rows: list[Any], style: str) -> None:
    fields = (
        "requests", "rejected", "errors", "estimated", "recovered", "unpriced", "input_tokens", "output_tokens",
        "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "cost_nanousd",
    )  # fmt: skip
    records = [
        {**dict(zip(by, row.group, strict=True)), **{name: getattr(row, name) for name in fields}} for row in rows
    ]
    for record, row in zip(records, rows, strict=True):
        record["cost_usd"] = dollars(row.cost_nanousd, 9)
    if style == "json":
        json.dump(records, sys.stdout, indent=1)
        print()
        return
    writer = csv.DictWriter(sys.stdout, [*by, *fields, "cost_usd"])
    writer.writeheader()
    writer.writerows(records)
