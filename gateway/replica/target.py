"""One connection to PostgreSQL: the tables are made, positions read, batches written, each in one transaction."""

# ruff: noqa: S608 - statements are made of our own names

from __future__ import annotations

from typing import Any

from gateway.replica import tables
from gateway.replica.source import Batch, Position

CONNECT_SECONDS = 10.0
COMMAND_SECONDS = 60.0
LOCK = 0x5350454E44474154
"""One gateway after the other makes the tables."""


class Moved(Exception):  # noqa: N818 - a state, not a mistake
    """Somebody else has written under this name since its position was read."""


class Target:
    def __init__(self, connection: Any, schema: str) -> None:
        self._connection = connection
        self._schema = schema

    @classmethod
    async def connect(cls, url: str, schema: str) -> Target:
        """Raises ``OSError``, ``TimeoutError``, ``asyncpg.PostgresError``…"""
        import asyncpg  # type: ignore[import-untyped, unused-ignore]

        # nothing is prepared beyond its transaction, so that a pooler may stand between
        connection = await asyncpg.connect(
            url, timeout=CONNECT_SECONDS, command_timeout=COMMAND_SECONDS, statement_cache_size=0
        )
        return cls(connection, schema)

    def close(self) -> None:
        """At once: what is not committed is not written."""
        self._connection.terminate()

    async def prepare(self) -> None:
        """Make what is missing. A role that may not make anything can use what is there."""
        schema, connection = self._schema, self._connection
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            if not await connection.fetchval("SELECT 1 FROM pg_namespace WHERE nspname = $1", schema):
                await connection.execute(f"CREATE SCHEMA {schema}")
            for table, (columns, _) in tables.TABLES.items():
                known = await self._columns(table)
                if not known:
                    for statement in tables.create(schema, table):
                        await connection.execute(statement)
                    continue
                for column in columns:
                    if column not in known:
                        await connection.execute(tables.add(schema, table, column))
            for view in tables.VIEWS:
                if not tables.view_columns(view) <= await self._columns(view):
                    await connection.execute(tables.view(schema, view))

    async def _columns(self, table: str) -> set[str]:
        rows = await self._connection.fetch(
            "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 "
            "AND NOT attisdropped",
            f"{self._schema}.{table}",
        )
        return {row[0] for row in rows}

    async def positions(self, gateway: str) -> dict[str, Position]:
        """Of all names that this gateway has had, by name: ``ID``, ``ID.2``…"""
        rows = await self._connection.fetch(
            f"SELECT gateway, number, request_id, adjustment FROM {self._schema}.gateways "
            "WHERE split_part(gateway, '.', 1) = $1",
            gateway,
        )
        return {row[0]: Position(*list(row)[1:]) for row in rows}

    async def write(self, name: str, before: Position, batch: Batch) -> None:
        """Write a batch, and the position behind it, or nothing. Raises ``Moved``, and as ``connect`` does."""
        schema, connection, to = self._schema, self._connection, batch.position
        async with connection.transaction():
            await connection.execute(
                f"INSERT INTO {schema}.gateways (gateway, number, request_id, adjustment) VALUES ($1, 0, '', 0) "
                "ON CONFLICT DO NOTHING",
                name,
            )
            row = await connection.fetchrow(
                f"SELECT number, request_id, adjustment FROM {schema}.gateways WHERE gateway = $1 FOR UPDATE", name
            )
            if Position(*row) != before:
                raise Moved
            for table, rows in (("records", batch.records), ("adjustments", batch.adjustments)):
                if rows:
                    await connection.execute(tables.insert(schema, table), name, rows)
            await connection.execute(
                f"UPDATE {schema}.gateways SET number = $2, request_id = $3, adjustment = $4 WHERE gateway = $1",
                name, to.number, to.request_id, to.adjustment,
            )  # fmt: skip
