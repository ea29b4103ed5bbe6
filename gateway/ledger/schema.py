"""The ledger's tables, as migrations that are applied once each, in order, and recorded (sqlite-utils)."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from gateway.ledger.rows import DIMENSIONS, REQUEST_COLUMNS, SUMS

MIGRATIONS = Migrations("spendgate")
_SQL = {str: "TEXT", int: "INTEGER"}
_NULLABLE = ("reported_cost_nanousd", "ttft_us")


@MIGRATIONS()
def calls(db: Any) -> None:
    """Open entries, their checkpoints, records and rollups. Records lie in the order of their ids: by time."""
    columns = ", ".join(
        f"{name} {_SQL[kind]}{'' if name in _NULLABLE else ' NOT NULL'}" for name, kind in REQUEST_COLUMNS.items()
    )
    db.execute(f"CREATE TABLE requests ({columns}, PRIMARY KEY (request_id)) WITHOUT ROWID")
    db.execute("CREATE TABLE open_requests (request_id TEXT PRIMARY KEY, entry BLOB NOT NULL) WITHOUT ROWID")
    db.execute("CREATE TABLE checkpoints (request_id TEXT PRIMARY KEY, checkpoint BLOB NOT NULL) WITHOUT ROWID")
    dimensions = ", ".join(f"{name} {'INTEGER' if name == 'hour' else 'TEXT'} NOT NULL" for name in DIMENSIONS)
    sums = ", ".join(f"{name} INTEGER NOT NULL DEFAULT 0" for name in SUMS)
    db.execute(f"CREATE TABLE rollups ({dimensions}, {sums}, PRIMARY KEY ({', '.join(DIMENSIONS)})) WITHOUT ROWID")


@MIGRATIONS()
def corrections(db: Any) -> None:
    """Adjusting entries: what a record's cost changed by, why, and from which price. Records stay as they are."""
    db["adjustments"].create(
        {
            "id": str, "request_id": str, "at_ns": int, "hour": int, "kind": str, "reason": str, "who": str,
            "delta_nanousd": int, "price": str, "cost_lines": str, "team": str, "workflow": str, "key_id": str,
            "provider": str, "model": str, "model_requested": str, "tags": str,
        },
        pk="id",
        not_null={"request_id", "at_ns", "hour", "kind", "delta_nanousd"},
    )  # fmt: skip
    db["adjustments"].create_index(["request_id"])
    db["adjustments"].create_index(["hour"])


@MIGRATIONS()
def operations(db: Any) -> None:
    """Virtual keys, quota grants, and events for the audit."""
    db["keys"].create(
        {
            "id": str, "hash": str, "name": str, "team": str, "workflow": str, "tags": str, "models": str,
            "providers": str, "created_ns": int, "expires_ns": int, "revoked_ns": int,
        },
        pk="id",
        not_null={"hash", "team", "workflow", "tags", "created_ns"},
    )  # fmt: skip
    db["keys"].create_index(["hash"], unique=True)
    db["quota_grants"].create(
        {
            "id": int, "quota": str, "unit": str, "amount": int, "from_ns": int, "until_ns": int, "who": str,
            "why": str, "created_ns": int,
        },
        pk="id",
        not_null={"quota", "unit", "amount", "from_ns", "until_ns", "created_ns"},
    )  # fmt: skip
    db["events"].create({"id": int, "at_ns": int, "kind": str, "subject": str, "detail": str, "who": str}, pk="id")
    db["events"].create_index(["at_ns"])


@MIGRATIONS()
def revocations(db: Any) -> None:
    """So that a running gateway sees a revoked key without reading all keys."""
    db.execute("CREATE INDEX keys_revoked ON keys (revoked_ns) WHERE revoked_ns IS NOT NULL")


@MIGRATIONS()
def keeping(db: Any) -> None:
    """Facts about the ledger itself, such as since when its records are kept."""
    db.execute("CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID")


@MIGRATIONS()
def quota_marks(db: Any) -> None:
    """Which events about a quota were told, so that each is told once."""
    db.execute(
        "CREATE TABLE quota_marks (quota TEXT NOT NULL, bucket TEXT NOT NULL, unit TEXT NOT NULL, mark TEXT NOT NULL, "
        "window_ns INTEGER NOT NULL, PRIMARY KEY (quota, bucket, unit, mark)) WITHOUT ROWID"
    )


class LedgerCorrupt(Exception):  # noqa: N818 - said in one line to a person
    """The file is no database, or a damaged one."""


def connect(path: Path, *, timeout: float = 5.0) -> sqlite3.Connection:
    """A connection that may write. Every commit is on the disk when it returns."""
    connection = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 4000")
    connection.execute("PRAGMA journal_size_limit = 67108864")
    connection.execute("PRAGMA cache_size = -65536")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads; it never holds up a writer, nor is it held up."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA query_only = 1")
    connection.execute("PRAGMA cache_size = -65536")
    connection.execute("PRAGMA mmap_size = 1073741824")
    return connection


def migrate(path: Path) -> Path | None:
    """Bring the file to the newest schema; a file with data is copied first. Answers the copy's path, if one was made.

    Raises ``LedgerCorrupt`` where the file is damaged.
    """
    fresh = not path.exists() or path.stat().st_size == 0
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = connect(path)
    except sqlite3.DatabaseError as error:
        raise LedgerCorrupt(f"{path} is damaged or no ledger: {error}") from error
    try:
        if not fresh:
            _check(connection, path)
        db = Database(connection)
        pending = MIGRATIONS.pending(db)
        copy = None
        if pending and not fresh:
            copy = path.with_name(f"{path.name}.before-{pending[0].name}")
            with sqlite3.connect(copy) as target:
                connection.backup(target)
        if pending:
            MIGRATIONS.apply(db)
        return copy
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        raise LedgerCorrupt(f"{path} is damaged or no ledger: {error}") from error
    finally:
        connection.close()


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """A look at the structure that takes the same time for any size."""
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        connection.execute(f'SELECT * FROM "{name}" LIMIT 1').fetchone()  # noqa: S608 - a name from the schema
