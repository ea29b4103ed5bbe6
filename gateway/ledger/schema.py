"""The ledger's tables, as migrations that are applied once each, in order, and recorded (sqlite-utils)."""

# ruff: noqa: S608 - statements are made of our own names

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from gateway.ledger.connections import connect, connect_reader
from gateway.ledger.faults import LedgerCorrupt, check_structure, refuse_newer
from gateway.ledger.rows import (
    GROUP_BITS,
    GROUP_COLUMNS,
    GROUP_MASK,
    KIND_COLUMNS,
    OWNER_COLUMNS,
    RECORD_COLUMNS,
    REQUEST_COLUMNS,
    SUMS,
)

MIGRATIONS = Migrations("spendgate")
LIGHT = ("prompt_hashes", "outcomes", "waste", "claims", "pending", "corrected_outcomes")
"""Migrations that leave every record and sum where it lies: no copy is made before them."""
TURN_MS = 60_000
"""So long a process waits for another that brings the file to the newest schema."""
UNSPLIT = "unsplit_until"
"""The fact that names the newest record whose group may not be of its outcome yet; absent: all are."""
_SQL = {str: "TEXT", int: "INTEGER"}
_NULLABLE = ("reported_cost_nanousd", "ttft_us")
_FIRST_KINDS = tuple(name for name in KIND_COLUMNS if name != "pending")
_FIRST_SUMS = (
    "requests", "rejected", "errors", "disconnected", "estimated", "recovered", "unpriced", "cost_nanousd",
    "held_nanousd", "held_input_tokens", "held_output_tokens", "latency_us", "gateway_us", "ttft_us", "ttft_count",
    "input_tokens_total", "output_tokens_total", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens",
    "reasoning_tokens", "input_audio_tokens", "input_image_tokens", "output_audio_tokens", "output_image_tokens",
    "cache_read_audio_tokens", "web_search_requests", "search_units", "input_characters", "audio_milliseconds",
    "output_images", "pages",
)  # fmt: skip


@MIGRATIONS()
def calls(db: Any) -> None:
    """Open entries, their checkpoints, records and rollups, as they were at first."""
    db.execute(
        "CREATE TABLE requests (request_id TEXT NOT NULL, started_ns INTEGER NOT NULL, ended_ns INTEGER NOT NULL, "
        "team TEXT NOT NULL, workflow TEXT NOT NULL, key_id TEXT NOT NULL, tags TEXT NOT NULL, provider TEXT NOT NULL, "
        "api TEXT NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL, model_requested TEXT NOT NULL, "
        "model TEXT NOT NULL, stream INTEGER NOT NULL, status INTEGER NOT NULL, outcome TEXT NOT NULL, "
        "usage TEXT NOT NULL, usage_source TEXT NOT NULL, cost_nanousd INTEGER NOT NULL, cost_lines TEXT NOT NULL, "
        "price TEXT NOT NULL, priced INTEGER NOT NULL, reported_cost_nanousd INTEGER, quotas TEXT NOT NULL, "
        "refused_by TEXT NOT NULL, reserved_nanousd INTEGER NOT NULL, reserved_input_tokens INTEGER NOT NULL, "
        "reserved_output_tokens INTEGER NOT NULL, latency_us INTEGER NOT NULL, ttft_us INTEGER, "
        "gateway_us INTEGER NOT NULL, request_bytes INTEGER NOT NULL, response_bytes INTEGER NOT NULL, "
        "trace_id TEXT NOT NULL, service_tier TEXT NOT NULL, PRIMARY KEY (request_id)) WITHOUT ROWID"
    )
    db.execute("CREATE TABLE open_requests (request_id TEXT PRIMARY KEY, entry BLOB NOT NULL) WITHOUT ROWID")
    db.execute("CREATE TABLE checkpoints (request_id TEXT PRIMARY KEY, checkpoint BLOB NOT NULL) WITHOUT ROWID")
    sums = ", ".join(f"{name} INTEGER NOT NULL DEFAULT 0" for name in _FIRST_SUMS)
    db.execute(
        "CREATE TABLE rollups (hour INTEGER NOT NULL, team TEXT NOT NULL, workflow TEXT NOT NULL, "
        "key_id TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL, model_requested TEXT NOT NULL, "
        f"tags TEXT NOT NULL, {sums}, PRIMARY KEY (hour, team, workflow, key_id, provider, model, model_requested, "
        "tags)) WITHOUT ROWID"
    )


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


