"""``spendgate reconcile``: a provider's cost or usage export beside the ledger, and why they differ."""

from __future__ import annotations

import argparse
import csv
import getpass
import json
import sys
import time
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.cli.common import UserError, command, configuration, dollars, ledger_file, moment, table, takes_by

if TYPE_CHECKING:
    from gateway.config.schema import Config
    from gateway.finops.booking import Corrected, Entry
    from gateway.finops.reconcile import Cell
    from gateway.ledger.releases import Release
    from gateway.statements.charge import Charge

BY = ("day", "model", "project")
TRIES = 10
"""So often a booking begins anew where others correct the same days meanwhile."""


def add_parser(commands: Any) -> None:
    made = command(
        commands,
        "reconcile",
        "a provider's cost or usage export beside the ledger, and why they differ",
        "spendgate reconcile costs.json --provider openai",
    )
    made.add_argument("file", nargs="+", metavar="FILE", help="the provider's export; several are read as one")
    made.add_argument("--provider", required=True, metavar="NAME", help="a kind (openai, anthropic…) or a name")
    takes_by(made, "day, model, project (default: model)", "model")
    made.add_argument("--since", type=moment, metavar="WHEN", help="default: the statement's first day")
    made.add_argument("--until", type=moment, metavar="WHEN", help="default: after its last day, without today")
    made.add_argument(
        "--projects", default="", metavar="DIMENSION", help="what the provider's projects are in the ledger"
    )
    made.add_argument("--map", action="append", default=[], metavar="ID=VALUE", help="a project's value of it")
    made.add_argument("--book", action="store_true", help="book the differences as adjustments")
    made.add_argument("--why", default="", metavar="TEXT", help="kept with what is booked")
    made.add_argument("--format", choices=("table", "json", "csv"), default="table")
    made.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    by = [name.strip() for name in options.by.split(",") if name.strip()]
    if not by or set(by) - set(BY):
        raise UserError(f"--by {options.by}: use day, model and project")
    config = configuration(options.config)
    scope = _Scope(options, config)
    path = ledger_file(options)
    found = _found(path, scope, book=options.book)
    _show(found.cells, by, options.format, scope)
    if options.book:
        _book(options, path, scope, found)
    return 0


class _Found(NamedTuple):
    """A reconciliation, and what it would book."""

    since: Corrected
    cells: list[Cell]
    entries: list[Entry]
    releases: list[Release]


def _found(path: Path, scope: _Scope, *, book: bool) -> _Found:
    from gateway.finops.booking import corrected
    from gateway.ledger.connections import connect_reader

    connection = connect_reader(path)
    connection.row_factory = None
    try:
        since = corrected(connection)
        cells = scope.cells(connection)
        if not book:
            return _Found(since, cells, [], [])
        return _Found(since, cells, scope.entries(connection, cells), scope.releases(connection, cells))
    finally:
        connection.close()


class _Scope:
    """What is compared."""

    def __init__(self, options: argparse.Namespace, config: Config) -> None:
        self.providers, kind = _providers(config, options.provider)
        charges = _charges(options.file, kind)
        self.costs = any(one.nanousd is not None for one in charges)
        if options.book and not self.costs:
            raise UserError("a usage export has no amounts to book: give the cost export")
        self.first, self.last = _days(charges, options)
        self.charges = [one for one in charges if self.first <= one.day <= self.last]
        told = [one for one in charges if not self.costs or one.nanousd is not None]
        self.models = any(one.model for one in told)
        self.dimension = options.projects or "provider"
        self._named = _projects(options, config, self.providers)
        self.projects = any(one.project for one in told) and bool(options.projects or self._named)

    def project_of(self, value: str) -> str:
        """The provider's name for a value of the dimension."""
        return self._named.get(value, value if self.dimension != "provider" else "")

    def cells(self, connection: Any) -> list[Cell]:
        """Both sides, with the causes of their differences."""
        from gateway.finops.booking import ledger_side
        from gateway.finops.reconcile import cells, explain
        from gateway.reports.spend import UnknownDimensionError
        from gateway.statements.charge import WEB_SEARCH

        apart = any(one.model == WEB_SEARCH for one in self.charges)
        try:
            side = ledger_side(
                connection, self.providers, self.dimension, self.first, self.last, self.project_of, searches_apart=apart
            )
        except UnknownDimensionError as error:
            raise UserError(str(error)) from error
        found = cells(self.charges, side, models=self.models, projects=self.projects)
        if self.costs:
            explain(found)
        return found

    def entries(self, connection: Any, cells: list[Cell]) -> list[Entry]:
        """What is to be booked."""
        from gateway.finops.booking import entries

        if not cells:
            return []
        return entries(
            connection, cells, self.providers, self.dimension, self.project_of,
            models=self.models, projects=self.projects,
        )  # fmt: skip

    def releases(self, connection: Any, cells: list[Cell]) -> list[Release]:
        """What quotas hold less of calls whose cost was not known."""
        from gateway.finops.releasing import releases

        return releases(
            connection, cells, self.providers, self.dimension, self.project_of,
            models=self.models, projects=self.projects,
        )  # fmt: skip


