"""``spendgate ledger``: take records out, check them, copy them, price them again."""

from __future__ import annotations

import argparse
import csv
import getpass
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import msgspec

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

BAR = 30


def add_parser(commands: Any) -> None:
    top = commands.add_parser(
        "ledger", help="export, verify, back up, restore, price again", epilog="example: spendgate ledger verify"
    )
    actions = top.add_subparsers(dest="action", metavar="ACTION", required=True)
    export = command(
        actions, "export", "one record a request", "spendgate ledger export --since 2026-11-01 --format jsonl"
    )
    export.add_argument("--since", type=moment, metavar="WHEN")
    export.add_argument("--until", type=moment, metavar="WHEN")
    export.add_argument("--format", choices=("jsonl", "csv", "parquet"), default="jsonl")
    export.add_argument("--out", metavar="FILE", help="default: standard output; needed for parquet")
    export.set_defaults(run=run_export)
    checked = command(actions, "verify", "do records, lines, sums and adjustments agree", "spendgate ledger verify")
    checked.set_defaults(run=run_verify)
    copied = command(actions, "backup", "copy the ledger while it is used", "spendgate ledger backup ledger-copy.db")
    copied.add_argument("file", metavar="FILE")
    copied.set_defaults(run=run_backup)
    restored = command(
        actions, "restore", "put back what the ledger lacks of a copy", "spendgate ledger restore ledger-copy.db"
    )
    restored.add_argument("file", metavar="FILE")
    restored.set_defaults(run=run_restore)
    priced = command(
        actions,
        "reprice",
        "apply today's price book to past records, as adjusting entries",
        "spendgate ledger reprice --since 2026-11-01 --dry-run",
    )
    priced.add_argument("--since", type=moment, metavar="WHEN", required=True)
    priced.add_argument("--until", type=moment, metavar="WHEN")
    priced.add_argument("--dry-run", action="store_true", help="show what would change, write nothing")
    priced.add_argument("--why", default="reprice", help="kept with the entries")
    priced.set_defaults(run=run_reprice)


def run_verify(options: argparse.Namespace) -> int:
    from gateway.ledger.connections import connect_reader
    from gateway.ledger.verify import verify

    connection = connect_reader(ledger_file(options, there=True))
    connection.row_factory = None
    with Progress("records", _records(connection)) as progress:
        findings = verify(connection, progress.show)
    for finding in findings:
        print(finding)
    if findings:
        print(f"spendgate: the ledger disagrees with itself in {len(findings)} places", file=sys.stderr)
        return 1
    count = connection.execute("SELECT count(*) FROM records").fetchone()[0]
    print(f"the ledger agrees with itself: {count:,} records")
    return 0


def run_backup(options: argparse.Namespace) -> int:
    from gateway.ledger.keeping import backup

    try:
        with Progress("pages") as progress:
            backup(ledger_file(options, there=True), Path(options.file), progress.show)
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"no copy was made: {error}") from error
    print(f"the ledger was copied to {options.file}")
    return 0


def run_restore(options: argparse.Namespace) -> int:
    from gateway.ledger.faults import LedgerCorrupt
    from gateway.ledger.keeping import prepare, restore

    copy = Path(options.file)
    if not copy.is_file():
        raise UserError(f"{copy} is no file")
    try:
        prepare(copy)
    except LedgerCorrupt as error:
        raise UserError(str(error)) from error
    except sqlite3.OperationalError as error:
        raise UserError(f"{copy} can't be read or brought to this version where it lies ({error}): copy it") from error
    counts = restore(copy, ledger_file(options))
    print("put back: " + ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in counts.items()))
    return 0


