"""``spendgate allocate``: who bears a month's costs, shared ones included."""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from gateway.cli.common import UserError, command, configuration, dollars, ledger_file, takes_by

if TYPE_CHECKING:
    from datetime import date

    from gateway.finops.allocation import Share

FORMATS = ("table", "json", "csv", "markdown", "html")


def add_parser(commands: Any) -> None:
    made = command(
        commands,
        "allocate",
        "a month's costs by team, with shares of fees and minimums",
        "spendgate allocate --month 2026-10 --by team,workflow",
    )
    made.add_argument("--month", metavar="YYYY-MM", help="default: this month, so far")
    takes_by(made, "team, or team,workflow (default: team)", "team")
    made.add_argument("--format", choices=FORMATS, default="table")
    made.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from gateway.finops.series import day_start_ns, month_of
    from gateway.finops.showback import GROUPINGS, showback
    from gateway.ledger.connections import connect_reader

    by = [name.strip() for name in options.by.split(",")]
    if by not in GROUPINGS:
        raise UserError(f"--by {options.by}: costs are allocated by team, or by team,workflow")
    day = _month(options.month)
    first, end = (day_start_ns(one) for one in month_of(day))
    costs = configuration(options.config).shared_costs
    connection = connect_reader(ledger_file(options))
    try:
        shares = showback(connection, costs, by, first, end)
    finally:
        connection.close()
    names = [cost.name for cost in costs if any(cost.name in share.shared for share in shares)]
    if options.format in ("json", "csv"):
        _records(shares, by, f"{day:%Y-%m}", names, options.format)
    else:
        _shown(shares, by, f"{day:%Y-%m}", names, options.format, time.time_ns() < end)
    return 0


def _month(text: str | None) -> date:
    from gateway.finops.series import month_named, today_of

    if text is None:
        return today_of(time.time_ns()).replace(day=1)
    try:
        return month_named(text)
    except ValueError as error:
        raise UserError(f"--month {text}: must be like 2026-11") from error


def _records(shares: list[Share], by: list[str], month: str, names: list[str], style: str) -> None:
    from gateway.reports.cells import cell

    shown = cell if style == "csv" else str
    records = [
        {
            "month": month,
            **dict(zip(by, map(shown, share.group), strict=True)),
            "direct_nanousd": share.direct,
            **({"shared_nanousd": share.shared} if style == "json" else {}),
            **({f"shared.{name}": share.shared.get(name, 0) for name in names} if style == "csv" else {}),
            "total_nanousd": share.total,
        }
        for share in shares
    ]
    if style == "json":
        json.dump(records, sys.stdout, indent=1)
        print()
        return
    writer = csv.DictWriter(
        sys.stdout, ["month", *by, "direct_nanousd", *(f"shared.{name}" for name in names), "total_nanousd"]
    )
    writer.writeheader()
    writer.writerows(records)


def _shown(shares: list[Share], by: list[str], month: str, names: list[str], style: str, running: bool) -> None:
    from gateway.cli.tables import html_page, markdown, terminal_width, text_table

    headers = [*by, "calls USD", *names, "total USD"]
    rows = [
        [*share.group, dollars(share.direct), *(dollars(share.shared.get(name, 0)) for name in names),
         dollars(share.total)]
        for share in shares
    ]  # fmt: skip
    sums = [sum(share.shared.get(name, 0) for share in shares) for name in names]
    direct = sum(share.direct for share in shares)
    rows.append(["total", *[""] * (len(by) - 1), *(dollars(value) for value in (direct, *sums, direct + sum(sums)))])
    notes = ["The month is not over: minimums count as if it were."] if running else []
    right = set(range(len(by), len(headers)))
    if style == "html":
        print(html_page(f"Costs of {month} by {', '.join(by)}", headers, rows, right, notes))
    elif style == "markdown":
        print("\n".join([markdown(headers, rows, right), *(f"\n{note}" for note in notes)]))
    elif not shares:
        print(f"No calls and no shared costs in {month}.")
    else:
        print("\n".join([text_table(headers, rows, right, limit=terminal_width()), *notes]))
