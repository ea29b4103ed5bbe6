"""``spendgate export``: files for finance, by hand or on schedule."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.common import (
    UserError,
    catalogue,
    command,
    configuration,
    dollars,
    forward,
    ledger_file,
    moment,
    table,
    whole_file,
)
from gateway.cli.ledger import Progress

if TYPE_CHECKING:
    from gateway.exports.closing import Closing


NO_PARQUET = "Parquet needs pyarrow: pip install 'spendgate[parquet]'"
NO_EXPORTS = "There are no exports. Add one: [[exports]]"


def add_parser(commands: Any) -> None:
    top = commands.add_parser(
        "export",
        help="FOCUS files for finance",
        epilog="example: spendgate export focus --since 2026-11-01 --out f.csv",
    )
    actions = top.add_subparsers(dest="action", metavar="ACTION", required=True)
    focus = command(
        actions,
        "focus",
        "costs and usage as FOCUS 1.2",
        "spendgate export focus --since 2026-10-01 --until 2026-11-01 --out october.csv",
    )
    focus.add_argument("--since", type=moment, metavar="WHEN", help="default: the first of this month")
    focus.add_argument("--until", type=moment, metavar="WHEN", help="default: now")
    focus.add_argument("--grain", choices=("day", "hour"), default="day", help="what one row adds up")
    focus.add_argument("--format", choices=("csv", "parquet"), default="csv")
    focus.add_argument("--out", metavar="FILE", help="default: standard output; needed for parquet")
    focus.set_defaults(run=run_focus)
    past = command(
        actions,
        "openmetrics",
        "the past as counters, for a Prometheus that was set up later",
        "spendgate export openmetrics --since 2026-10-01 --out past.om",
    )
    past.add_argument("--since", type=moment, metavar="WHEN", help="default: the first of this month")
    past.add_argument("--until", type=moment, metavar="WHEN", help="default: now")
    past.add_argument("--out", metavar="FILE", help="default: standard output")
    past.set_defaults(run=run_openmetrics)
    due = command(actions, "run", "write the files that [[exports]] has due", "spendgate export run")
    due.set_defaults(run=run_due)
    state = command(actions, "status", "which periods of [[exports]] are closed", "spendgate export status")
    state.add_argument("--format", choices=("table", "json"), default="table")
    state.set_defaults(run=run_status)


def run_focus(options: argparse.Namespace) -> int:
    from gateway.assembly import book_of
    from gateway.config.price_lists import price_lists
    from gateway.config.values import month_start_ns
    from gateway.exports.files import write
    from gateway.exports.focus import RecordsGoneError, rows
    from gateway.exports.scope import Scope
    from gateway.ledger.connections import connect_reader

    if options.format == "parquet" and options.out is None:
        raise UserError("--format parquet needs --out FILE")
    now = time.time_ns()
    since = options.since if options.since is not None else month_start_ns(now)
    until = options.until if options.until is not None else now
    forward(options, since, until)
    config = configuration(options.config)
    lists = price_lists(config)
    book = book_of(config, catalogue(config, options))
    connection = connect_reader(ledger_file(options))
    connection.row_factory = None
    scope = Scope(since_ns=since, until_ns=until, adjusted_since_ns=since, grain=options.grain)
    try:
        with Progress("rows") as progress:
            found = progress.count(rows(connection, book, lambda name: lists.get(name, name), scope))
            if options.out is None:
                write(found, sys.stdout.buffer, options.format)
            else:
                with whole_file(Path(options.out)) as out:
                    write(found, out, options.format)
    except RecordsGoneError as error:
        raise UserError(str(error)) from error
    except ModuleNotFoundError as error:
        raise UserError(NO_PARQUET) from error
    finally:
        connection.close()
    return 0


def run_openmetrics(options: argparse.Namespace) -> int:
    from gateway.config.values import month_start_ns
    from gateway.exports.openmetrics import exposition
    from gateway.ledger.connections import connect_reader

    now = time.time_ns()
    since = options.since if options.since is not None else month_start_ns(now)
    until = options.until if options.until is not None else now
    forward(options, since, until)
    connection = connect_reader(ledger_file(options))
    lines = exposition(connection, since, until)
    try:
        if options.out is None:
            for line in lines:
                print(line)
        else:
            with whole_file(Path(options.out)) as out:
                out.writelines(f"{line}\n".encode() for line in lines)
    finally:
        connection.close()
    return 0


def run_due(options: argparse.Namespace) -> int:
    """Close what is due; a gateway does the same by itself."""
    from gateway.exports.closing import ClashError
    from gateway.exports.focus import RecordsGoneError
    from gateway.exports.target import TargetError

    failed = 0
    if not configuration(options.config).exports:
        print(NO_EXPORTS)
    with _alone(options):
        for closing in _closings(options):
            now = time.time_ns()
            try:
                for period in closing.due(now):
                    closed = closing.close(period, now)
                    print(f"{closed.file}: {closed.rows:,} rows, {dollars(closed.nanousd)} USD", flush=True)
            except (ClashError, RecordsGoneError, TargetError, OSError) as error:
                print(f"spendgate: export {closing.name}: {error}", file=sys.stderr)
                failed += 1
            except ModuleNotFoundError:
                print(f"spendgate: export {closing.name}: {NO_PARQUET}", file=sys.stderr)
                failed += 1
    return 1 if failed else 0


def run_status(options: argparse.Namespace) -> int:
    import json

    import msgspec

    now = time.time_ns()
    states = []
    for closing in _closings(options):
        states += [{"export": closing.name, **msgspec.to_builtins(one)} for one in closing.known() if one.done]
        states += [{"export": closing.name, "period": one.name, "done": False} for one in closing.due(now)]
    if options.format == "json":
        print(json.dumps(states, indent=1))
        return 0
    rows = [
        [one["export"], one["period"], "closed" if one["done"] else "due", one.get("file", ""),
         f"{one['rows']:,}" if one["done"] else "", dollars(one["nanousd"]) if one["done"] else ""]
        for one in states
    ]  # fmt: skip
    if rows:
        print(table(["export", "period", "state", "file", "rows", "USD"], rows, {4, 5}, spare=(3,)))
    else:
        print("Nothing was exported, and nothing is due." if configuration(options.config).exports
              else NO_EXPORTS)  # fmt: skip
    return 0


def _closings(options: argparse.Namespace) -> Iterator[Closing]:
    """Every ``[[exports]]`` of the configuration over its ledger."""
    from gateway.assembly import book_of
    from gateway.config.price_lists import price_lists
    from gateway.exports.closing import Closing
    from gateway.exports.target import target_of
    from gateway.ledger.connections import connect

    config = configuration(options.config)
    if not config.exports:
        return
    base = options.config.resolve().parent
    lists = price_lists(config)
    book = book_of(config, catalogue(config, options))
    connection = connect(ledger_file(options))
    try:
        for export in config.exports:
            target = partial(target_of, export.to, base, export.options)
            folder = base / config.server.data_dir
            folder.mkdir(parents=True, exist_ok=True)
            yield Closing(connection, export, target, book, lambda name: lists.get(name, name), folder)
    finally:
        connection.close()


@contextmanager
def _alone(options: argparse.Namespace) -> Iterator[None]:
    """Waits until no other process exports from this ledger; none does until the end of the block."""
    import fcntl

    config = configuration(options.config)
    folder = options.config.resolve().parent / config.server.data_dir
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "exports.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        # a courtesy to calls; a hardened service may not ask for it
        with suppress(OSError):
            os.nice(10)
        yield
