"""Keep-alive connections to providers. Decisions are synchronous; opening a connection is the only thing that waits.

1. A call takes the connection that was used last and is still open.
2. Else, where the endpoint's bound allows it, a new one is opened for it.
3. Else it waits in line, in order, for the next connection that comes back.

A connection that closed while idle is never used; a request is sent once, on one connection.
"""

from __future__ import annotations

import asyncio
import errno
import select
import ssl
from collections import deque
from collections.abc import Callable
from math import inf
from typing import cast

from gateway.ports import Clock, Endpoint, Exchange, Failure, UpstreamPort
from gateway.server.breaker import Breaker
from gateway.server.connect import Connector, via_proxy
from gateway.server.upstream_call import UpstreamCall
from gateway.server.upstream_side import UpstreamConnection
from gateway.wire.answer_heads import Shapes

IDLE_SECONDS = 50.0
"""Below the 60 seconds after which common load balancers close."""
LIFETIME_SECONDS = 3600.0
MAX_IDLE = 1024
MAX_WAITING = 10_000
MAX_KNOWN = 1024
SWEEP_SECONDS = 0.5
ASKED_SECONDS = 0.001
"""So long the kernel's word holds that nothing lies on an idle connection: below what any close takes on its way."""
MAX_ASKED = 32
OURS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL)
"""What this machine lacks: it says nothing about the provider, and takes no time to find out."""


class EndpointPool:
    """The connections to one endpoint."""

    def __init__(
        self,
        endpoint: Endpoint,
        now: Callable[[], float],
        loop: asyncio.AbstractEventLoop,
        connector: Connector,
    ) -> None:
        self.endpoint = endpoint
        self.prefix, self.proxy_fields = via_proxy(endpoint)
        self._connector = connector
        self._now = now
        self._loop = loop
        self.idle: list[UpstreamConnection] = []
        self._used = 0
        """Idle ones that were taken since the kernel was last asked about some."""
        self.open: set[UpstreamConnection] = set()
        self.waiting: deque[UpstreamCall] = deque()
        self._connecting: set[asyncio.Task[None]] = set()
        self.breaker = Breaker(endpoint)
        self.heads = Shapes()

    def busy(self, now: float) -> bool:
        """True while there is a connection, or a call that waits for one, or a failure to remember."""
        return bool(self.open or self._connecting or self.waiting) or self.breaker.remembers(now)

    def send(self, call: UpstreamCall) -> None:
        """Start ``call`` now, or as soon as a connection can serve it."""
        now = self._now()
        idle = self.idle
        while idle:
            if now - idle[-1].asked_at > ASKED_SECONDS:
                self._ask(now)
                continue
            connection = idle.pop()
            if connection.usable():
                self._used += 1
                connection.start(call, now)
                return
            connection.drop()
        refused = self.breaker.refuses(now)
        if refused:
            self._loop.call_soon(call.fail, "unavailable", refused)
            return
        limit = self.endpoint.max_connections
        if limit and len(self.open) + len(self._connecting) >= limit:
            if len(self.waiting) >= MAX_WAITING:
                self._loop.call_soon(call.fail, "connect", f"{MAX_WAITING} calls wait for a connection already")
                return
            call.waits_until = now + self.endpoint.connect_seconds
            self.waiting.append(call)
            return
        task = self._loop.create_task(self._connect(call))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def _ask(self, now: float) -> None:
        """Drop those at hand on which something lies: the provider's close may be there already, and a request that
        was written can't be sent a second time. One question serves a burst of calls."""
        asked = self.idle[-min(2 * self._used + 1, MAX_ASKED) :]
        self._used = 0
        speaking = _speaking(asked)
        for connection in asked:
            connection.asked_at = now
            if connection.descriptor in speaking:
                self.idle.remove(connection)
                connection.drop()

    def give_back(self, connection: UpstreamConnection) -> None:
        """A connection is free again: the next in line takes it."""
        while self.waiting:
            call = self.waiting.popleft()
            if call.to is not None:
                self._loop.call_soon(self._start_on, connection, call)
                return
        now = self._now()
        idle_seconds = connection.idle_seconds
        if idle_seconds <= 0 or len(self.idle) >= MAX_IDLE or now - connection.opened_at > LIFETIME_SECONDS:
            connection.drop()
            return
        connection.asked_at = -inf
        connection.deadline = now + (idle_seconds if idle_seconds < IDLE_SECONDS else IDLE_SECONDS)
        self.idle.append(connection)

    def _start_on(self, connection: UpstreamConnection, call: UpstreamCall) -> None:
        if call.to is None:
            self.give_back(connection)
        elif connection.usable() and not _speaking([connection]):
            connection.start(call, self._now())
        else:
            self.send(call)

    def lost(self, connection: UpstreamConnection) -> None:
        self.open.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        if self.waiting:
            self._loop.call_soon(self._send_waiting)

    def _send_waiting(self) -> None:
        if self.waiting:
            self.send(self.waiting.popleft())

    def sweep(self, now: float) -> None:
        """Close what is past its deadline, and answer who waited in line for too long."""
        waiting = self.waiting
        while waiting and waiting[0].waits_until <= now:
            call = waiting.popleft()
            call.fail("connect_timeout", f"all {self.endpoint.max_connections} connections are in use")
        for connection in [c for c in self.open if c.overdue(now)]:
            connection.expire()

    def close(self) -> None:
        for task in list(self._connecting):
            task.cancel()
        for connection in list(self.open):
            connection.drop()

    async def _connect(self, call: UpstreamCall) -> None:
        endpoint = self.endpoint
        failure: Failure = "connect"
        ours = False
        try:
            async with asyncio.timeout(endpoint.connect_seconds):
                connection = cast(UpstreamConnection, await self._connector.connect(endpoint, self._protocol))
        except TimeoutError:
            failure, detail = "connect_timeout", f"no connection within {endpoint.connect_seconds:g} s"
        except ssl.SSLCertVerificationError as error:
            detail = f"the certificate is not trusted: {error.verify_message or error.reason}"
        except ssl.SSLError as error:
            detail = f"TLS failed: {error.reason or error}"
        except OSError as error:
            detail = str(error)
            ours = error.errno in OURS
        except Exception as error:  # noqa: BLE001 - whatever fails, the call must end
            self._loop.call_exception_handler({"message": "connecting failed", "exception": error})
            detail = "connecting failed"
        else:
            self.breaker.connected()
            self.open.add(connection)
            if connection.closed:
                self.lost(connection)
                detail = "the connection was closed at once"
            else:
                self._connected(connection, call)
                return
        if not ours:
            self.breaker.failed(self._now())
        call.fail(failure, detail)
        if self.waiting:
            self._loop.call_soon(self._send_waiting)

    def _protocol(self) -> asyncio.Protocol:
        """A new connection: a protocol in all but its base, which a compiled class can't have."""
        return cast(asyncio.Protocol, UpstreamConnection(self, self._now))

    def _connected(self, connection: UpstreamConnection, call: UpstreamCall) -> None:
        if call.to is None:
            self.give_back(connection)
        else:
            connection.start(call, self._now())


