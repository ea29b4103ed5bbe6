"""The provider's side of the transport: one connection, and one call on it.

What ``UpstreamAnswer`` understood of each read becomes the inputs of ``gateway.ports.Exchange``, in the pieces in which
the bytes came; here is decided whether the connection may serve again.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, cast

import httptools

from gateway.server.client_ends import unsent
from gateway.server.connect import absolute_form
from gateway.server.upstream_answer import MAX_HEAD_BYTES, NO_PARSER, UpstreamAnswer
from gateway.server.upstream_call import UpstreamCall
from gateway.wire.http_heads import Fields

if TYPE_CHECKING:
    from gateway.server.pool import EndpointPool

JOIN_BYTES = 65_536
"""A request up to this size leaves in one write."""


class UpstreamConnection(UpstreamAnswer):
    """One connection to a provider, as asyncio and llhttp drive it. Serves one call at a time."""

    __slots__ = (
        "_heard", "_now", "_pool", "_raw", "_taken", "_transport", "asked_at", "closed", "deadline", "descriptor",
        "opened_at",
    )  # fmt: skip

    def __init__(self, pool: EndpointPool, now: Callable[[], float]) -> None:
        super().__init__(pool.heads)
        self._pool = pool
        self._now = now
        self._transport: asyncio.Transport | None = None
        self.descriptor = -1
        self.asked_at = -inf
        """When the kernel was asked whether anything lies here, since it is idle."""
        self.closed = False
        self.deadline = inf
        self._heard = False
        """Something came since the deadline was last looked at."""
        self._taken = 0
        """What the provider had acknowledged of a long request when it was last looked at."""
        self.opened_at = now()
        self._raw = False

    # the call

    def start(self, call: UpstreamCall, now: float) -> None:
        """Send a request; its answer goes to the call's exchange."""
        transport = self._transport
        assert transport is not None
        self._call = call
        call.connection = self
        self._heard = False
        self._taken = 0
        self.deadline = now + call.endpoint.head_seconds
        head, body = call.head, call.body
        if self._pool.prefix:
            head = absolute_form(head, self._pool.prefix, self._pool.proxy_fields)
        if len(body) <= JOIN_BYTES:
            transport.write(head + body if body else head)
        else:
            transport.writelines((head, body))
        if call.paused:
            transport.pause_reading()

    def pause(self) -> None:
        if self._transport is not None and not self.closed:
            self._transport.pause_reading()
            if not self._raw:
                self._heard = False
                self.deadline = inf

    def resume(self) -> None:
        if self._transport is not None and not self.closed and self._call is not None:
            self._transport.resume_reading()
            if not self._raw:
                self.deadline = self._now() + self._call.endpoint.idle_seconds

    def drop(self) -> None:
        """Close at once, whatever is in flight."""
        self._call = None
        if self._transport is not None and not self.closed:
            self._transport.abort()

    def overdue(self, now: float) -> bool:
        """Whether the deadline passed. What came meanwhile counts as if it came now: cheaper than a look at the clock
        for each piece, and at most one look late."""
        call = self._call
        if self._heard and call is not None:
            self._heard = False
            self.deadline = now + (call.endpoint.idle_seconds if self._seen_head else call.endpoint.head_seconds)
        elif self.deadline <= now and call is not None and not self._seen_head and self._takes():
            self.deadline = now + call.endpoint.head_seconds
        return self.deadline <= now

    def _takes(self) -> bool:
        """Whether the provider has taken more of the request than when this was last asked: its time counts from the
        last byte. One that had taken all when this was first asked has had its time."""
        transport = self._transport
        if transport is None or not (self._taken or unsent(transport)):
            return False
        before, self._taken = self._taken, acknowledged(transport)
        return self._taken > before

    def expire(self) -> None:
        """The deadline passed: the provider is too slow, or an idle connection too old."""
        call, self._call = self._call, None
        seen_head = self._seen_head
        if self._transport is not None:
            self._transport.abort()
        if call is None:
            return
        if seen_head:
            call.fail("idle_timeout", f"nothing came for {call.endpoint.idle_seconds:g} s")
        else:
            call.fail("head_timeout", f"no answer within {call.endpoint.head_seconds:g} s")

    def usable(self) -> bool:
        """True where a new call may be started here, as far as is known without asking the kernel."""
        transport = self._transport
        return not (self.closed or self._call is not None or transport is None or transport.is_closing())

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.descriptor = transport.get_extra_info("socket").fileno()
        read_ahead = getattr(transport, "set_read_buffer_limits", None)
        if read_ahead is not None:
            # TLS: uvloop drops what it read ahead of a slow client once it reads the provider's end
            read_ahead(high=1)

    def pause_writing(self) -> None:
        """A request is written whole: it was held in memory before. What comes behind a switch is not."""
        call = self._call
        if self._raw and call is not None and call.to is not None:
            self.deadline = self._now() + call.endpoint.idle_seconds
            call.to.upstream_paused()

    def resume_writing(self) -> None:
        call = self._call
        if self._raw and call is not None and call.to is not None:
            self.deadline = inf
            call.to.upstream_resumed()

    def data_received(self, data: bytes) -> None:
        call = self._call
        if call is None:
            self.drop()
            return
        if self._raw:
            if call.to is not None:
                call.to.upstream_data(data)
            return
        try:
            if self._at_start:
                self._begin(data)
            else:
                self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._switch(call, data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            if not (self._complete or (self._bodiless and self._seen_head)):
                self._protocol_error(str(error.__context__ or error))
                return
            self._extra = True
        else:
            if self._parts:
                self._dry = 0
            elif not self._complete and self._endless(len(data)):
                return
        self._deliver(call)

    def _endless(self, read: int) -> bool:
        """After a read without a byte of the body: a head and a body's framing end somewhere."""
        if not self._seen_head:
            self._head_bytes += read
            if self._head_bytes > MAX_HEAD_BYTES:
                self._protocol_error("its head is too large")
                return True
        else:
            self._dry += read
            if self._dry > MAX_HEAD_BYTES:
                self._protocol_error("its framing is larger than any body needs")
                return True
        return False

    def _switch(self, call: UpstreamCall, rest: bytes) -> None:
        """101: bytes in both directions from here on, if that is what was asked for."""
        self._fresh_head = False
        if b"\r\nupgrade: websocket\r\n" not in call.head.lower():
            self._protocol_error("it switched protocols unasked")
            return
        self._raw = True
        self._heard = False
        self.deadline = inf
        to = call.to
        if to is not None:
            to.upstream_switched(self._status, self._reason, self._headers)
            if rest and call.to is not None:
                to.upstream_data(rest)

    def write(self, data: bytes) -> None:
        """Raw bytes, once protocols are switched."""
        if self._transport is not None and not self.closed:
            self._transport.write(data)

    def _deliver(self, call: UpstreamCall) -> None:
        """Give the exchange what one read held, in order."""
        to = call.to
        if to is None:
            return
        if self._interims:
            for status, reason, headers in self._interims:
                to.upstream_interim(status, reason, headers)
            self._interims.clear()
        if self._fresh_head:
            self._fresh_head = False
            call.whole = self._complete
            to.upstream_head(self._status, self._reason, self._headers)
        parts = self._parts
        if parts:
            piece = parts[0] if len(parts) == 1 else b"".join(parts)
            parts.clear()
            if call.to is not None:
                to.upstream_data(piece)
        if call.to is None:
            return
        if self._complete or (self._bodiless and self._seen_head):
            self._finish(call)
        elif not call.paused:
            self._heard = True

    def _finish(self, call: UpstreamCall) -> None:
        """The answer is whole: free the connection, then say so."""
        transport = self._transport
        assert transport is not None
        trailers = Fields(self._trailers).onward if self._trailers else []
        reusable = (
            self._keep
            and self._complete
            and not self._extra
            and call.method != b"HEAD"
            and transport.get_write_buffer_size() == 0
        )
        self._call = None
        call.connection = None
        to, call.to = call.to, None
        if reusable:
            self._reset()
            if call.paused:
                transport.resume_reading()
            self._pool.give_back(self)
        elif transport.get_write_buffer_size():
            transport.abort()
        else:
            transport.close()
        if to is not None:
            to.upstream_end(trailers)

    def _protocol_error(self, detail: str) -> None:
        call, self._call = self._call, None
        if self._transport is not None:
            self._transport.abort()
        if call is not None:
            if self._fresh_head or self._parts:
                self._hand_over(call)
            call.fail("protocol", detail)

    def _hand_over(self, call: UpstreamCall) -> None:
        """Before a failure: what was understood up to it."""
        to = call.to
        if to is None or not self._seen_head:
            return
        if self._fresh_head:
            self._fresh_head = False
            to.upstream_head(self._status, self._reason, self._headers)
        if self._parts and call.to is not None:
            piece = b"".join(self._parts)
            self._parts = []
            to.upstream_data(piece)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._parser = NO_PARSER  # the real one holds this connection's methods: a circle
        self._pool.lost(self)
        call, self._call = self._call, None
        if call is None or call.to is None:
            return
        if self._raw or (exc is None and self._seen_head and not self._sized and not self._bodiless):
            to, call.to = call.to, None
            call.connection = None
            to.upstream_end([])
            return
        where = "before its answer was complete" if self._seen_head else "before it answered"
        call.fail("reset", f"the connection was closed {where}" + (f": {exc}" if exc else ""))


def acknowledged(transport: asyncio.Transport) -> int:
    """Bytes that the other side of a connection has acknowledged; 0 where no system tells. Source: Linux,
    ``include/uapi/linux/tcp.h``, ``tcpi_bytes_acked``."""
    try:
        told = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 128)
    except (OSError, AttributeError):
        return 0
    return int.from_bytes(told[120:128], sys.byteorder)
