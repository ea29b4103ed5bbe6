"""Reaching a provider: names resolved off the loop and remembered for a while, directly or through an HTTP proxy.

A proxy is asked to tunnel (CONNECT, RFC 9110 section 9.3.6) where the provider speaks TLS; else requests go to it in
absolute form (RFC 9112 section 3.2.2). TLS always ends at the provider, never at the proxy.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable
from itertools import zip_longest
from typing import TypeVar, cast
from urllib.parse import unquote, urlsplit

from gateway.ports import Endpoint
from gateway.server.listener import kept_alive

ADDRESS_SECONDS = 30.0
"""How long a name's addresses are believed."""
STALE_SECONDS = 600.0
"""How long they serve beyond that where the name can't be resolved."""
RESOLVE_SECONDS = 2.0
"""How long a call waits for new addresses where there are old ones."""
MAX_NAMES = 256
NEXT_SECONDS = 1.0
"""Where an address has not answered for so long, TLS included, the next one is tried beside it. Not sooner: in a burst
of new connections each handshake waits for the others, and would be made twice."""
MAX_TUNNEL_HEAD = 16_384

P = TypeVar("P", bound=asyncio.Protocol)


def proxy_address(endpoint: Endpoint) -> tuple[str, int, bytes]:
    """The proxy's host and port, and the Proxy-Authorization field line (empty where it wants none)."""
    url = urlsplit(endpoint.proxy)
    line = b""
    if url.username is not None:
        pair = f"{unquote(url.username)}:{unquote(url.password or '')}".encode()
        line = b"Proxy-Authorization: Basic %b\r\n" % b64encode(pair)
    return url.hostname or "", url.port or 80, line


def authority(endpoint: Endpoint) -> bytes:
    """``host:port``, an IPv6 address in brackets."""
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return f"{host}:{endpoint.port}".encode()


def via_proxy(endpoint: Endpoint) -> tuple[bytes, bytes]:
    """What turns a request into the absolute form that a proxy takes, and the fields for the proxy; empty where
    requests go as they are."""
    if not endpoint.proxy or endpoint.tls is not None:
        return b"", b""
    return b"http://" + authority(endpoint), proxy_address(endpoint)[2]


def absolute_form(head: bytes, prefix: bytes, fields: bytes) -> bytes:
    """A request's head for a proxy."""
    method, _, rest = head.partition(b" ")
    line, _, others = rest.partition(b"\r\n")
    return b"%b %b%b\r\n%b%b" % (method, prefix, line, fields, others)


