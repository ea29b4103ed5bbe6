"""The data plane's listening side: accepts connections, keeps their number and patience bounded, drains them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import Counter
from collections.abc import Sequence
from typing import cast

from gateway.ports import Clock, ExchangeFactory
from gateway.server.client_ends import IDLE_GRACE_SECONDS, Ends
from gateway.server.client_side import ClientConnection
from gateway.server.heads import Heads
from gateway.server.limits import Limits
from gateway.server.listener import Listener
from gateway.server.shared import Shared

SWEEP_SECONDS = 0.5
SHUTDOWN_SECONDS = 86_400.0
"""A connection's own deadlines end it long before."""
LEAVE_SECONDS = 1.0
"""How long a WebSocket may take for its end, once the time to drain is over."""


class DataPlane(Shared):
    """Serves ``factory``'s exchanges on one address."""

    def __init__(
        self, factory: ExchangeFactory, clock: Clock, loop: asyncio.AbstractEventLoop, limits: Limits | None = None
    ) -> None:
        super().__init__(factory, clock.monotonic, loop, limits or Limits())
        self.refused_connections = 0
        """Connections beyond a limit, whose handshake was over."""
        self.connections: set[Ends] = set()
        self._clock = clock
        self._peers: Counter[str] = Counter()
        make, head_seconds = self._protocol, self.limits.head_seconds
        self.listener = Listener(loop, make, head_seconds, self._room, shutdown_seconds=SHUTDOWN_SECONDS)
        self._sweeping = False
        self._empty: asyncio.Event = asyncio.Event()

    async def start(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        sockets: Sequence[socket.socket] = (),
        reuse_port: bool = False,
    ) -> int:
        """Listen on an address, or on sockets that were handed over; answers the port. Raises ``OSError`` where the
        address can't be had."""

        return await self.listener.open(host, port, tls=tls, sockets=sockets, reuse_port=reuse_port)

    def use(self, limits: Limits) -> None:
        """Other bounds hold from now on. Known heads are forgotten: they hold what was found of them before."""
        self.limits = limits
        self.heads = Heads()
        for connection in self.connections:
            connection.known = None

    async def renew(self, tls: ssl.SSLContext | None) -> None:
        """New connections get this certificate, or none."""
        await self.listener.renew(tls)

    def _protocol(self) -> asyncio.Protocol:
        """A new connection: a protocol in all but its base, which a compiled class can't have."""
        return cast(asyncio.Protocol, ClientConnection(self))

    def _room(self, peer: str) -> bool:
        """Whether one more connection may begin its handshake."""
        limits = self.limits
        entering = len(self.connections) + len(self.listener.handshakes)
        return entering <= limits.max_connections and self._peers[peer] <= limits.max_connections_per_peer

    @property
    def refused(self) -> int:
        """Connections beyond a limit."""
        return self.refused_connections + self.listener.refused

    def connected(self, connection: Ends) -> bool:
        """Count a new connection; False: there are too many."""
        if not self._sweeping:
            self._sweeping = True
            self._clock.after(SWEEP_SECONDS, self._sweep)
        self.connections.add(connection)
        self._peers[connection.peer] += 1
        limits = self.limits
        if (
            len(self.connections) > limits.max_connections
            or self._peers[connection.peer] > limits.max_connections_per_peer
        ):
            self.refused_connections += 1
            if len(self.connections) > limits.max_connections + limits.told_connections:
                connection.break_off()
            return False
        return True

    def disconnected(self, connection: Ends) -> None:
        self.connections.discard(connection)
        left = self._peers[connection.peer] - 1
        if left > 0:
            self._peers[connection.peer] = left
        else:
            del self._peers[connection.peer]
        if not self.connections:
            self._empty.set()

    def _sweep(self) -> None:
        now = self.now()
        for connection in [c for c in self.connections if c.deadline <= now]:
            connection.expire()
        if self.connections:
            self._clock.after(SWEEP_SECONDS, self._sweep)
        else:
            self._sweeping = False

    def stop_accepting(self) -> None:
        """Close the listening socket; connections go on."""
        self.listener.close()

    async def drain(self, seconds: float) -> bool:
        """Let answers finish, at most ``seconds``; True where all did. What is left is broken off."""
        self.draining = True
        self.stop_accepting()
        if self.listener.handshakes:
            await asyncio.wait(self.listener.handshakes, timeout=min(IDLE_GRACE_SECONDS, seconds))
        if self.connections:
            # a request that is on its way to a connection that seems idle is answered, and told to close
            self._empty.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), min(IDLE_GRACE_SECONDS, seconds))
        for connection in list(self.connections):
            connection.drain()
        if self.connections:
            self._empty.clear()
            try:
                await asyncio.wait_for(self._empty.wait(), seconds)
            except TimeoutError:
                await self._leave()
                return False
        return True

    async def _leave(self) -> None:
        """Break off what is left; a WebSocket is told before, and has a moment to take it."""
        self._empty.clear()
        for connection in list(self.connections):
            connection.leave()
        if self.connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), LEAVE_SECONDS)
        for connection in list(self.connections):
            connection.break_off()