def run_reprice(options: argparse.Namespace) -> int:
    from gateway.assembly import book_of
    from gateway.config.price_lists import price_lists
    from gateway.ledger.connections import connect, connect_reader
    from gateway.ledger.edges import horizon_ns
    from gateway.ledger.reprice import adjustments, book_adjustments
    from gateway.ledger.rows import rfc3339

    config = configuration(options.config)
    lists = price_lists(config)
    until = options.until if options.until is not None else time.time_ns()
    forward(options, options.since, until)
    path = ledger_file(options, there=True)
    reader = connect_reader(path)
    found = list(
        adjustments(
            reader,
            book_of(config, catalogue(config, options)),
            lambda name: lists.get(name, name),
            options.since,
            until,
        )
    )
    kept = horizon_ns(reader)
    reader.close()
    if options.since < kept:
        print(f"Calls from before {rfc3339(kept)} stay as they are: their records are no longer kept.")
    rows: dict[tuple[str, str, str], list[int]] = {}
    for one in found:
        sums = rows.setdefault((one.provider, one.model, one.price), [0, 0, 0])
        for position, value in enumerate((1, one.before_nanousd, one.after_nanousd)):
            sums[position] += value
    lines = [
        [*key, f"{count:,}", dollars(before), dollars(after), dollars(after - before)]
        for key, (count, before, after) in sorted(rows.items(), key=lambda item: -abs(item[1][2] - item[1][1]))
    ]
    if lines:
        headers = ["provider", "model", "price", "calls", "before USD", "after USD", "change USD"]
        print(table(headers, lines, {3, 4, 5, 6}))
    total = dollars(sum(one.delta_nanousd for one in found))
    if options.dry_run:
        print(f"{len(found):,} calls would change by {total} USD; nothing was written")
        return 0
    connection = connect(path)
    try:
        written = book_adjustments(connection, found, time.time_ns(), getpass.getuser(), options.why)
    finally:
        connection.close()
    total = dollars(sum(one.delta_nanousd for one in written))
    print(f"{len(written):,} calls changed by {total} USD")
    if len(written) < len(found):
        print(f"{len(found) - len(written):,} calls were corrected by somebody else meanwhile: price them again")
    return 0


class Progress:
    """A bar on a terminal's standard error, or a count where the total is not known; nothing elsewhere."""

    def __init__(self, what: str, total: int = 0) -> None:
        self._what = what
        self._total = total
        self._shown = False

    def __enter__(self) -> Progress:
        return self

    def show(self, count: int, total: int = 0) -> None:
        if not sys.stderr.isatty():
            return
        self._shown = True
        total = total or self._total
        text = f"{count:,} {self._what}"
        if total:
            share = min(1.0, count / total)
            bar = "#" * int(share * BAR)
            text = f"[{bar:.<{BAR}}] {share:4.0%}  {count:,} of {total:,} {self._what}"
        print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)

    def count(self, rows: Iterable[Any]) -> Iterator[Any]:
        """Pass rows on, showing how many."""
        for number, row in enumerate(rows, start=1):
            yield row
            if number % 5000 == 0:
                self.show(number)

    def __exit__(self, *_: object) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def run_export(options: argparse.Namespace) -> int:
    from gateway.ledger.reader import LedgerReader

    if options.since is not None:
        forward(options, options.since, options.until if options.until is not None else time.time_ns())
    reader = LedgerReader(ledger_file(options, there=True))
    whole = options.since is None and options.until is None
    with Progress("records", _records(reader.connection()) if whole else 0) as progress:
        return _export(options, progress.count(reader.all(options.since, options.until)))


def _records(connection: sqlite3.Connection) -> int:
    """How many there are; not counted where nobody sees the bar."""
    if not sys.stderr.isatty():
        return 0
    count: int = connection.execute("SELECT count(*) FROM records").fetchone()[0]
    return count


def _export(options: argparse.Namespace, records: Iterator[Any]) -> int:
    if options.format == "parquet":
        if options.out is None:
            raise UserError("--format parquet needs --out FILE")
        from gateway.ledger.parquet import write_parquet

        try:
            with whole_file(Path(options.out)) as out:
                write_parquet(records, out)
        except ModuleNotFoundError as error:
            raise UserError("Parquet needs pyarrow: pip install 'spendgate[parquet]'") from error
        return 0
    write = _jsonl if options.format == "jsonl" else _csv
    if options.out is None:
        write(records, sys.stdout)
    else:
        with whole_file(Path(options.out)) as out, TextIOWrapper(out, "utf-8", newline="") as text:
            write(records, text)
    return 0


def _jsonl(records: Any, out: Any) -> None:
    for record in records:
        out.write(msgspec.json.encode(record).decode() + "\n")


def _csv(records: Any, out: Any) -> None:
    from gateway.ledger.rows import CONTRACT_NAMES
    from gateway.reports.cells import cell

    writer = csv.DictWriter(out, CONTRACT_NAMES)
    writer.writeheader()
    for record in records:
        flat = {
            key: msgspec.json.encode(value).decode()
            if isinstance(value, dict | list)
            else (cell(value) if isinstance(value, str) else value)
            for key, value in record.items()
        }
        writer.writerow(flat)