class Connector:
    """Opens connections. Raises ``OSError`` (``ssl.SSLError`` among them); the caller bounds the time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, monotonic: Callable[[], float]) -> None:
        self._loop = loop
        self._monotonic = monotonic
        self._names: dict[tuple[str, int], tuple[float, list[str]]] = {}
        self._lookups: dict[tuple[str, int], asyncio.Task[list[str]]] = {}

    async def connect(self, endpoint: Endpoint, factory: Callable[[], P]) -> P:
        """A connection on which requests to ``endpoint`` can be sent."""
        name = endpoint.host if endpoint.tls is not None else None
        if not endpoint.proxy:
            return await self._reach(endpoint.host, endpoint.port, factory, tls=endpoint.tls, name=name)
        host, port, line = proxy_address(endpoint)
        if endpoint.tls is None:
            return await self._reach(host, port, factory)
        tunnel = await self._reach(host, port, lambda: Tunnel(self._loop, authority(endpoint), line))
        try:
            transport = await tunnel.open()
            protocol = factory()
            secure = await self._loop.start_tls(transport, protocol, endpoint.tls, server_hostname=name)
        except BaseException:
            tunnel.close()
            raise
        if secure is None:
            raise ConnectionError("the tunnel was closed")
        protocol.connection_made(secure)
        return protocol

    async def _reach(
        self,
        host: str,
        port: int,
        factory: Callable[[], P],
        *,
        tls: ssl.SSLContext | None = None,
        name: str | None = None,
    ) -> P:
        """The first of the host's addresses that answers (RFC 8305 section 5): those before it may lead nowhere."""
        addresses = await self._addresses(host, port)
        if len(addresses) == 1:
            return (await self._create(addresses[0], port, factory, tls, name))[1]
        left = iter(list(addresses))
        attempts: dict[asyncio.Task[tuple[asyncio.Transport, P]], str] = {}
        failure: BaseException = OSError(f"{host} has no address")
        try:
            while True:
                following = next(left, None)
                if following is not None:
                    attempt = self._create(following, port, factory, tls, name)
                    attempts[self._loop.create_task(attempt)] = following
                elif not attempts:
                    raise failure
                patience = None if following is None else NEXT_SECONDS
                done, _ = await asyncio.wait(attempts, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                for one in done:
                    address, error = attempts.pop(one), one.exception()
                    if error is None:
                        _prefer(addresses, address)
                        return one.result()[1]
                    failure = error
        finally:
            for one in attempts:
                one.add_done_callback(_abandon)
                one.cancel()

    async def _create(
        self, address: str, port: int, factory: Callable[[], P], tls: ssl.SSLContext | None, name: str | None
    ) -> tuple[asyncio.Transport, P]:
        transport, protocol = await self._loop.create_connection(
            factory,
            address,
            port,
            ssl=tls,
            server_hostname=name,
        )
        kept_alive(transport.get_extra_info("socket"))
        return transport, protocol

    async def _addresses(self, host: str, port: int) -> list[str]:
        if _is_address(host):
            return [host]
        key = (host, port)
        now = self._monotonic()
        known = self._names.get(key)
        if known is not None and known[0] > now:
            return known[1]
        lookup = self._lookups.get(key)
        if lookup is None:
            lookup = self._lookups[key] = self._loop.create_task(self._look_up(key))
            lookup.add_done_callback(lambda done: self._looked_up(key, done))
        if known is None or known[0] + STALE_SECONDS < now:
            return await asyncio.shield(lookup)
        try:
            return await asyncio.wait_for(asyncio.shield(lookup), RESOLVE_SECONDS)
        except (TimeoutError, OSError):
            return known[1]

    async def _look_up(self, key: tuple[str, int]) -> list[str]:
        """All calls that need the same name wait for one lookup."""
        host, port = key
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = _by_turns(list(dict.fromkeys(str(info[4][0]) for info in found)))
        if not addresses:
            raise OSError(f"{host} has no address")
        if len(self._names) >= MAX_NAMES:
            self._names.clear()
        self._names[key] = (self._monotonic() + ADDRESS_SECONDS, addresses)
        return addresses

    def _looked_up(self, key: tuple[str, int], lookup: asyncio.Task[list[str]]) -> None:
        del self._lookups[key]
        if not lookup.cancelled():
            lookup.exception()  # whoever still waits for it has it; else it is nobody's


def _by_turns(addresses: list[str]) -> list[str]:
    """IPv6 and IPv4 one after the other (RFC 8305 section 4): where one of both leads nowhere, the second answers."""
    first = [address for address in addresses if (":" in address) == (":" in addresses[0])]
    other = [address for address in addresses if address not in first]
    return [address for pair in zip_longest(first, other) for address in pair if address is not None]


def _prefer(addresses: list[str], address: str) -> None:
    """Begin with the one that answered, as long as the name's addresses are believed."""
    addresses.remove(address)
    addresses.insert(0, address)


def _abandon(attempt: asyncio.Task[tuple[asyncio.Transport, P]]) -> None:
    """Another address was faster."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result()[0].abort()


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return True
    return False


class Tunnel(asyncio.Protocol):
    """Asks a proxy for a tunnel; ``open`` answers the transport once it stands."""

    def __init__(self, loop: asyncio.AbstractEventLoop, target: bytes, fields: bytes) -> None:
        self._target = target
        self._fields = fields
        self._seen = b""
        self._ready: asyncio.Future[asyncio.Transport] = loop.create_future()
        self._transport: asyncio.Transport | None = None

    async def open(self) -> asyncio.Transport:
        return await self._ready

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        head = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (self._target, self._target, self._fields)
        self._transport.write(head)

    def data_received(self, data: bytes) -> None:
        self._seen += data
        end = self._seen.find(b"\r\n\r\n")
        if end < 0:
            if len(self._seen) > MAX_TUNNEL_HEAD:
                self._refuse("the proxy's answer is too long")
            return
        status = self._seen.split(b"\r\n", 1)[0].split(b" ")
        if len(status) < 2 or not status[0].startswith(b"HTTP/1.") or not status[1].startswith(b"2"):
            self._refuse(f"the proxy refused the tunnel: {b' '.join(status)[:200].decode('latin-1')}")
        elif len(self._seen) > end + 4:
            self._refuse("the proxy spoke into the tunnel")
        elif not self._ready.done() and self._transport is not None:
            self._ready.set_result(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._refuse("the proxy closed the connection")

    def _refuse(self, why: str) -> None:
        if not self._ready.done():
            self._ready.set_exception(ConnectionError(why))
            self._ready.exception()  # nobody waits for one that another was faster than
        self.close()
