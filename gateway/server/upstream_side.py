"""The provider's side of the transport: one connection, and one call on it.

HTTP parsing is llhttp's (through httptools), with no lenient flag. What is here turns its callbacks into the inputs of
``gateway.ports.Exchange``, in the pieces in which the bytes came, and decides whether the connection may serve again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, cast

import httptools

from gateway.ports import Header
from gateway.server.connect import absolute_form
from gateway.server.upstream_call import UpstreamCall
from gateway.wire.http_heads import Fields, KnownFields

if TYPE_CHECKING:
    from gateway.server.pool import EndpointPool

MAX_HEAD_BYTES = 262_144
MAX_HEADERS = 1_000
MAX_INTERIMS = 32
JOIN_BYTES = 65_536
"""A request up to this size leaves in one write."""


_NO_PARSER = httptools.HttpResponseParser(object())


class UpstreamConnection:
    """One connection to a provider, as asyncio and llhttp drive it. Serves one call at a time."""

    __slots__ = (
        "_at_start",
        "_beginning",
        "_bodiless",
        "_call",
        "_complete",
        "_dry",
        "_extra",
        "_fields",
        "_fresh_head",
        "_head_bytes",
        "_headers",
        "_heard",
        "_interim_count",
        "_interims",
        "_keep",
        "_known",
        "_now",
        "_parser",
        "_parts",
        "_pool",
        "_raw",
        "_reason",
        "_seen_head",
        "_sized",
        "_status",
        "_trailers",
        "_transport",
        "asked_at",
        "closed",
        "deadline",
        "descriptor",
        "idle_seconds",
        "opened_at",
    )

    def __init__(self, pool: EndpointPool, now: Callable[[], float]) -> None:
        self._pool = pool
        self._now = now
        self._call: UpstreamCall | None = None
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self.descriptor = -1
        self.asked_at = -inf
        """When the kernel was asked whether anything lies here, since it is idle."""
        self.closed = False
        self.deadline = inf
        self._heard = False
        """Something came since the deadline was last looked at."""
        self.idle_seconds = inf
        """How long the provider keeps an idle connection, where it says so."""
        self.opened_at = now()
        self._interims: list[tuple[int, list[Header]]] = []
        self._parts: list[bytes] = []
        self._trailers: list[Header] = []
        self._status = 0
        self._fresh_head = False
        self._bodiless = False
        self._sized = False
        self._keep = False
        self._extra = False
        self._raw = False
        self._reset()

    def _reset(self) -> None:
        """For the next answer: what is not said by each head, and may have changed in an answer that was in order."""
        self._headers: list[Header] = []
        self._at_start = True
        """Nothing of the answer came yet."""
        self._beginning = b""
        """The first of the answer, where its head is the parser's."""
        self._known: KnownFields | None = None
        """Its fields, where they need not be parsed."""
        self._fields = self._headers
        """Where the fields that come belong: to the head, or to the trailers."""
        if self._trailers:
            self._trailers = []
        self._reason = b""
        self._head_bytes = 0
        self._dry = 0
        """Bytes that came since the last of the body: chunk extensions, trailers."""
        self._interim_count = 0
        self._seen_head = False
        self._complete = False

    # the call

    def start(self, call: UpstreamCall, now: float) -> None:
        """Send a request; its answer goes to the call's exchange."""
        transport = self._transport
        assert transport is not None
        self._call = call
        call.connection = self
        self._heard = False
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
            self._heard = False
            self.deadline = inf

    def resume(self) -> None:
        if self._transport is not None and not self.closed and self._call is not None:
            self._transport.resume_reading()
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
        return self.deadline <= now

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

    def pause_writing(self) -> None:
        """A request is written whole: it was held in memory before."""

    def resume_writing(self) -> None:
        pass

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

    def _begin(self, data: bytes) -> None:
        """Parse the first of an answer; of a head that is known, only what frames the body."""
        self._at_start = False
        known = self._pool.heads.read(data)
        if known is None:
            self._beginning = data
            self._parser.feed_data(data)
            return
        self._known = known.fields
        self._parser.feed_data(known.framing)
        if known.end < len(data):
            self._parser.feed_data(memoryview(data)[known.end :])

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
            for status, headers in self._interims:
                to.upstream_interim(status, headers)
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
        self._parser = _NO_PARSER  # the real one holds this connection's methods: a circle
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

    # llhttp

    def on_message_begin(self) -> None:
        if self._complete:
            self._extra = True
            self._fields = []

    def on_status(self, status: bytes) -> None:
        if not self._extra:
            self._reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        if value and value[-1] in b" \t":
            value = value.rstrip(b" \t")
        fields = self._fields
        fields.append((name, value))
        if len(fields) > MAX_HEADERS:
            raise ValueError("its head is too large")

    def on_headers_complete(self) -> None:
        if self._extra:
            return
        parser = self._parser
        status = self._status = parser.get_status_code()
        if status < 200 and not (status == 101 and parser.should_upgrade()):
            if status < 100 or status == 101:
                raise ValueError(f"its status is {status}")
            return
        self._keep = parser.should_keep_alive()
        call = self._call
        self._bodiless = status == 204 or status == 304 or (call is not None and call.method == b"HEAD")
        fields = self._headers = self._fields_of_head(status)
        coding = fields.get(b"transfer-encoding")
        # a coding that is taken off nowhere would reach the client under a false framing
        if coding is not None and coding.lower() != b"chunked":
            raise ValueError("its transfer coding is not chunked alone")
        self._sized = coding is not None or fields.get(b"content-length") is not None
        keep = fields.get(b"keep-alive")
        if keep is not None:
            self.idle_seconds = _idle_seconds(keep)
        self._fields = self._trailers
        self._seen_head = self._fresh_head = True

    def _fields_of_head(self, status: int) -> Fields:
        """As they were known, else as they were parsed."""
        if self._known is not None:
            return self._known
        headers = self._headers
        beginning, self._beginning = self._beginning, b""
        if beginning and status == 200:
            self._pool.heads.learn(beginning, headers)
        return Fields(headers)

    def on_body(self, body: bytes) -> None:
        if not self._extra:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        if self._seen_head:
            self._complete = True
        else:
            self._interim()

    def _interim(self) -> None:
        """A 1xx answer is whole. A 100 stays here: the gateway forwards no expectation."""
        self._interim_count += 1
        if self._interim_count > MAX_INTERIMS:
            raise ValueError("it sends 1xx answers without end")
        if self._status != 100:
            self._interims.append((self._status, self._headers))
        self._headers = self._fields = []
        self._reason = b""


def _idle_seconds(value: bytes) -> float:
    """``Keep-Alive: timeout=N``, less a second for the way; no bound where nothing is said."""
    for part in value.split(b","):
        name, _, seconds = part.strip().partition(b"=")
        if name.lower() == b"timeout" and seconds.isdigit() and len(seconds) < 9:
            return max(0.0, int(seconds) - 1.0)
    return inf
