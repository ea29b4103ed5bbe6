"""The tables and views in PostgreSQL: SQL made of the ledger's own names."""

# ruff: noqa: S608 - statements are made of our own names

from __future__ import annotations

from datetime import datetime

from gateway.ledger.rows import CONTRACT, OWNER_COLUMNS, USAGE_FIELDS

TYPES = {
    str: "text", int: "bigint", float: "double precision", bool: "boolean", datetime: "timestamptz",
    dict: "jsonb", list: "jsonb",
}  # fmt: skip
RECORDS = {name: TYPES[kind] for name, kind in CONTRACT.items()}
ADJUSTMENTS = {
    "id": "text", "request_id": "text", "at": "timestamptz", "hour": "timestamptz", "kind": "text", "reason": "text",
    "who": "text", "delta_nanousd": "bigint", "price": "text", "cost_lines": "jsonb",
    **{name: "jsonb" if name == "tags" else "text" for name in OWNER_COLUMNS}, "ended_as": "text",
}  # fmt: skip
"""What was booked later: as the ledger's table of that name, with times in place of numbers."""
POSITIONS = {"number": "bigint", "request_id": "text", "adjustment": "bigint"}
TABLES = {
    "records": (RECORDS, "PRIMARY KEY (gateway, number), UNIQUE (request_id)"),
    "adjustments": (ADJUSTMENTS, "PRIMARY KEY (gateway, number), UNIQUE (id, at)"),
    "gateways": (POSITIONS, "PRIMARY KEY (gateway)"),
}
"""Names, their columns beside ``gateway`` and ``number``, and what is unique. A record has one row, whatever happens to
its ledger: a copy of it that is put into service is another gateway, and copies only what is new."""
VIEWS = ("spend", "spend_by_gateway")
_BY = ("team", "workflow", "provider", "model")


def create(schema: str, table: str) -> list[str]:
    """Makes a table that is not there."""
    columns, unique = TABLES[table]
    typed = {"gateway": "text", "number": "bigint", **columns}
    own = ", ".join(
        f"{name} {kind}{' NOT NULL' if name in ('gateway', 'number') else ''}" for name, kind in typed.items()
    )
    made = [f"CREATE TABLE IF NOT EXISTS {schema}.{table} ({own}, {unique})"]
    if table == "records":
        made.append(f"CREATE INDEX IF NOT EXISTS records_started_at ON {schema}.records (started_at)")
    return made


def add(schema: str, table: str, column: str) -> str:
    """Adds a column of a later version."""
    return f"ALTER TABLE {schema}.{table} ADD COLUMN IF NOT EXISTS {column} {TABLES[table][0][column]}"


def insert(schema: str, table: str) -> str:
    """Writes rows, given as a JSON array ($2), as those of a gateway ($1); what is there already stays."""
    columns, unique = TABLES[table][0], "request_id" if table == "records" else "id, at"
    typed = ", ".join(f"{name} {kind}" for name, kind in {"number": "bigint", **columns}.items())
    names = ", ".join(columns)
    return (
        f"INSERT INTO {schema}.{table} (gateway, number, {names}) SELECT $1, number, {names} "
        f"FROM jsonb_to_recordset($2::text::jsonb) AS r ({typed}) ORDER BY number ON CONFLICT ({unique}) DO NOTHING"
    )


def sums() -> dict[str, str]:
    """Columns of the views that are added up, with the SQL of a record's. New usage goes last: a view only grows."""
    counted = {
        "requests": "(outcome <> 'rejected')::int",
        "rejected": "(outcome = 'rejected')::int",
        "estimated": "(usage_source = 'estimated')::int",
        "unpriced": "(NOT priced)::int",
        "cost_nanousd": "cost_nanousd",
    }
    used = {name.removesuffix("_total"): f"coalesce((usage ->> '{name}')::bigint, 0)" for name in USAGE_FIELDS}
    return counted | used


def view(schema: str, name: str) -> str:
    """``spend``: what calls cost and used by the hour in which they began, corrections included."""
    by = ", ".join(("hour", *(("gateway",) if name == "spend_by_gateway" else ()), *_BY))
    columns = sums()
    of_records = ", ".join(f"{sql} AS {column}" for column, sql in columns.items())
    of_entries = ", ".join("delta_nanousd" if column == "cost_nanousd" else "0" for column in columns)
    added = {column: f"sum({column})" for column in columns}
    shown = [f"{sql} AS {column}" for column, sql in added.items()]
    shown.insert(list(columns).index("cost_nanousd") + 1, "round(sum(cost_nanousd) / 1000000000.0, 9) AS cost_usd")
    owner = ", ".join(_BY)
    return (
        f"CREATE OR REPLACE VIEW {schema}.{name} AS SELECT {by}, {', '.join(shown)} FROM ("
        f"SELECT date_trunc('hour', started_at, 'UTC') AS hour, gateway, {owner}, {of_records} FROM {schema}.records "
        f"UNION ALL SELECT hour, gateway, {owner}, {of_entries} FROM {schema}.adjustments) AS one GROUP BY {by}"
    )


def view_columns(name: str) -> set[str]:
    own = {"gateway"} if name == "spend_by_gateway" else set()
    return {"hour", *_BY, "cost_usd", *sums()} | own