@MIGRATIONS()
def groups(db: Any) -> None:
    """What many records share is kept once; records lie in the order in which they were settled; sums of hours, and of
    days that are over, are keyed by numbers. ``requests`` and ``rollups`` become views with the columns they had."""
    db.execute(_groups_table(OWNER_COLUMNS))
    db.execute(_kinds_table(_FIRST_KINDS))
    own = ", ".join(
        f"{name} {_SQL[kind]}{'' if name in _NULLABLE else ' NOT NULL'}"
        for name, kind in RECORD_COLUMNS.items()
        if name != "prompt_hash"
    )
    db.execute(f"CREATE TABLE records (id INTEGER PRIMARY KEY, {own})")
    for period in ("hours", "days"):
        sums = ", ".join(f"{name} INTEGER NOT NULL DEFAULT 0" for name in SUMS)
        db.execute(f"CREATE TABLE {period} (id INTEGER PRIMARY KEY, {sums})")
    for statement in _moves():
        db.execute(statement)
    db.execute("CREATE UNIQUE INDEX records_request_id ON records (request_id)")
    for statement in _views():
        db.execute(statement)


@MIGRATIONS()
def prompt_hashes(db: Any) -> None:
    """Whether two calls had the same prompt."""
    _without_views(db, ["ALTER TABLE records ADD COLUMN prompt_hash INTEGER NOT NULL DEFAULT 0"])


@MIGRATIONS()
def outcomes(db: Any) -> None:
    """Sums tell outcomes apart. What was added up before is taken apart while calls go on: see
    ``gateway.ledger.splitting``."""
    names = ", ".join(OWNER_COLUMNS)
    statements = [
        _groups_table(GROUP_COLUMNS, "new_groups"),
        f"INSERT INTO new_groups (id, outcome, {names}) SELECT id, 'completed', {names} FROM groups",
        "DROP TABLE groups",
        "ALTER TABLE new_groups RENAME TO groups",
        f"INSERT INTO facts (name, value) SELECT '{UNSPLIT}', id FROM records ORDER BY id DESC LIMIT 1",
    ]
    _without_views(db, statements)


@MIGRATIONS()
def waste(db: Any) -> None:
    """What ``gateway.finops.waste`` found in hours and days that are over."""
    db.execute(
        "CREATE TABLE waste (hours INTEGER NOT NULL, first_hour INTEGER NOT NULL, calls INTEGER NOT NULL, "
        "sums TEXT NOT NULL, PRIMARY KEY (hours, first_hour))"
    )


@MIGRATIONS()
def claims(db: Any) -> None:
    """What is reported more than once and charged once: see ``gateway.ledger.claims``."""
    db.execute(
        "CREATE TABLE claims (provider TEXT NOT NULL, id TEXT NOT NULL, request_id TEXT NOT NULL, "
        "at_ns INTEGER NOT NULL, charged INTEGER NOT NULL, PRIMARY KEY (provider, id)) WITHOUT ROWID"
    )
    db.execute("CREATE INDEX claims_at_ns ON claims (at_ns)")


def _kinds_table(columns: Sequence[str], name: str = "kinds") -> str:
    # the default is for a gateway of an older version, as below
    default = {"pending": " DEFAULT 0"}
    typed = ", ".join(f"{column} {_SQL[KIND_COLUMNS[column]]} NOT NULL{default.get(column, '')}" for column in columns)
    return f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, {typed}, UNIQUE ({', '.join(columns)}))"


