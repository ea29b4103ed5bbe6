"""``spendgate report``: spend and tokens, by any dimension."""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from gateway.cli.common import UserError, command, dollars, forward, ledger_file, moment, takes_by

if TYPE_CHECKING:
    from gateway.cli.reported import Report

FORMATS = ("table", "json", "csv", "markdown", "html")
FIELDS = (
    "requests", "rejected", "errors", "estimated", "recovered", "unpriced", "input_tokens", "output_tokens",
    "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "cost_nanousd",
)  # fmt: skip
FORECAST = ("expected", "low", "high")


def add_parser(commands: Any) -> None:
    made = command(
        commands,
        "report",
        "spend and tokens by any dimension",
        "spendgate report --by team,workflow,model --since 2026-11-01",
    )
    default = "team,workflow,model"
    takes_by(
        made, f"team, workflow, key, provider, model, hour, day, week, month, tag.NAME (default: {default})", default
    )
    made.add_argument("--since", type=moment, metavar="WHEN", help="date or RFC 3339 time (default: this month)")
    made.add_argument("--until", type=moment, metavar="WHEN", help="default: now")
    made.add_argument("--where", action="append", default=[], metavar="DIMENSION=VALUE", help="only these calls")
    made.add_argument("--compare", choices=("previous",), help="set the period before beside it")
    made.add_argument("--forecast", action="store_true", help="what this month will come to, in 8 of 10 cases")
    made.add_argument("--trend", action="store_true", help="the course of each group over the period")
    made.add_argument("--format", choices=FORMATS, default="table")
    made.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from gateway.ledger.connections import connect_reader
    from gateway.reports.spend import UnknownDimensionError, by_of

    try:
        by = by_of(options.by)
        _check(options, by)
        connection = connect_reader(ledger_file(options))
        try:
            report = _read(connection, options, by)
        finally:
            connection.close()
    except UnknownDimensionError as error:
        raise UserError(str(error)) from error
    if options.format == "json":
        json.dump(_records(report), sys.stdout, indent=1)
        print()
    elif options.format == "csv":
        _csv(report)
    else:
        _shown(report, options.format)
    return 0


def _check(options: argparse.Namespace, by: list[str]) -> None:
    from gateway.reports.compared import TIMES

    timed = [name for name in by if name in TIMES]
    for given, option in ((options.compare, "--compare"), (options.forecast, "--forecast"), (options.trend, "--trend")):
        if given and timed:
            raise UserError(f"{option} does not go with --by {timed[0]}: each {timed[0]} is a group of its own")
    if options.forecast and (options.since is not None or options.until is not None):
        raise UserError("--forecast is about this month: leave --since and --until out")


def _read(connection: Any, options: argparse.Namespace, by: list[str]) -> Report:
    from gateway.cli.reported import Report
    from gateway.config.values import month_start_ns
    from gateway.finops.series import month_forecast, month_forecasts
    from gateway.ledger.edges import in_whole_hours
    from gateway.reports.compared import TIMES, compare, courses, previous
    from gateway.reports.spend import spend

    filters = []
    for condition in options.where:
        name, separator, value = condition.partition("=")
        if not separator:
            raise UserError(f"--where {condition}: must be DIMENSION=VALUE, like team=search")
        filters.append((name, value))
    now = time.time_ns()
    since = options.since if options.since is not None else month_start_ns(now)
    until = options.until if options.until is not None else now
    forward(options, since, until)
    report = Report(by=by, since_ns=since, until_ns=until, rows=spend(connection, by, since, until, filters))
    counted = in_whole_hours(connection, since, until)
    report.counted_ns = counted if counted != (since, until) else None
    if by and by[0] in TIMES:
        # as a calendar has them, the dearest of each first
        report.rows.sort(key=lambda row: row.group[0])
    if options.compare:
        report.before_ns = previous(since, until)
        report.changes = compare(report.rows, spend(connection, by, *report.before_ns, filters))
        report.rows = [change.now for change in report.changes]
    if options.forecast:
        report.forecasts = month_forecasts(connection, by, now, filters)
        report.forecast = month_forecast(connection, now, filters)
    if options.trend:
        report.step, report.courses = courses(connection, by, since, until, filters)
    return report


def _shown(report: Report, style: str) -> None:
    from gateway.cli.reported import caption, notes, shown
    from gateway.cli.tables import html_page, markdown, terminal_width, text_table

    headers, rows, total, right, spare = shown(report)
    told = notes(report)
    if style == "html":
        print(html_page(caption(report), headers, [*rows, *total], right, told))
        return
    if not rows:
        print("No calls in this period. Make one (see README), or look further back with --since.")
        print("".join(f"{note}\n" for note in told), end="")
        return
    if style == "markdown":
        print(markdown(headers, [*rows, *total], right))
    else:
        print(text_table(headers, [*rows, *total], right, limit=terminal_width(), spare=spare))
    if told:
        print("\n".join(told) if style == "table" else "\n" + "\n".join(told))


def _names(report: Report) -> list[str]:
    """The columns, the same whether there were calls or not."""
    names = [*report.by, *FIELDS, "cost_usd"]
    if report.before_ns is not None:
        names += ["previous_cost_nanousd", "change_nanousd"]
    if report.forecast is not None:
        names += [f"forecast_{name}_nanousd" for name in FORECAST]
    return [*names, f"by_{report.step}_nanousd"] if report.step else names


def _records(report: Report) -> list[dict[str, Any]]:
    records = []
    for number, row in enumerate(report.rows):
        record: dict[str, Any] = dict(zip(report.by, row.group, strict=True))
        record |= {name: getattr(row, name) for name in FIELDS}
        record["cost_usd"] = dollars(row.cost_nanousd, 9)
        if report.changes:
            change = report.changes[number]
            record["previous_cost_nanousd"] = change.before.cost_nanousd
            record["change_nanousd"] = change.nanousd
        if report.forecast is not None:
            found = report.forecasts.get(row.group)
            for name in FORECAST:
                record[f"forecast_{name}_nanousd"] = getattr(found, name) if found is not None else row.cost_nanousd
        if report.step:
            record[f"by_{report.step}_nanousd"] = report.courses.get(row.group, [])
        records.append(record)
    return records


def _csv(report: Report) -> None:
    from gateway.reports.cells import cell

    records = _records(report)
    for record in records:
        for name, value in record.items():
            if isinstance(value, list):
                record[name] = " ".join(map(str, value))
            elif name in report.by:
                record[name] = cell(value)
    writer = csv.DictWriter(sys.stdout, _names(report))
    writer.writeheader()
    writer.writerows(records)
