"""Both listening ports: opened at start, given new certificates at a reload, closed at the end."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping, Sequence

from aiohttp import web

from gateway.admin.app import MAX_LINE, make_app
from gateway.admin.mistakes import server_logger
from gateway.admin.services import Services
from gateway.config.certificates import ends_at, fingerprint
from gateway.config.schema import ServerConfig, TlsConfig
from gateway.config.values import split_address
from gateway.descriptors import shares
from gateway.server.limits import Limits
from gateway.server.listener import Crowd, Listener
from gateway.server.patience import Patience, patient
from gateway.server.plane import DataPlane
from gateway.server.tls import server_context

PORTS = ("tls", "admin_tls")
ADMIN_CONNECTIONS, ADMIN_CONNECTIONS_OF_ONE = 1024, 256
"""The admin port's: what it holds open must leave descriptors to calls."""
LINGER_SECONDS = 2.0
"""So long the rest of a body is read that its answer did not wait for."""
Material = dict[str, bytes]
Sockets = Mapping[str, Sequence[socket.socket]]
"""Listening sockets that were handed over, by the port's name (``data``, ``admin``)."""


class Doors:
    """The data plane's port and the admin port; in one of several processes, one of them."""

    def __init__(self, plane: DataPlane | None, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        self.plane = plane
        self.ends: dict[str, float] = {}
        """Port (``data``, ``admin``) → when its certificate ends, in seconds since the epoch."""
        self._shown: Material = {}
        self._runner: web.AppRunner | None = None
        self._admin: Listener | None = None
        self._patience = Patience(loop, limits)

    async def open(self, server: ServerConfig, services: Services | None, sockets: Sockets) -> None:
        """Listen: on the admin port with ``services``, on the other with a plane. Raises ``OSError``."""
        self._shown = _material(server)
        self._tell(server)
        if services is not None:
            runner = self._runner = web.AppRunner(
                make_app(services),
                access_log=None,
                logger=server_logger(),
                max_line_size=MAX_LINE,
                keepalive_timeout=server.limits.idle_seconds,
                lingering_time=LINGER_SECONDS,
            )
            await runner.setup()
            assert runner.server is not None
            crowd = Crowd(min(ADMIN_CONNECTIONS, shares().admin), ADMIN_CONNECTIONS_OF_ONE)
            make = patient(self._patience, runner.server)
            self._admin = Listener(self._patience.loop, make, server.limits.head_seconds, crowd=crowd)
            host, port = split_address(server.admin_listen)
            handed = sockets.get("admin", ())
            await self._admin.open(host, port, tls=context_of(server.admin_tls), sockets=handed)
        if self.plane is not None:
            # last: whoever is answered here finds all of it up
            host, port = split_address(server.listen)
            await self.plane.start(host, port, tls=context_of(server.tls), sockets=sockets.get("data", ()))

    def prepare(self, server: ServerConfig) -> Renewal:
        """What a reload would show on the ports. Raises ``OSError`` or ``ssl.SSLError``; changes nothing."""
        return Renewal(server, _material(server), context_of(server.tls), context_of(server.admin_tls))

    def changed(self, renewal: Renewal) -> list[str]:
        """The keys of ports whose files are others than before."""
        return [f"server.{port}" for port in PORTS if renewal.material[port] != self._shown[port]]

    async def renew(self, renewal: Renewal) -> None:
        """Show it. Connections that stand go on with what they have."""
        changed = self.changed(renewal)
        if "server.tls" in changed and self.plane is not None:
            await self.plane.renew(renewal.data)
        if "server.admin_tls" in changed and self._admin is not None:
            await self._admin.renew(renewal.admin)
        self._shown = renewal.material
        self._tell(renewal.server)

    @property
    def failed_handshakes(self) -> int:
        admin = self._admin.failed_handshakes if self._admin is not None else 0
        return (self.plane.listener.failed_handshakes if self.plane is not None else 0) + admin

    def use(self, limits: Limits) -> None:
        """Other bounds hold from now on, on both ports."""
        if self.plane is not None:
            self.plane.use(limits)
        self._patience.limits = limits

    @property
    def slow_clients(self) -> int:
        """Connections given up because of a slow client, on both ports."""
        return (self.plane.slow_clients if self.plane is not None else 0) + self._patience.given_up

    @property
    def refused(self) -> int:
        """Connections beyond a limit, on both ports."""
        admin = self._admin.refused if self._admin is not None else 0
        return (self.plane.refused if self.plane is not None else 0) + admin

    async def close(self) -> None:
        """Close the admin port; the data plane drains by itself."""
        if self._admin is not None:
            self._admin.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def _tell(self, server: ServerConfig) -> None:
        shown = {"data": server.tls, "admin": server.admin_tls}
        self.ends = {name: ends_at(tls.cert) for name, tls in shown.items() if tls is not None}


class Renewal:
    """Certificates that were read, and can be used."""

    def __init__(
        self, server: ServerConfig, material: Material, data: ssl.SSLContext | None, admin: ssl.SSLContext | None
    ) -> None:
        self.server = server
        self.material = material
        self.data = data
        self.admin = admin


def context_of(tls: TlsConfig | None) -> ssl.SSLContext | None:
    """How a port speaks TLS; None: it does not. Raises ``OSError`` or ``ssl.SSLError``."""
    return server_context(tls.cert, tls.key, tls.client_ca) if tls is not None else None


def _material(server: ServerConfig) -> Material:
    return {"tls": fingerprint(server.tls), "admin_tls": fingerprint(server.admin_tls)}
