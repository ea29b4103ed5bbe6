"""The client's side of the transport: one connection, and its requests one after the other.

HTTP parsing is llhttp's (through httptools), with no lenient flag; the few checks that llhttp leaves to its user are
in ``strict``. While an answer is outstanding, what the client sends ahead is kept unread, up to a bound, then left in
the kernel; only requests that came in one read with the one being answered are parsed ahead, at most ``MAX_AHEAD``.

A client that closes its side of the connection, fully or half, is taken to be gone: LLM clients never half-close, and
whoever hangs up during a long answer can't be told from one who does.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import httptools

from gateway.ports import Exchange, Header, RequestHead
from gateway.server.incoming import REASONS, Incoming, answer_head, fields
from gateway.server.strict import BadRequest, check_head, error_body, only_h2c

if TYPE_CHECKING:
    from gateway.server.plane import DataPlane

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_VERSIONS = {"1.1": b"1.1", "1.0": b"1.0"}
DISCARD_BYTES = 262_144
"""The rest of a refused request's body that is read and dropped to keep its connection."""
LINGER_SECONDS = 2.0
MAX_AHEAD = 16
AHEAD_BYTES = 65_536
OVERHEAD_BYTES = 65_536
OVERHEAD_FACTOR = 16
"""A chunked body may cost this many framing bytes for each byte of its own, beside ``OVERHEAD_BYTES``."""
JOIN_BYTES = 65_536


class _Stop(Exception):  # noqa: N818 - no error: nothing more of this connection is parsed
    pass