def _providers(config: Config, name: str) -> tuple[list[str], str]:
    """The providers of the configuration that a name or a kind means, and their kind."""
    from gateway.config.problems import near

    if name in config.providers:
        return [name], config.providers[name].kind
    found = [one for one, provider in config.providers.items() if provider.kind == name]
    if not found:
        known = [*config.providers, *{provider.kind for provider in config.providers.values()}]
        raise UserError(f'no provider is called "{name}", or of this kind. {near(name, known)}'.strip())
    return found, name


def _charges(files: list[str], kind: str) -> list[Charge]:
    """All lines. Raises ``UserError``, also where two files hold the same ones."""
    from gateway.statements.charge import StatementError
    from gateway.statements.formats import read
    from gateway.statements.overlap import by_day, same_day

    found: list[Charge] = []
    before: list[tuple[str, Any]] = []
    for file in files:
        try:
            charges = read(Path(file), kind)
        except StatementError as error:
            raise UserError(str(error)) from error
        days = by_day(charges)
        for name, known in before:
            day = same_day(known, days)
            if day is not None:
                raise UserError(
                    f"{name} and {file} hold the same lines for {day}, which would count twice: give each day once. "
                    "If both were charged, put them into one file"
                )
        before.append((file, days))
        found += charges
    return found


def _days(charges: list[Charge], options: argparse.Namespace) -> tuple[date, date]:
    """The days that are compared: those of the statement that are over, within what was asked for."""
    from gateway.finops.series import today_of

    first, last = min(one.day for one in charges), max(one.day for one in charges)
    if options.since is not None:
        first = max(first, today_of(options.since))
    if options.until is not None:
        last = min(last, today_of(options.until - 1))
    else:
        last = min(last, today_of(time.time_ns()) - timedelta(days=1))
    if last < first:
        raise UserError("no day of the statement is over, or is in the period that was asked for")
    return first, last


def _projects(options: argparse.Namespace, config: Config, providers: list[str]) -> dict[str, str]:
    """Value of the dimension → the provider's name for it."""
    found = {}
    for pair in options.map:
        project, separator, value = pair.partition("=")
        if not separator:
            raise UserError(f"--map {pair}: must be ID=VALUE, like proj_abc=search")
        found[value] = project
    if not options.projects:
        for name in providers:
            project = config.providers[name].project
            if project is not None:
                found.setdefault(name, project)
    return found


def _book(options: argparse.Namespace, path: Path, scope: _Scope, found: _Found) -> None:
    from gateway.finops.booking import Overtaken, book
    from gateway.ledger.connections import connect

    connection = connect(path)
    try:
        for _ in range(TRIES):
            try:
                new = book(
                    connection, found.entries, time.time_ns(), getpass.getuser(), options.why, found.releases,
                    found.since,
                )  # fmt: skip
                break
            except Overtaken:
                found = _found(path, scope, book=True)
        else:
            raise UserError(
                "others correct the same days all the time, nothing is booked: try again when they are done"
            )
    finally:
        connection.close()
    total = dollars(sum(one.nanousd for one in found.entries))
    out = sys.stderr if options.format != "table" else sys.stdout
    if found.releases:
        less = dollars(sum(one.nanousd for one in found.releases))
        print(f"quotas hold {less} USD less of {len(found.releases):,} calls whose cost was not known", file=out)
    print(f"booked {new:,} adjustments, {total} USD", file=out)


