"""The PostgreSQL server that tests use, and a database of its own for each of them."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import asyncpg
import pytest

SERVER = os.environ.get("SPENDGATE_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432")


def ask(url: str, sql: str, *values: Any) -> list[Any]:
    """The rows of a statement. Blocks, also where an event loop runs."""

    async def asked() -> list[Any]:
        connection = await asyncpg.connect(url, timeout=10)
        try:
            await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
            return list(await connection.fetch(sql, *values))
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, asked()).result()


@contextmanager
def database() -> Iterator[str]:
    """The address of an empty database. Skips where there is no server."""
    name = f"spendgate_{secrets.token_hex(6)}"
    try:
        ask(f"{SERVER}/postgres", f"CREATE DATABASE {name}")
    except (OSError, TimeoutError) as error:
        pytest.skip(f"no PostgreSQL at {SERVER.rpartition('@')[2]}: {error}")
    try:
        yield f"{SERVER}/{name}"
    finally:
        ask(f"{SERVER}/postgres", f"DROP DATABASE {name} WITH (FORCE)")