class ClientConnection(asyncio.Protocol):
    """One accepted connection; the ``ClientPort`` of the exchange it is serving."""

    __slots__ = (
        "_broken", "_current", "_exchange", "_head_bytes", "_headers", "_held", "_held_bytes", "_incoming",
        "_lingering", "_parser", "_plane", "_queue", "_raw", "_read_paused", "_stall_size", "_stopped",
        "_told_paused", "_transport", "_url", "_write_paused", "closed", "deadline", "peer",
    )  # fmt: skip

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._queue: deque[Incoming] = deque()
        self._incoming: Incoming | None = None
        self._current: Incoming | None = None
        self._exchange: Exchange | None = None
        self._headers: list[Header] = []
        self._url = b""
        self._head_bytes = 0
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._broken: BadRequest | None = None
        """What to say once the answers before it are out."""
        self._stopped = False
        """Nothing more is read."""
        self._lingering = False
        self._raw = False
        """Protocols were switched, or are about to be: bytes are no HTTP any more."""
        self._read_paused = False
        self._write_paused = False
        self._told_paused = False
        self._stall_size = 0
        self.closed = False
        self.deadline = math.inf
        self.peer = ""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = self._transport = cast(asyncio.Transport, transport)
        address = transport.get_extra_info("peername")
        self.peer = address[0] if isinstance(address, tuple) else ""
        limits = self._plane.limits
        transport.set_write_buffer_limits(high=limits.write_buffer_bytes)
        self.deadline = self._plane.now() + limits.idle_seconds
        if not self._plane.connected(self):
            self._say(BadRequest(503, "too many connections"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._plane.disconnected(self)
        self._queue.clear()
        self._held.clear()
        exchange = self._end()
        if exchange is not None:
            exchange.client_gone()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._write_paused = True
        self._stall_size = self._transport.get_write_buffer_size() if self._transport is not None else 0
        self.deadline = self._plane.now() + self._plane.limits.write_seconds
        # at once, though inside a write: a loop may read megabytes of the answer before it comes to a turn of its own
        if self._exchange is not None and not self._told_paused:
            self._told_paused = True
            self._exchange.client_paused()

    def resume_writing(self) -> None:
        self._write_paused = False
        self._patience()
        if self._told_paused:
            self._told_paused = False
            if self._exchange is not None:
                self._exchange.client_resumed()
        elif self._current is None:
            self._next()

    def data_received(self, data: bytes) -> None:
        if self._stopped:
            return
        if self._raw:
            if self._exchange is not None:
                self._exchange.client_data(data)
        elif self._outstanding():
            self._hold(data)
        else:
            self._feed(data)

    def _outstanding(self) -> bool:
        """True while answers are due before what comes now may be read."""
        if self._current is not None:
            return self._incoming is not self._current
        return self._write_paused or bool(self._queue)

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > AHEAD_BYTES and not self._read_paused and self._transport is not None:
            self._read_paused = True
            self._transport.pause_reading()

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgraded(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            self._callback_failed(error.__context__)
        except httptools.HttpParserError as error:
            self._malformed(BadRequest(505 if "version" in str(error).lower() else 400, f"malformed HTTP: {error}"))
        else:
            if self._incoming is not None:
                self._unfinished(self._incoming, len(data))

    def _callback_failed(self, cause: BaseException | None) -> None:
        if isinstance(cause, BadRequest):
            self._malformed(cause)
        elif not isinstance(cause, _Stop):
            context = {"message": "a call failed in the transport", "exception": cause}
            self._plane.loop.call_exception_handler(context)
            self.break_off()

    def _unfinished(self, incoming: Incoming, read: int) -> None:
        """After a read that left a request open: its head, or a chunked body's framing, is bounded in raw bytes too."""
        limits = self._plane.limits
        if not incoming.seen_head:
            incoming.raw = 0 if incoming.raw < 0 else incoming.raw + read
            if incoming.raw > limits.max_head_bytes:
                self._malformed(BadRequest(431, "the request's head is too large"))
            return
        if incoming.head.length is None and (
            incoming.framing_read(read) > limits.max_head_bytes
            or incoming.overhead > OVERHEAD_BYTES + OVERHEAD_FACTOR * incoming.size
        ):
            self._malformed(BadRequest(400, "the body's framing is larger than any body needs"))
            return
        if not self._write_paused and not self._lingering:
            self._patience()

    # llhttp

    def on_message_begin(self) -> None:
        if self._stopped:
            raise _Stop
        queue = self._queue
        if len(queue) >= MAX_AHEAD:
            queue[-1].keep_alive = False
            self._stopped = True
            raise _Stop
        now = self._plane.now()
        self._incoming = Incoming(now)
        self._headers = []
        self._url = b""
        self._head_bytes = 0
        if self._current is None:
            self.deadline = now + self._plane.limits.head_seconds

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > self._plane.limits.max_head_bytes:
            raise BadRequest(414, "the request's target is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        incoming = self._incoming
        if incoming is None or incoming.seen_head:
            return
        limits = self._plane.limits
        headers = self._headers
        if value and value[-1] in b" \t":
            value = value.rstrip(b" \t")
        headers.append((name, value))
        self._head_bytes += len(name) + len(value) + 4
        if len(headers) > limits.max_headers or self._head_bytes > limits.max_head_bytes:
            raise BadRequest(431, "the request's head is too large")

    def on_headers_complete(self) -> None:
        incoming = self._incoming
        assert incoming is not None
        parser = self._parser
        version = parser.get_http_version()
        incoming.keep_alive = parser.should_keep_alive()
        head = incoming.head = RequestHead(
            parser.get_method(),
            self._url,
            _VERSIONS.get(version) or version.encode(),
            self._headers,
            parser.should_upgrade() and not only_h2c(self._headers),
            self.peer,
            None,
            incoming.began_at,
        )
        length, incoming.expects = check_head(head)
        incoming.seen_head = True
        incoming.too_large = length > self._plane.limits.max_body_bytes
        if self._current is None and not self._queue:
            self._begin(incoming)
        else:
            self._queue.append(incoming)

    def on_body(self, body: bytes) -> None:
        incoming = self._incoming
        assert incoming is not None
        incoming.size += len(body)
        if incoming.discard:
            if incoming.size > DISCARD_BYTES:
                self._discarded_enough(incoming)
        elif incoming.size > self._plane.limits.max_body_bytes:
            incoming.too_large = True
            incoming.discard = True
            incoming.keep_alive = False
            incoming.parts = []
            if incoming is self._current and self._exchange is not None:
                self._exchange.request_too_large()
        else:
            incoming.parts.append(body)

    def on_message_complete(self) -> None:
        incoming, self._incoming = self._incoming, None
        if incoming is None:
            return
        incoming.complete = True
        if incoming is self._current:
            if not self._write_paused:
                self.deadline = math.inf
            if self._exchange is not None and not incoming.discard:
                body, incoming.parts = incoming.body(), []
                self._exchange.request_body(body)
        elif incoming.answered:
            self._next()

    def _discarded_enough(self, incoming: Incoming) -> None:
        """The rest of a refused body is long: leave it, and close after the answer."""
        incoming.keep_alive = False
        self._stopped = True
        if incoming.answered:
            self._linger()

    def _upgraded(self, rest: bytes) -> None:
        """The request asked to switch protocols; unless that is ignored, nothing behind it is HTTP."""
        current = self._current
        if self._queue or current is None or not current.head.upgrade:
            if self._queue and self._queue[-1].head.upgrade:
                self._queue.pop()
                self._malformed(BadRequest(400, "a request to switch protocols can't be sent ahead"))
            elif rest:
                self.data_received(rest)
            return
        self._raw = True
        self.deadline = math.inf
        if rest and self._exchange is not None:
            self._exchange.client_data(rest)

    # one request after the other

    def _begin(self, incoming: Incoming) -> None:
        """It is this request's turn."""
        self._current = incoming
        plane = self._plane
        plane.in_flight += 1
        exchange = self._exchange = plane.factory(self)
        exchange.request_head(incoming.head)
        if self._exchange is not exchange:
            return
        if incoming.too_large:
            incoming.discard = True
            incoming.keep_alive = False
            exchange.request_too_large()
        elif not exchange.wants_body:
            incoming.discard = True
            incoming.parts = []
        elif incoming.complete:
            body, incoming.parts = incoming.body(), []
            exchange.request_body(body)
        elif incoming.expects and self._transport is not None:
            incoming.expects = False
            self._transport.write(_CONTINUE)

    def _end(self) -> Exchange | None:
        """The current request is over."""
        if self._current is not None:
            self._current = None
            self._plane.in_flight -= 1
        exchange, self._exchange = self._exchange, None
        self._told_paused = False
        return exchange

    def _answered(self, incoming: Incoming) -> None:
        """The answer is written: go on to the next request, or close."""
        self._end()
        incoming.answered = True
        if not incoming.keep_alive or self._plane.draining:
            self._close_after(incoming)
        elif incoming.complete:
            self._next()
        else:
            incoming.discard = True
            incoming.parts = []
            self._patience()

    def _next(self) -> None:
        """Go on with what came ahead, in a turn of its own: this may be inside a call of the exchange."""
        if self._write_paused or self.closed:
            return
        if self._queue or self._held or self._broken is not None:
            self._plane.loop.call_soon(self._go_on)
        self._patience()

    def _go_on(self) -> None:
        if self.closed or self._current is not None or self._write_paused or self._lingering:
            return
        if self._queue:
            incoming = self._queue.popleft()
            self._begin(incoming)
            self._patience()
        elif self._broken is not None:
            self._say(self._broken)
        if self._held and not self._outstanding():
            data = b"".join(self._held)
            self._held.clear()
            self._held_bytes = 0
            if self._read_paused and self._transport is not None:
                self._read_paused = False
                self._transport.resume_reading()
            self.data_received(data)

    def _patience(self) -> None:
        """Set how long the client may take for what is expected of it now."""
        if self._write_paused:
            return
        plane, limits = self._plane, self._plane.limits
        incoming, current = self._incoming, self._current
        if current is not None and (incoming is not current or current.complete or self._stopped):
            self.deadline = math.inf
        elif incoming is None:
            self.deadline = plane.now() + limits.idle_seconds
        elif not incoming.seen_head:
            self.deadline = incoming.began_at + limits.head_seconds
        else:
            now = plane.now()
            incoming.body_at = incoming.body_at or now
            self.deadline = now + limits.body_seconds
            if limits.body_bytes_per_second:
                slowest = incoming.body_at + limits.body_seconds + incoming.size / limits.body_bytes_per_second
                self.deadline = min(self.deadline, slowest)

    # ends of a connection

    def _close_after(self, incoming: Incoming) -> None:
        """Close once the answer is out. A client that still sends is not reset under its answer."""
        self._stopped = True
        if incoming.complete and not self._read_paused:
            self._shut()
        else:
            self._linger()

    def _shut(self) -> None:
        """Close when all is written; a client that does not take it is cut off by ``expire``."""
        if self._transport is not None and not self._transport.is_closing():
            self._stall_size = self._transport.get_write_buffer_size()
            self.deadline = self._plane.now() + self._plane.limits.write_seconds
            self._transport.close()

    def _linger(self) -> None:
        """Send what is written, say that no more comes, drop what still arrives for a moment."""
        transport = self._transport
        if self._lingering or transport is None or transport.is_closing():
            return
        self._lingering = self._stopped = True
        self._queue.clear()
        self._held.clear()
        if self._read_paused:
            self._read_paused = False
            transport.resume_reading()
        if transport.can_write_eof():
            self._stall_size = transport.get_write_buffer_size()
            self.deadline = self._plane.now() + LINGER_SECONDS
            transport.write_eof()
        else:
            self._shut()

    def _malformed(self, why: BadRequest) -> None:
        """The bytes are no request: say why, in order behind what is being answered, and close."""
        if self._stopped:
            return
        self._stopped = True
        self._plane.malformed += 1
        incoming, current = self._incoming, self._current
        if incoming is not None and incoming.answered:
            self._linger()
        elif current is not None and incoming is current:
            self._give_up(current, why)
        elif current is None and not self._queue:
            self._say(why)
        else:
            if self._queue and self._queue[-1] is incoming:
                self._queue.pop()
            self._broken = why

    def _give_up(self, current: Incoming, why: BadRequest) -> None:
        """The current request will never be complete."""
        exchange = self._end()
        if exchange is not None:
            exchange.client_gone()
        if current.began:
            self.break_off()
        else:
            self._say(why)

    def _say(self, why: BadRequest) -> None:
        transport = self._transport
        if transport is None or self._lingering or transport.is_closing():
            return
        body = error_body(why)
        head = b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        transport.write(head % (why.status, REASONS.get(why.status, b"Error"), len(body)) + body)
        self._linger()

    def expire(self) -> None:
        """The deadline passed: a slow head or body, an idle connection, a client that takes nothing."""
        self.deadline = math.inf
        transport = self._transport
        if transport is None:
            return
        incoming, current = self._incoming, self._current
        if self._write_paused or self._lingering or transport.is_closing():
            self._check_stall(transport)
        elif incoming is not None and incoming.answered:
            self._linger()
        elif current is not None and incoming is current:
            self._stopped = True
            self._give_up(current, BadRequest(408, "the request's body did not arrive in time"))
        elif current is None and incoming is not None:
            self._stopped = True
            self._say(BadRequest(408, "the request did not arrive in time"))
        elif current is None:
            self._shut()

    def _check_stall(self, transport: asyncio.Transport) -> None:
        """As long as the client takes something, it has time."""
        size = transport.get_write_buffer_size()
        if 0 < size < self._stall_size:
            self._stall_size = size
            self.deadline = self._plane.now() + self._plane.limits.write_seconds
        else:
            transport.abort()

    def drain(self) -> None:
        """Shutting down: an idle connection closes now, a busy one after its answer."""
        if self._current is None and self._incoming is None and not self._queue and not self._held:
            self._shut()

    def break_off(self) -> None:
        """Close at once, whatever is in flight."""
        if self._transport is not None:
            self._transport.abort()

    # gateway.ports.ClientPort

    def interim(self, status: int, headers: Sequence[Header]) -> None:
        current = self._current
        if current is None or current.head.version == b"1.0" or self._transport is None or current.began:
            return
        self._transport.write(b"HTTP/1.1 %d \r\n%b\r\n" % (status, fields(headers)))

    def reply(self, status: int, reason: bytes, headers: Sequence[Header], body: bytes) -> None:
        incoming, transport = self._current, self._transport
        if incoming is None or transport is None:
            return
        draining = self._plane.draining
        if status == 204 or status == 304 or incoming.head.method == b"HEAD":
            transport.write(answer_head(incoming, status, reason, headers, None, draining=draining))
        else:
            out = answer_head(incoming, status, reason, headers, len(body), draining=draining)
            if len(body) <= JOIN_BYTES:
                transport.write(out + body)
            else:
                transport.writelines((out, body))
        self._answered(incoming)

    def start(self, status: int, reason: bytes, headers: Sequence[Header], length: int | None) -> None:
        incoming, transport = self._current, self._transport
        if incoming is None or transport is None:
            return
        incoming.began = True
        transport.write(answer_head(incoming, status, reason, headers, length, draining=self._plane.draining))

    def write(self, data: bytes) -> None:
        incoming, transport = self._current, self._transport
        if incoming is None or transport is None or not data:
            return
        if incoming.chunked:
            if len(data) <= JOIN_BYTES:
                transport.write(b"%x\r\n%b\r\n" % (len(data), data))
            else:
                transport.writelines((b"%x\r\n" % len(data), data, b"\r\n"))
        else:
            if incoming.left is not None:
                incoming.left -= len(data)
                assert incoming.left >= 0, "more was written than declared"
            transport.write(data)

    def finish(self, trailers: Sequence[Header] = ()) -> None:
        incoming, transport = self._current, self._transport
        if incoming is None or transport is None:
            return
        if incoming.chunked:
            transport.write(b"0\r\n%b\r\n" % fields(trailers) if trailers else b"0\r\n\r\n")
        elif incoming.left:
            self.abort()
            return
        self._answered(incoming)

    def switch(self, status: int, reason: bytes, headers: Sequence[Header]) -> None:
        current, transport = self._current, self._transport
        if current is None or transport is None:
            return
        current.began = True
        current.chunked = False
        current.left = None
        transport.write(b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, reason, fields(headers)))

    def close(self) -> None:
        self._end()
        self._stopped = True
        self._shut()

    def abort(self) -> None:
        incoming, transport = self._current, self._transport
        self._end()
        self._stopped = True
        if transport is None:
            return
        if incoming is not None and (incoming.chunked or incoming.left):
            self._shut()
        else:
            transport.abort()
