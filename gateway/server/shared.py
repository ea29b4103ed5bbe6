"""What the client connections of one data plane share, and read at each call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.ports import ExchangeFactory
from gateway.server.heads import Heads
from gateway.server.limits import Limits

if TYPE_CHECKING:
    from gateway.server.client_ends import Ends


class Shared:
    """The state; who owns the connections says what becomes of them."""

    def __init__(
        self, factory: ExchangeFactory, now: Callable[[], float], loop: asyncio.AbstractEventLoop, limits: Limits
    ) -> None:
        self.factory = factory
        self.now = now
        self.loop = loop
        self.limits = limits
        self.heads = Heads()
        self.draining = False
        self.malformed = 0
        """Requests refused because they were not HTTP as it must be."""
        self.slow_clients = 0
        """Connections given up because a head, a body or the taking of an answer was too slow."""
        self.in_flight = 0
        """Requests whose answer is outstanding."""

    def connected(self, connection: Ends) -> bool:
        """Count a new connection; False: there are too many."""
        raise NotImplementedError

    def disconnected(self, connection: Ends) -> None:
        """It is closed."""
        raise NotImplementedError
