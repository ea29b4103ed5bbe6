"""What the admin application needs of the running gateway."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from gateway.admin.access import Access
from gateway.config.schema import Config
from gateway.ledger.reader import LedgerReader
from gateway.metrics.lines import Piece
from pricing.book import PriceBook

T = TypeVar("T")
Task = Callable[[sqlite3.Connection], Any]


class Services(msgspec.Struct, kw_only=True):
    access: Access
    not_ready: Callable[[], str]
    samples: Callable[[], Iterator[Piece]]
    """All metrics in pieces, as ``gateway.metrics.collector`` makes them."""
    reload: Callable[[str], Awaitable[tuple[list[str], list[str]]]]
    """Reads the configuration again for somebody; answers what is wrong, else which keys changed."""
    audit: Callable[..., None]
    """Notes who changed what, see ``gateway.audit``."""
    reader: LedgerReader
    config: Callable[[], Config]
    """The configuration that holds now."""
    book: Callable[[], PriceBook]
    write: Callable[[Task], Awaitable[Any]]
    """Runs a task on the ledger's writer, in a transaction of its own."""
    now_ns: Callable[[], int]
    routes: Sequence[Callable[[web.Application], None]] = ()
    """Further parts of the application: each adds its own routes."""

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """The answer of a query on a read connection, in a thread, so that it delays no call."""
        return await asyncio.to_thread(lambda: query(self.reader.connection()))


SERVICES = web.AppKey("services", Services)
MADE = web.RequestKey("made", str)
"""The id of what a request made: the audit names it."""
