"""``spendgate insight``: what this month will cost, which days were unusual and why, what was wasted."""

from __future__ import annotations

import argparse
import json
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gateway.cli.common import (
    UserError,
    catalogue,
    command,
    configuration,
    count,
    dollars,
    forward,
    ledger_file,
    moment,
    table,
    takes_by,
)

if TYPE_CHECKING:
    import sqlite3

    from gateway.finops.anomalies import Anomaly
    from gateway.finops.forecast import Forecast
    from gateway.finops.waste import Finding

DAY_NS = 86_400 * 10**9
DAYS = 7
CENT = 10**7


def add_parser(commands: Any) -> None:
    text = "forecast of the month, unusual days and their drivers, waste"
    top = command(commands, "insight", text, "spendgate insight")
    top.add_argument("--format", choices=("text", "json"), default="text")
    top.set_defaults(run=run_all)
    actions = top.add_subparsers(dest="action", metavar="ACTION")
    ahead = command(actions, "forecast", "this month's cost, with an interval", "spendgate insight forecast --by team")
    takes_by(ahead, "team, workflow, model… (default: all together)", "")
    ahead.add_argument("--where", action="append", default=[], metavar="DIMENSION=VALUE", help="only these calls")
    ahead.add_argument("--format", choices=("table", "json"), default="table")
    ahead.set_defaults(run=run_forecast)
    unusual = command(
        actions, "anomalies", "unusual days of a team's workflow, and why", "spendgate insight anomalies --days 30"
    )
    unusual.add_argument("--days", type=count, default=DAYS, metavar="N", help=f"days before today (default: {DAYS})")
    unusual.add_argument("--where", action="append", default=[], metavar="DIMENSION=VALUE", help="only these calls")
    unusual.add_argument("--format", choices=("table", "json"), default="table")
    unusual.set_defaults(run=run_anomalies)
    lost = command(actions, "waste", "money that bought little", "spendgate insight waste --since 2026-11-01")
    lost.add_argument("--since", type=moment, metavar="WHEN", help=f"default: {DAYS} days before --until")
    lost.add_argument("--until", type=moment, metavar="WHEN", help="default: now")
    lost.add_argument("--format", choices=("table", "json"), default="table")
    lost.set_defaults(run=run_waste)


def _filters(conditions: list[str]) -> list[tuple[str, str]]:
    found = []
    for condition in conditions:
        name, separator, value = condition.partition("=")
        if not separator:
            raise UserError(f"--where {condition}: must be DIMENSION=VALUE, like team=search")
        found.append((name, value))
    return found


def _connection(options: argparse.Namespace) -> sqlite3.Connection:
    from gateway.ledger.connections import connect_reader

    return connect_reader(ledger_file(options))


def run_all(options: argparse.Namespace) -> int:
    from gateway.finops.series import month_forecast

    now = time.time_ns()
    connection = _connection(options)
    ahead = month_forecast(connection, now)
    unusual = _anomalies(connection, DAYS, [])
    lost = _waste(connection, options, now - DAYS * DAY_NS, now)
    if options.format == "json":
        print(_json({"forecast": ahead, "anomalies": unusual, "waste": lost}))
        return 0
    print("THIS MONTH\n" + _forecast_table([], {(): ahead}))
    print(f"\nUNUSUAL DAYS (last {DAYS})\n" + _anomaly_table(unusual))
    print(f"\nWASTE (last {DAYS} days)\n" + _waste_table(lost))
    return 0


def run_forecast(options: argparse.Namespace) -> int:
    from gateway.finops.series import month_forecast, month_forecasts
    from gateway.reports.compared import TIMES
    from gateway.reports.spend import UnknownDimensionError, by_of

    try:
        by = by_of(options.by)
        if any(name in TIMES for name in by):
            raise UserError("a forecast is of groups that are no times, like team or model")
        now, filters = time.time_ns(), _filters(options.where)
        connection = _connection(options)
        found = month_forecasts(connection, by, now, filters) if by else {}
        found[()] = month_forecast(connection, now, filters)
    except UnknownDimensionError as error:
        raise UserError(str(error)) from error
    if options.format == "json":
        print(_json([{"group": dict(zip(by, group, strict=False)), **_plain(one)} for group, one in found.items()]))
    else:
        print(_forecast_table(by, found))
    return 0


