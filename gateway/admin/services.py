"""What the admin application needs of the running gateway."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from aiohttp import web
from prometheus_client.registry import CollectorRegistry

from gateway.ledger.reader import LedgerReader


class Services(msgspec.Struct, kw_only=True):
    token: str
    """Empty: nobody but this machine can connect, no token is asked for."""
    not_ready: Callable[[], str]
    registry: CollectorRegistry
    reader: LedgerReader
    routes: Sequence[Callable[[web.Application], None]] = ()
    """Further parts of the application: each adds its own routes."""


SERVICES = web.AppKey("services", Services)
