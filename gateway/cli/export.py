"""``spendgate export``: files for finance, by hand or on schedule."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from gateway.cli.common import UserError, catalogue, command, configuration, ledger_file, moment
from gateway.cli.ledger import Progress


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


def run_focus(options: argparse.Namespace) -> int:
    from gateway.assembly import book_of
    from gateway.config.price_lists import price_lists
    from gateway.config.values import month_start_ns
    from gateway.exports.files import write
    from gateway.exports.focus import RecordsGoneError, rows
    from gateway.exports.scope import Scope
    from gateway.ledger.schema import connect_reader

    if options.format == "parquet" and options.out is None:
        raise UserError("--format parquet needs --out FILE")
    now = time.time_ns()
    since = options.since if options.since is not None else month_start_ns(now)
    until = options.until if options.until is not None else now
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
                _to_file(found, Path(options.out), options.format, write)
    except RecordsGoneError as error:
        raise UserError(str(error)) from error
    except ModuleNotFoundError as error:
        raise UserError("Parquet needs pyarrow: pip install 'spendgate[parquet]'") from error
    finally:
        connection.close()
    return 0


def _to_file(found: Iterator[Any], path: Path, form: str, write: Any) -> None:
    """The whole file or none: written beside its place, then moved there."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        out: IO[bytes]
        with part.open("wb") as out:
            write(found, out, form)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
