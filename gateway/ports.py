"""The seam between the transport and one call's ``Exchange``. Nothing here knows of money or providers.

The transport calls an ``Exchange`` (inputs); an exchange calls ``ClientPort`` and ``UpstreamPort`` (outputs).
All of it happens on the event loop's thread, synchronously: no call here awaits. A transport never re-enters an
exchange from inside an output call (what an output causes arrives in a later loop iteration).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import msgspec

Header = tuple[bytes, bytes]

Failure = Literal["connect", "connect_timeout", "unavailable", "reset", "head_timeout", "idle_timeout", "protocol"]
"""Why an upstream call ended early: not reached; not reached in time; not tried, because it could not be reached again
and again; broken off; no head in time; silent for too long; spoke something that is not HTTP."""


class RequestHead:
    """One request's head: bytes as they came. Requests whose heads are the same bytes may share it, one after the
    other: then ``peer``, ``length`` and ``received`` are those of the newest."""

    __slots__ = ("found", "headers", "length", "method", "peer", "received", "target", "upgrade", "version")

    def __init__(
        self,
        method: bytes,
        target: bytes,
        version: bytes,
        headers: list[Header],
        upgrade: bool = False,
        peer: str = "",
        length: int | None = None,
        received: float = 0.0,
    ) -> None:
        self.method = method
        self.target = target
        """Path and query, exactly as on the wire (origin form)."""
        self.version = version
        """``1.0`` or ``1.1``."""
        self.headers = headers
        """In order, names in their case, hop-by-hop headers included."""
        self.upgrade = upgrade
        self.peer = peer
        """The client's address."""
        self.length = length
        """Content-Length; None: chunked or no body."""
        self.received = received
        """Monotonic seconds (``loop.time()``) at which the first byte of the head came."""
        self.found: object = None
        """What the exchange found in these bytes; it is the exchange's to say how long that holds."""


class Endpoint(msgspec.Struct, frozen=True):
    """Where a provider lives and how long to wait for it. Pools are kept per endpoint."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    host_header: bytes = b""
    connect_seconds: float = 10.0
    head_seconds: float = 600.0
    """From the last request byte to the response's head."""
    idle_seconds: float = 300.0
    """Between two pieces of a response."""
    max_connections: int = 0
    """0: no bound."""
    breaker_failures: int = 5
    """After so many connections in a row that failed, calls fail at once; 0: never."""
    breaker_seconds: float = 5.0
    """…until so much later one call tries again."""
    proxy: str = ""
    """``http://[user:password@]host:port`` to go through, by CONNECT for TLS; empty: direct."""


class ClientPort(Protocol):
    """What an exchange may do to its client. Each request gets exactly one of: ``reply``; ``start`` … ``finish``;
    ``abort``; nothing (it is gone)."""

    def interim(self, status: int, reason: bytes, headers: Sequence[Header]) -> None:
        """Pass on a 1xx answer (103 Early Hints…) before the final one."""
        ...

    def reply(self, status: int, reason: bytes, headers: Sequence[Header], body: bytes) -> None:
        """A whole answer in one write. The transport adds the framing headers (content-length, connection) unless
        the answer to this method/status has no body; then headers go as they are (HEAD keeps its content-length)."""
        ...

    def start(self, status: int, reason: bytes, headers: Sequence[Header], length: int | None) -> None:
        """Send the head. ``length``: known body length, else chunked (HTTP/1.1) or until close (1.0).
        ``headers`` hold no framing and no hop-by-hop header."""
        ...

    def write(self, data: bytes) -> None:
        """Send body bytes at once, unbuffered."""
        ...

    def finish(self, trailers: Sequence[Header] = ()) -> None:
        """The clean end of the body."""
        ...

    def abort(self) -> None:
        """Break the connection so that no client can take the body for complete."""
        ...

    def switch(self, status: int, reason: bytes, headers: Sequence[Header]) -> None:
        """Answer an upgrade: from here on ``write`` sends raw bytes, and what comes goes to ``client_data``."""
        ...

    def pause(self) -> None:
        """After ``switch``: the provider is slow, stop reading."""
        ...

    def resume(self) -> None: ...

    def close(self) -> None:
        """After ``switch``: send what is written, then close."""
        ...