def _speaking(connections: list[UpstreamConnection]) -> set[int]:
    """The descriptors of those on which bytes lie, or an end."""
    poll = select.poll()
    for connection in connections:
        poll.register(connection.descriptor, select.POLLIN)
    return {descriptor for descriptor, _ in poll.poll(0)}


class Pool:
    """Implements ``gateway.ports.Upstreams`` for all endpoints."""

    def __init__(self, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self._clock = clock
        self._loop = loop
        self._connector = Connector(loop, clock.monotonic)
        self._pools: dict[Endpoint, EndpointPool] = {}
        self._known: dict[int, tuple[Endpoint, EndpointPool]] = {}
        """By identity, because hashing an endpoint costs more than all else here; holds the endpoint, so that its
        identity is not given to another."""
        self._sweeping = False

    def send(self, endpoint: Endpoint, head: bytes, body: bytes, method: bytes, to: Exchange) -> UpstreamPort:
        known = self._known.get(id(endpoint))
        pool = known[1] if known is not None else self._pool_of(endpoint)
        call = UpstreamCall(endpoint, head, body, method, to)
        pool.send(call)
        return call

    def _pool_of(self, endpoint: Endpoint) -> EndpointPool:
        pool = self._pools.get(endpoint)
        if pool is None:
            now = self._clock.monotonic
            pool = self._pools[endpoint] = EndpointPool(endpoint, now, self._loop, self._connector)
            if not self._sweeping:
                self._sweeping = True
                self._clock.after(SWEEP_SECONDS, self._sweep)
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[id(endpoint)] = (endpoint, pool)
        return pool

    def _sweep(self) -> None:
        now = self._clock.monotonic()
        for pool in list(self._pools.values()):
            pool.sweep(now)
        if any(pool.busy(now) for pool in self._pools.values()):
            self._clock.after(SWEEP_SECONDS, self._sweep)
        else:
            self._sweeping = False
            self._pools.clear()
            self._known.clear()

    def counts(self) -> tuple[int, int]:
        """Open and idle connections."""
        pools = self._pools.values()
        return sum(len(p.open) for p in pools), sum(len(p.idle) for p in pools)

    def known_heads(self) -> int:
        """Heads of answers that are known."""
        return sum(len(pool.heads) for pool in self._pools.values())

    def unreachable(self) -> int:
        """Endpoints that calls are kept from."""
        return sum(pool.breaker.is_open for pool in self._pools.values())

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()