def run_anomalies(options: argparse.Namespace) -> int:
    from gateway.reports.spend import UnknownDimensionError

    if not 1 <= options.days <= 90:
        raise UserError("--days is between 1 and 90")
    try:
        found = _anomalies(_connection(options), options.days, _filters(options.where))
    except UnknownDimensionError as error:
        raise UserError(str(error)) from error
    print(_json(found) if options.format == "json" else _anomaly_table(found))
    return 0


def run_waste(options: argparse.Namespace) -> int:
    until = options.until if options.until is not None else time.time_ns()
    since = options.since if options.since is not None else until - DAYS * DAY_NS
    forward(options, since, until)
    found = _waste(_connection(options), options, since, until)
    print(_json(found) if options.format == "json" else _waste_table(found))
    return 0


def _anomalies(connection: sqlite3.Connection, days: int, filters: list[tuple[str, str]]) -> list[Anomaly]:
    from gateway.finops.series import recent_anomalies, today_of

    today = today_of(time.time_ns())
    return recent_anomalies(connection, today - timedelta(days=days), today - timedelta(days=1), filters)


def _waste(connection: sqlite3.Connection, options: argparse.Namespace, since_ns: int, until_ns: int) -> list[Finding]:
    from gateway.assembly import book_of
    from gateway.config.price_lists import price_lists
    from gateway.finops.waste import waste

    config = configuration(options.config)
    lists = price_lists(config)
    book = book_of(config, catalogue(config, options))
    return waste(connection, book, lambda name: lists.get(name, name), since_ns, until_ns)


def _plain(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value)


def _json(value: Any) -> str:
    return json.dumps(_plain(value), indent=1)


def _forecast_table(by: list[str], found: dict[tuple[str, ...], Forecast]) -> str:
    ordered = sorted(found.items(), key=lambda item: (not item[0], -item[1].expected, item[0]))
    names = [[*group] if group else ["total", *[""] * (len(by) - 1)] if by else [] for group, _ in ordered]
    rows = [
        [*name, *(dollars(value, 2) for value in (one.so_far, one.expected, one.low, one.high)), str(one.history_days)]
        for name, (_, one) in zip(names, ordered, strict=True)
    ]
    headers = [*by, "so far", "expected", "at least", "at most", "days known"]
    return table(headers, rows, set(range(len(by), len(headers))))


def _anomaly_table(found: list[Anomaly]) -> str:
    if not found:
        return "No day was unusual."
    rows = [
        [
            one.day, one.team, one.workflow, dollars(one.usual_nanousd, 2), dollars(one.cost_nanousd, 2),
            *(_signed(value) for value in (one.drivers.volume, one.drivers.mix, one.drivers.tokens_per_call,
                                           one.drivers.price)),
            ", ".join(one.models),
        ]
        for one in found
    ]  # fmt: skip
    headers = ["day", "team", "workflow", "usual", "cost", "volume", "mix", "tokens", "price", "models"]
    return table(headers, rows, {3, 4, 5, 6, 7, 8}, spare=(9,))


def _signed(nanousd: int) -> str:
    text = dollars(nanousd, 2)
    return f"+{text}" if nanousd > 0 else text


def _waste_table(found: list[Finding]) -> str:
    shown = [one for one in found if one.nanousd_a_month >= CENT]
    if not shown:
        return f"Nothing above a cent a month was found; {len(found)} are below." if found else "Nothing was found."
    rows = [
        [one.kind, one.team, one.workflow, one.model, f"{one.calls:,}",
         ("≤ " if one.at_most else "") + dollars(one.nanousd_a_month, 2), one.because, one.examples[0]]
        for one in shown
    ]  # fmt: skip
    headers = ["waste", "team", "workflow", "model", "calls", "USD/month", "why", "example"]
    rest = f"\n{len(found) - len(shown)} more are below a cent a month" if len(found) > len(shown) else ""
    return table(headers, rows, {4, 5}, spare=(7,)) + rest