class UpstreamPort(Protocol):
    """A running upstream call, as its exchange sees it."""

    @property
    def whole(self) -> bool:
        """All of the answer is here: its end follows its head in the same turn of the loop."""
        ...

    def pause(self) -> None:
        """The client is slow: stop reading."""
        ...

    def resume(self) -> None: ...

    def abort(self) -> None:
        """Close the connection now; no further input follows."""
        ...

    def write(self, data: bytes) -> None:
        """After ``upstream_switched``: send raw bytes."""
        ...


class Upstreams(Protocol):
    """The connection pools."""

    def send(self, endpoint: Endpoint, head: bytes, body: bytes, method: bytes, to: Exchange) -> UpstreamPort:
        """Send a complete request (``head`` ends with its blank line) and report to ``to``."""
        ...


class Exchange(Protocol):
    """One call. The transport gives inputs in the order in which they happen; after ``client_gone`` no output
    goes to the client; after ``upstream_end`` or ``upstream_failed`` no further upstream input comes."""

    wants_body: bool
    """False once the exchange has answered without needing the body: the transport may answer, then close
    instead of reading a long rest."""

    def request_head(self, head: RequestHead) -> None:
        """Called before the body is read; the exchange may ``reply`` at once (401, 413, 404)."""
        ...

    def request_body(self, body: bytes) -> None:
        """The whole body (empty when there is none). The transport enforces ``max_body_bytes`` by calling
        ``request_too_large`` instead."""
        ...

    def request_too_large(self) -> None: ...

    def client_data(self, data: bytes) -> None:
        """After ``ClientPort.switch``: raw bytes of the client."""
        ...

    def client_paused(self) -> None:
        """The client's socket buffer is full."""
        ...

    def client_resumed(self) -> None: ...

    def client_gone(self) -> None:
        """The client closed or reset its connection before its answer was finished."""
        ...

    def going_away(self) -> None:
        """After ``ClientPort.switch``: the gateway stops, and the connection is closed in a moment. What can be said
        of it in the protocol that was switched to may be said now."""
        ...

    def upstream_interim(self, status: int, reason: bytes, headers: list[Header]) -> None: ...

    def upstream_head(self, status: int, reason: bytes, headers: list[Header]) -> None:
        """Final status. Headers in order and case, hop-by-hop headers included."""
        ...

    def upstream_switched(self, status: int, reason: bytes, headers: list[Header]) -> None:
        """The provider took the upgrade; ``upstream_data`` brings raw bytes from here on."""
        ...

    def upstream_paused(self) -> None:
        """After ``upstream_switched``: the provider has not taken what was written."""
        ...

    def upstream_resumed(self) -> None: ...

    def upstream_data(self, data: bytes) -> None:
        """Body bytes after transfer decoding, in the pieces in which they came."""
        ...

    def upstream_end(self, trailers: list[Header]) -> None:
        """The body ended cleanly, by its own framing (for a close-delimited body: by a clean close)."""
        ...

    def upstream_failed(self, failure: Failure, detail: str) -> None: ...


class ExchangeFactory(Protocol):
    def __call__(self, client: ClientPort) -> Exchange: ...


class Timer(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    """Time, passed in. ``after`` is coarse (a wheel of some tens of milliseconds): cheap enough for every call."""

    def now_ns(self) -> int:
        """Wall clock, nanoseconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds, for durations."""
        ...

    def after(self, seconds: float, callback: Callable[[], None]) -> Timer: ...


class Credential(Protocol):
    """What proves the gateway to a provider."""

    @property
    def replaces(self) -> frozenset[bytes]:
        """Names (lower case) of the caller's fields that must go, beside its credential."""
        ...

    def headers(
        self, method: bytes, host: bytes, target: bytes, headers: Sequence[Header], body: bytes
    ) -> Sequence[Header]:
        """Headers to add to this request. Raises ``CredentialUnavailable`` where none is valid now."""
        ...


class CredentialUnavailable(Exception):  # noqa: N818 - a state, not a mistake
    """No valid credential now (a token could not be refreshed). The text says why, without a secret."""