def _groups_table(columns: Sequence[str], name: str = "groups") -> str:
    # the default is for a gateway of an older version that still runs while a command of this one opens the file
    default = {"outcome": " DEFAULT 'completed'"}
    texts = ", ".join(f"{column} TEXT NOT NULL{default.get(column, '')}" for column in columns)
    return f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, {texts}, UNIQUE ({', '.join(columns)}))"


def _without_views(db: Any, statements: Iterable[str]) -> None:
    """A view that names what is being changed would hinder it."""
    for view in ("requests", "rollups"):
        db.execute(f"DROP VIEW {view}")
    for statement in (*statements, *_views()):
        db.execute(statement)


def _moves() -> list[str]:
    """From the first tables into those that took their place."""
    kinds = tuple(name for name in _FIRST_KINDS if name != "region")
    group, kind = ", ".join(OWNER_COLUMNS), ", ".join(kinds)
    own = [name for name in RECORD_COLUMNS if name not in ("group_id", "kind_id", "lines", "prompt_hash")]
    lines = (
        "(SELECT json_group_array(json_array(json_extract(value, '$.item'), json_extract(value, '$.quantity'), "
        "json_extract(value, '$.unit'), json_extract(value, '$.nanousd'))) FROM json_each(r.cost_lines))"
    )
    same = {
        name: " AND ".join(f"{name}.{column} = r.{column}" for column in columns)
        for name, columns in (("groups", OWNER_COLUMNS), ("kinds", kinds))
    }
    return [
        f"INSERT INTO groups ({group}) SELECT {group} FROM requests UNION SELECT {group} FROM rollups",
        f"INSERT INTO kinds ({kind}, region) SELECT DISTINCT {kind}, '' FROM requests",
        f"INSERT INTO records ({', '.join(own)}, group_id, kind_id, lines) "
        f"SELECT {', '.join('r.' + name for name in own)}, groups.id, kinds.id, {lines} FROM requests r "
        f"CROSS JOIN groups ON {same['groups']} CROSS JOIN kinds ON {same['kinds']} ORDER BY r.request_id",
        f"INSERT INTO hours (id, {', '.join(_FIRST_SUMS)}) SELECT (r.hour << {GROUP_BITS}) | groups.id, "
        f"{', '.join('r.' + name for name in _FIRST_SUMS)} FROM rollups r CROSS JOIN groups ON {same['groups']} "
        "ORDER BY 1",
        "DROP TABLE requests",
        "DROP TABLE rollups",
        "ALTER TABLE open_requests RENAME TO open_before",
        "CREATE TABLE open_requests (id INTEGER PRIMARY KEY, entry BLOB NOT NULL)",
        "INSERT INTO open_requests (entry) SELECT entry FROM open_before ORDER BY request_id",
        "DROP TABLE open_before",
    ]


def _views() -> list[str]:
    """``requests``: a whole record a row. ``rollups``: sums by hour and group."""
    shown = {name: f"g.{name}" for name in GROUP_COLUMNS} | {name: f"k.{name}" for name in KIND_COLUMNS}
    columns = ", ".join(f"{shown.get(name, 'r.' + name)} AS {name}" for name in REQUEST_COLUMNS)
    lines = (
        "(SELECT json_group_array(json_object('item', json_extract(value, '$[0]'), "
        "'quantity', json_extract(value, '$[1]'), 'unit', json_extract(value, '$[2]'), "
        "'nanousd', json_extract(value, '$[3]'))) FROM json_each(r.lines)) AS cost_lines"
    )
    return [
        "DROP VIEW IF EXISTS requests",
        f"CREATE VIEW requests AS SELECT {columns}, {lines}, r.group_id FROM records r "
        "CROSS JOIN groups g ON g.id = r.group_id CROSS JOIN kinds k ON k.id = r.kind_id",
        "DROP VIEW IF EXISTS rollups",
        f"CREATE VIEW rollups AS SELECT h.id >> {GROUP_BITS} AS hour, {', '.join('g.' + n for n in GROUP_COLUMNS)}, "
        f"{', '.join('h.' + name for name in SUMS)} FROM hours h CROSS JOIN groups g ON g.id = (h.id & {GROUP_MASK})",
    ]