def _show(cells: list[Cell], by: list[str], style: str, scope: _Scope) -> None:
    rows = _grouped(cells, by)
    if style == "json":
        print(json.dumps(rows, indent=1))
        return
    if style == "csv":
        from gateway.reports.cells import cell

        names = [*by, *(name for name in rows[0] if name not in (*by, "causes"))] if rows else by
        writer = csv.DictWriter(sys.stdout, [*names, "causes"])
        writer.writeheader()
        for row in rows:
            causes = " ".join(f"{name}={value}" for name, value in row["causes"].items())
            writer.writerow({**row, **{name: cell(row[name]) for name in by}, "causes": causes})
        return
    days = f"{scope.first} to {scope.last}, {', '.join(scope.providers)}"
    print(days)
    if scope.costs:
        _costs(rows, by)
    else:
        _usage(rows, by)


def _grouped(cells: list[Cell], by: list[str]) -> list[dict[str, Any]]:
    """Cells added up; differences by cause sum to the difference."""
    from gateway.finops.reconcile import CAUSES
    from gateway.statements.charge import model_key

    sums: dict[Any, dict[str, Any]] = {}
    for cell in cells:
        values = {"day": cell.day.isoformat(), "model": cell.model, "project": cell.project}
        key = tuple(model_key(values[name]) if name == "model" else values[name] for name in by)
        row = sums.get(key)
        if row is None:
            row = sums[key] = {name: values[name] for name in by} | {
                "statement_nanousd": 0, "ledger_nanousd": 0, "difference_nanousd": 0,
                "statement_tokens": None, "ledger_tokens": 0, "ledger_calls": 0, "causes": dict.fromkeys(CAUSES, 0),
            }  # fmt: skip
        row["statement_nanousd"] += cell.stated
        row["ledger_nanousd"] += cell.ledger.nanousd
        row["difference_nanousd"] += cell.difference
        if cell.input_tokens is not None or cell.output_tokens is not None:
            row["statement_tokens"] = (
                (row["statement_tokens"] or 0) + (cell.input_tokens or 0) + (cell.output_tokens or 0)
            )
        row["ledger_tokens"] += cell.ledger.input_tokens + cell.ledger.output_tokens
        row["ledger_calls"] += cell.ledger.calls
        for cause, value in cell.causes.items():
            row["causes"][cause] += value
    for row in sums.values():
        row["causes"] = {cause: value for cause, value in row["causes"].items() if value}
    return (
        [sums[key] for key in sorted(sums, key=lambda key: (key[0], -abs(sums[key]["difference_nanousd"])))]
        if (by[0] == "day")
        else sorted(sums.values(), key=lambda row: -abs(row["difference_nanousd"]))
    )


def _costs(rows: list[dict[str, Any]], by: list[str]) -> None:
    from gateway.finops.reconcile import CAUSES

    lines = [
        [*(row[name] or "-" for name in by),
         *(dollars(row[name]) for name in ("statement_nanousd", "ledger_nanousd")), _signed(row["difference_nanousd"]),
         ", ".join(f"{cause} {_signed(value, 4)}" for cause, value in row["causes"].items())]
        for row in rows
    ]  # fmt: skip
    totals = [sum(row[name] for row in rows) for name in ("statement_nanousd", "ledger_nanousd", "difference_nanousd")]
    lines.append(["total", *[""] * (len(by) - 1), dollars(totals[0]), dollars(totals[1]), _signed(totals[2]), ""])
    right = {len(by), len(by) + 1, len(by) + 2}
    print(table([*by, "statement USD", "ledger USD", "difference", "because of"], lines, right))
    for cause, text in CAUSES.items():
        value = sum(row["causes"].get(cause, 0) for row in rows)
        if any(cause in row["causes"] for row in rows):
            print(f"{cause} {_signed(value)} USD: {text}")


def _usage(rows: list[dict[str, Any]], by: list[str]) -> None:
    lines = []
    for row in rows:
        stated = row["statement_tokens"] or 0
        lines.append(
            [*(row[name] or "-" for name in by), f"{stated:,}", f"{row['ledger_tokens']:,}",
             f"{stated - row['ledger_tokens']:+,}", f"{row['ledger_calls']:,}"]
        )  # fmt: skip
    right = set(range(len(by), len(by) + 4))
    print(table([*by, "statement tokens", "ledger tokens", "difference", "calls"], lines, right))


def _signed(nanousd: int, places: int = 6) -> str:
    return ("+" if nanousd > 0 else "") + dollars(nanousd, places)
