"""One listening port: who connects is let in, over TLS where the port has a certificate, and given a protocol.

Without TLS the loop accepts. With it, and where connections are counted here, they are accepted here, so that one which
has not yet shown itself by a handshake is bounded in number and time like any other. The certificate can be changed
while the port is served: the sockets stay open, so that nobody who connects meanwhile is refused.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Sequence

BACKLOG = 4096
MAX_HANDSHAKES = 4096
"""So many connections may be in their handshake at once."""
ACCEPTS = 64
"""So many connections are taken from the queue in one turn of the loop."""
PAUSE_SECONDS = 0.5
"""Where no descriptor is left, nothing is accepted for so long."""
SHUTDOWN_SECONDS = 30.0
"""How long a connection that was closed may take to write what is left, and for its client's part of TLS's end."""


def kept_alive(connection: socket.socket) -> None:
    """The kernel asks a peer that is silent whether it is still there: so the networks between do not forget a call
    that is quiet for minutes, and a peer that has vanished is noticed. What a listening socket accepts inherits it. The
    times are those of the providers' own SDKs (anthropic-sdk-python, ``_base_client.py``)."""
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 60), ("TCP_KEEPCNT", 5)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class Standing:
    """One connection of a crowd, from the moment it was accepted."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.transport: asyncio.BaseTransport | None = None
        self.gone = False

    def stands(self) -> bool:
        return not self.gone and (self.transport is None or not self.transport.is_closing())


class Crowd:
    """Counts connections for protocols that do not: at most so many in all, and of one address."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._standing: list[Standing] = []

    def room(self, peer: str) -> bool:
        """Whether one more may be had."""
        standing = self._standing = [one for one in self._standing if one.stands()]
        return len(standing) < self._most and sum(one.peer == peer for one in standing) < self._most_of_one

    def enter(self, peer: str) -> Standing:
        """Count one more."""
        one = Standing(peer)
        self._standing.append(one)
        return one


class Listener:
    """Serves one address. ``make`` gives each connection its protocol; ``room`` is asked, before a handshake, whether
    one more connection of an address may be had; with ``crowd``, that is asked instead, without TLS too.
    ``shutdown_seconds``: after that a TLS connection that was closed is cut off, whatever its client has taken."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        make: Callable[[], asyncio.Protocol],
        handshake_seconds: float,
        room: Callable[[str], bool] = lambda peer: True,
        crowd: Crowd | None = None,
        shutdown_seconds: float = SHUTDOWN_SECONDS,
    ) -> None:
        self.loop = loop
        self.shutdown_seconds = shutdown_seconds
        self.handshake_seconds = handshake_seconds
        self.failed_handshakes = 0
        self.refused = 0
        """Connections closed before their handshake, because there were too many."""
        self.handshakes: set[asyncio.Task[None]] = set()
        self._make = make
        self._crowd = crowd
        self._room = crowd.room if crowd is not None else room
        self._sockets: list[socket.socket] = []
        self._serving: list[Callable[[], None]] = []
        """What ends each serving."""

    async def open(
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
        self._sockets = list(sockets) or await bound(self.loop, host, port, reuse_port=reuse_port)
        for listening in self._sockets:
            kept_alive(listening)
        await self.renew(tls)
        address: int = self._sockets[0].getsockname()[1]
        return address

    async def renew(self, tls: ssl.SSLContext | None) -> None:
        """New connections get this certificate, or none; those that stand go on with what they have."""
        before, now = self._serving, []
        for listening in self._sockets:
            # the same socket under a second descriptor: its queue never closes
            again = socket.socket(fileno=os.dup(listening.fileno()))
            again.setblocking(False)
            if tls is None and self._crowd is None:
                now.append((await self.loop.create_server(self._make, sock=again, backlog=BACKLOG)).close)
            else:
                now.append(_Acceptor(self, again, tls).close)
        self._serving = now
        for end in before:
            end()

    def close(self) -> None:
        """Close the listening sockets; connections and handshakes go on."""
        for end in self._serving:
            end()
        for listening in self._sockets:
            listening.close()
        self._serving, self._sockets = [], []

    def accepted(self, connection: socket.socket, peer: str, tls: ssl.SSLContext | None) -> None:
        """A connection came: it is let in once it has shown itself."""
        if len(self.handshakes) >= MAX_HANDSHAKES or not self._room(peer):
            self.refused += 1
            connection.close()
            return
        standing = self._crowd.enter(peer) if self._crowd is not None else Standing(peer)
        task = self.loop.create_task(self._enter(connection, standing, tls))
        self.handshakes.add(task)
        task.add_done_callback(self.handshakes.discard)

    async def _enter(self, connection: socket.socket, standing: Standing, tls: ssl.SSLContext | None) -> None:
        try:
            standing.transport, _ = await self.loop.connect_accepted_socket(
                self._make,
                connection,
                ssl=tls,
                ssl_handshake_timeout=self.handshake_seconds if tls is not None else None,
                ssl_shutdown_timeout=self.shutdown_seconds if tls is not None else None,
            )
        except OSError:
            # ssl.SSLError, a time-out and a client that left are among them
            self.failed_handshakes += 1
            standing.gone = True
            connection.close()


class _Acceptor:
    """Accepts on one socket while it is not closed."""

    def __init__(self, listener: Listener, listening: socket.socket, tls: ssl.SSLContext | None) -> None:
        self._listener = listener
        self._listening = listening
        self._tls = tls
        self._later: asyncio.TimerHandle | None = None
        listening.listen(BACKLOG)
        self._watch()

    def _watch(self) -> None:
        self._later = None
        self._listener.loop.add_reader(self._listening.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTS):
            try:
                connection, address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                # no descriptor or no memory is left: the queue would call again at once
                loop = self._listener.loop
                loop.remove_reader(self._listening.fileno())
                self._later = loop.call_later(PAUSE_SECONDS, self._watch)
                return
            connection.setblocking(False)
            self._listener.accepted(connection, address[0] if isinstance(address, tuple) else "", self._tls)

    def close(self) -> None:
        if self._later is not None:
            self._later.cancel()
        self._listener.loop.remove_reader(self._listening.fileno())
        self._listening.close()


async def bound(loop: asyncio.AbstractEventLoop, host: str, port: int, *, reuse_port: bool) -> list[socket.socket]:
    """A listening socket on each of the host's addresses. Raises ``OSError``, with the address in its text."""
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise _deaf(host, port, error) from None
    sockets: list[socket.socket] = []
    for family, kind, protocol, _, address in dict.fromkeys(found):
        one = socket.socket(family, kind, protocol)
        sockets.append(one)
        try:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.setblocking(False)
            one.bind(address)
            one.listen(BACKLOG)
        except OSError as error:
            for other in sockets:
                other.close()
            raise _deaf(host, port, error) from None
    return sockets


def _deaf(host: str, port: int, error: OSError) -> OSError:
    return OSError(error.errno, f"can't listen on {host}:{port}: {(error.strerror or str(error)).lower()}")