@MIGRATIONS()
def releases(db: Any) -> None:
    """What statements gave back of calls whose true cost was not known."""
    texts = ", ".join(f"{name} TEXT NOT NULL" for name in GROUP_COLUMNS)
    db.execute(
        "CREATE TABLE releases (id TEXT NOT NULL UNIQUE, request_id TEXT NOT NULL, started_ns INTEGER NOT NULL, "
        "at_ns INTEGER NOT NULL, nanousd INTEGER NOT NULL, input_tokens INTEGER NOT NULL, "
        f"output_tokens INTEGER NOT NULL, who TEXT NOT NULL, why TEXT NOT NULL, {texts})"
    )
    db.execute("CREATE INDEX releases_started ON releases (started_ns)")
    db.execute("CREATE INDEX releases_request ON releases (request_id)")


@MIGRATIONS()
def pending(db: Any) -> None:
    """Whether what a call used is reported later."""
    names = ", ".join(_FIRST_KINDS)
    statements = [
        _kinds_table(tuple(KIND_COLUMNS), "new_kinds"),
        f"INSERT INTO new_kinds (id, {names}) SELECT id, {names} FROM kinds",
        "DROP TABLE kinds",
        "ALTER TABLE new_kinds RENAME TO kinds",
    ]
    _without_views(db, statements)


@MIGRATIONS()
def corrected_outcomes(db: Any) -> None:
    """How the call ended that an adjustment corrects, for when its record is gone. NULL: as the record says.

    Gateways of the version before, which may go on beside this one, read ``a.*`` and an ``outcome`` of their own."""
    db.execute("ALTER TABLE adjustments ADD COLUMN ended_as TEXT")


def _missing(db: Any) -> list[str]:
    """Sums of usage fields that are newer than the file."""
    known = {column.name for column in db["hours"].columns}
    return [name for name in SUMS if name not in known]


def _follow(db: Any) -> None:
    """Add what is missing."""
    missing = _missing(db)
    for name in missing:
        for period in ("hours", "days"):
            db.execute(f"ALTER TABLE {period} ADD COLUMN {name} INTEGER NOT NULL DEFAULT 0")
    for statement in _views() if missing else ():
        db.execute(statement)


def outdated(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the file lacks something of the newest schema. Raises ``LedgerNewer``, and ``sqlite3.DatabaseError``."""
    check_structure(connection)
    db = Database(connection)
    refuse_newer(MIGRATIONS, db, path)
    return bool(MIGRATIONS.pending(db) or _missing(db))


def migrate(path: Path) -> Path | None:
    """Bring the file to the newest schema, all at once; a file with data is copied before what moves records. Answers
    the copy's path, if one was made.

    Raises ``LedgerCorrupt`` where the file is damaged, ``LedgerNewer`` where it is of a newer version.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(connect(path)) as connection:
            return _brought_up(path, connection)
    except sqlite3.OperationalError:
        # it may be sound: read-only, locked, a disk that fails
        raise
    except sqlite3.DatabaseError as error:
        raise LedgerCorrupt(f"{path} is damaged or no ledger: {error}") from error


def _brought_up(path: Path, connection: sqlite3.Connection) -> Path | None:
    if not outdated(connection, path):
        return None
    db = Database(connection)
    # one process after the other: what was to be done when the turn comes may be done then
    connection.execute(f"PRAGMA busy_timeout = {TURN_MS}")
    connection.execute("BEGIN IMMEDIATE")
    pending = MIGRATIONS.pending(db)
    copy = None
    # a file that another process has just made has a size, but nothing in it yet
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables - {MIGRATIONS.migrations_table} and any(one.name not in LIGHT for one in pending):
        copy = path.with_name(f"{path.name}.before-{pending[0].name}")
        # through another connection: one that holds the turn to write can't be copied from
        with closing(connect_reader(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    if pending:
        MIGRATIONS.apply(db)
    _follow(db)
    connection.execute("COMMIT")
    return copy
