"""The store in PostgreSQL. A call is one function of ``postgresql.sql``: one transaction, one way there and back."""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from importlib import resources
from typing import Any, TypeVar

import asyncpg

from gateway.sharing import packing
from gateway.sharing.store import (
    ALIVE_SECONDS,
    SHARE,
    Ask,
    Forgotten,
    Lent,
    Notice,
    Stand,
    StoreUnavailable,
    Superseded,
    Taken,
    Window,
)

VERSION = 1
"""Of what ``postgresql.sql`` makes."""
MAKING = 0x5350454E44
"""The lock of those who make it."""
LOCKS = 1024
"""Counters share so many locks: one call can't take more, and the server has room for them."""
PIECE = 7000
"""Characters of one NOTIFY, of which PostgreSQL takes 8000 bytes: a longer notice comes in several."""
FORGOTTEN, SUPERSEDED = "SG001", "SG002"
NOTHING_THERE = ("3F000", "42P01", "42883")
"""No such schema, table, function: somebody dropped what was made."""
FAILURES = (
    OSError,
    ssl.SSLError,
    ValueError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
SETTINGS = {
    "application_name": "spendgate",
    "default_transaction_isolation": "read committed",
    "statement_timeout": str(int(packing.TIMEOUT_SECONDS * 900)),
}
DURABLE = "SELECT current_setting('fsync'), current_setting('synchronous_commit')"
T = TypeVar("T")


class PostgresqlStore:
    """Implements ``LeaseStore``. ``schema`` holds everything and is made where it is absent. One connection."""

    def __init__(self, url: str, schema: str = "spendgate_quotas") -> None:
        self.weakness = ""
        self._url = url
        self._place = packing.place(url)
        self._schema = schema
        self._quoted = '"' + schema.replace('"', '""') + '"'
        self._connection: Any = None
        self._heard: Callable[[Notice], None] = lambda notice: None
        self._sender = secrets.token_hex(8)
        self._pieces: list[str] = []
        self._gateway = self._process = ""
        self._turn = 0

    async def connect(self, heard: Callable[[Notice], None]) -> None:
        self._heard = heard
        await self._within(self._connected())

    async def begin(self, gateway: str, process: str, taken: Sequence[Taken]) -> float:
        last = await self._fetched(f"SELECT {self._quoted}.last_turn($1) AS turn", gateway)
        self._gateway, self._process, self._turn = gateway, process, last[0]["turn"]
        await self._call("begin", *_rows(taken))
        return 0.0

    async def ask(self, asks: Sequence[Ask]) -> list[Lent]:
        rows = _rows([Taken(ask.window, ask.least) for ask in asks], once=False)
        locks = sorted({int.from_bytes(counter[:4], "big") % LOCKS for counter in rows[0]})
        limits = [min(ask.limit, packing.FURTHEST_NS) for ask in asks]
        lastings = [min(ask.lasting, packing.FURTHEST_NS) for ask in asks]
        found = await self._call("ask", locks, *rows, limits, lastings, SHARE, ALIVE_SECONDS)
        return [Lent(int(row["amount"]), int(row["free"]), row["elsewhere"]) for row in found]

    async def set(self, taken: Sequence[Taken]) -> None:
        await self._call("set", *_rows(taken))

    async def loosened(self, counters: Sequence[tuple[str, str]]) -> None:
        await self._call("loosened", [packing.counter_id(rule, bucket) for rule, bucket in counters])

    async def alive(self, stands: Sequence[Stand]) -> None:
        await self._call("alive", *_rows(packing.used(stands)))

    async def others(self, since: int) -> tuple[list[Stand], int]:
        first, *rows = await self._call("others", since)
        return [_stand(row) for row in rows], first["next"]

    async def say(self, notice: Notice) -> None:
        text = json.dumps([notice.recall, notice.rule, notice.bucket])
        parts = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
        sent = [f"{self._sender} {place} {len(parts)} {part}" for place, part in enumerate(parts)]
        await self._call("say", self._schema, sent)

    async def tidy(self, now_ns: int) -> None:
        await self._call("tidy", now_ns - packing.PAST_NS)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.close(timeout=packing.TIMEOUT_SECONDS)
            except (TimeoutError, *FAILURES):
                connection.terminate()

    async def _call(self, name: str, *values: Any) -> list[Any]:
        self._turn += 1
        identity = (self._gateway, self._process, self._turn)
        places = ", ".join(f"${place + 1}" for place in range(len(identity) + len(values)))
        return await self._fetched(f"SELECT * FROM {self._quoted}.{name}({places})", *identity, *values)  # noqa: S608

    async def _fetched(self, query: str, *values: Any) -> list[Any]:
        async def fetch() -> list[Any]:
            connection = await self._connected()
            found: list[Any] = await connection.fetch(query, *values)
            return found

        return await self._within(fetch())

    async def _within(self, work: Awaitable[T]) -> T:
        """In time, or the connection is given up: what it was asked last may yet be done, or not."""
        try:
            return await asyncio.wait_for(work, packing.TIMEOUT_SECONDS)
        except asyncpg.PostgresError as error:
            if error.sqlstate == SUPERSEDED:
                raise Superseded from error
            if error.sqlstate == FORGOTTEN or error.sqlstate in NOTHING_THERE:
                self._drop()
                raise Forgotten from error
            self._drop()
            raise StoreUnavailable(f"PostgreSQL at {self._place}: {packing.reason(error)}") from error
        except TimeoutError as error:
            self._drop()
            raise StoreUnavailable(f"PostgreSQL at {self._place} does not answer") from error
        except FAILURES as error:
            self._drop()
            raise StoreUnavailable(f"PostgreSQL at {self._place}: {packing.reason(error)}") from error

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _connected(self) -> Any:
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        connection = await asyncpg.connect(self._url, server_settings=SETTINGS, statement_cache_size=100)
        try:
            await self._make(connection)
            self._pieces.clear()
            await connection.add_listener(self._schema, self._notified)
            fsync, commits = await connection.fetchrow(DURABLE)
        except BaseException:
            connection.terminate()
            raise
        self.weakness = ""
        if fsync == "off" or commits == "off":
            self.weakness = (
                "PostgreSQL forgets what it was told last when it ends: set fsync and synchronous_commit to on"
            )
        self._connection = connection
        return connection

    async def _make(self, connection: Any) -> None:
        """Make the schema where it is absent or older. Several gateways may come at once."""
        version = f"SELECT number FROM {self._quoted}.version"  # noqa: S608
        try:
            if await connection.fetchval(version) == VERSION:
                return
        except asyncpg.PostgresError as error:
            if error.sqlstate not in NOTHING_THERE:
                raise
        text = resources.files("gateway.sharing").joinpath("postgresql.sql").read_text(encoding="utf-8")
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", MAKING)
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {self._quoted}")
            await connection.execute(text.replace('"spendgate"', self._quoted))
            await connection.execute(f"DELETE FROM {self._quoted}.version")  # noqa: S608
            await connection.execute(f"INSERT INTO {self._quoted}.version VALUES ($1)", VERSION)  # noqa: S608

    def _notified(self, _connection: Any, _pid: int, _channel: str, payload: str) -> None:
        sender, place, parts, text = payload.split(" ", 3)
        if sender == self._sender:
            return
        if place == "0":
            self._pieces.clear()
        self._pieces.append(text)
        if len(self._pieces) == int(parts):
            recall, rule, bucket = json.loads("".join(self._pieces))
            self._heard(Notice(recall, rule, bucket))


def _rows(taken: Iterable[Taken], *, once: bool = True) -> tuple[list[Any], ...]:
    """A list for each column, amounts the last."""
    rows = packing.latest(taken) if once else list(taken)
    windows: list[Window] = [row.window for row in rows]
    return (
        [packing.counter_id(window.rule, window.bucket) for window in windows],
        [packing.raw(window.rule) for window in windows],
        [packing.raw(window.bucket) for window in windows],
        [window.unit for window in windows],
        [window.start_ns for window in windows],
        [window.end_ns for window in windows],
        [window.rolling_ns for window in windows],
        [packing.past_ns(window) for window in windows],
        [row.amount for row in rows],
    )


def _stand(row: Any) -> Stand:
    rule, bucket = packing.cooked(row["rule"]), packing.cooked(row["bucket"])
    window = Window(rule, bucket, row["unit"], row["start_ns"], row["end_ns"], row["rolling_ns"])
    return Stand(window, int(row["used"]), int(row["taken"]))
