"""The client's side of the transport: one connection, and its requests one after the other.

HTTP parsing is llhttp's (through httptools), with no lenient flag; the few checks that llhttp leaves to its user are
in ``strict``. While an answer is outstanding, what the client sends ahead is kept unread, up to a bound, then left in
the kernel; only requests that came in one read with the one being answered are parsed ahead, at most ``MAX_AHEAD``.

A client that closes its side of the connection, fully or half, is taken to be gone: LLM clients never half-close, and
whoever hangs up during a long answer can't be told from one who does.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import cast

import httptools

from gateway.ports import Header, RequestHead
from gateway.server.client_answers import Answers
from gateway.server.heads import KnownHead
from gateway.server.incoming import Incoming
from gateway.server.shared import Shared
from gateway.server.strict import BadRequest, body_framing, check_head, not_http1, only_h2c

_VERSIONS = {"1.1": b"1.1", "1.0": b"1.0"}
DISCARD_BYTES = 262_144
"""The rest of a refused request's body that is read and dropped to keep its connection."""
MAX_AHEAD = 16
AHEAD_BYTES = 65_536
OVERHEAD_BYTES = 65_536
OVERHEAD_FACTOR = 16
"""A chunked body may cost this many framing bytes for each byte of its own, beside ``OVERHEAD_BYTES``."""


_NO_PARSER = httptools.HttpRequestParser(object())


class _Stop(Exception):  # noqa: N818 - no error: nothing more of this connection is parsed
    pass


class ClientConnection(Answers):
    """One accepted connection, as asyncio and llhttp drive it."""

    __slots__ = ("_beginning", "_head_bytes", "_headers", "_left", "_parser", "_unread", "_url")

    def __init__(self, plane: Shared) -> None:
        super().__init__(plane)
        self._headers: list[Header] = []
        self._url = b""
        self._head_bytes = 0
        self._beginning = b""
        """The read that began a request, while its head is parsed."""
        self._left = 0
        """Bytes still to come of a body whose head was known: the parser has seen nothing of it."""
        self._parser = _NO_PARSER
        self._unread = b""
        """The framing of a body that llhttp takes for no part of its request."""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = self._transport = cast(asyncio.Transport, transport)
        # not before: nobody hears of the end of a connection whose handshake fails, and this makes a circle
        self._parser = httptools.HttpRequestParser(self)
        address = transport.get_extra_info("peername")
        self.peer = address[0] if isinstance(address, tuple) else ""
        limits = self._plane.limits
        transport.set_write_buffer_limits(high=limits.write_buffer_bytes)
        self.deadline = self._plane.now() + limits.idle_seconds
        if not self._plane.connected(self):
            self._say(BadRequest(503, "too many connections", "too_many_connections"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._parser = _NO_PARSER  # the real one holds this connection's methods: a circle
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
        if self._shutting or self._transport is None:
            return
        self._watch_stall(self._transport, self._plane.limits.write_seconds)
        self.deadline = self._stall_until
        # at once, though inside a write: a loop may read megabytes of the answer before it comes to a turn of its own
        if self._exchange is not None and not self._told_paused:
            self._told_paused = True
            self._exchange.client_paused()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._shutting:
            self._shut()
            return
        self._patience()
        if self._told_paused:
            self._told_paused = False
            if self._exchange is not None:
                self._exchange.client_resumed()
        elif self._current is None:
            self._next()

    def data_received(self, data: bytes) -> None:
        if self._stopped:
            self._drop(len(data))
        elif self._raw:
            if self._exchange is not None:
                self._exchange.client_data(data)
        elif not (self._current or self._incoming or self._write_paused or self._queue or self._held):
            self._first(data)
        elif self._held or self._outstanding():
            # what is held came before, also where its turn has come and is yet to begin
            self._hold(data)
        else:
            self._feed(data)

    def _first(self, data: bytes) -> None:
        """Parse what begins a request; its head need not be parsed again where it came whole."""
        known = self.known
        body = known.body_of(data) if known is not None else None
        if body is None:
            known = self.known = self._plane.heads.find(data)
            body = known.body_of(data) if known is not None else None
        if known is not None and body is not None and known.length <= self._plane.limits.max_body_bytes:
            self._again(known, body)
            return
        self._beginning = data
        self._feed(data)
        self._beginning = b""

    def _again(self, known: KnownHead, body: bytes) -> None:
        """A request with a head that came before, and of its body what is here."""
        now = self._plane.now()
        head = known.head
        head.received = now
        head.length = known.length
        head.peer = self.peer
        incoming = Incoming(now)
        incoming.head = head
        incoming.keep_alive = known.keep_alive
        incoming.seen_head = True
        if len(body) < known.length:
            self._left = known.length
            self._incoming = incoming
            self._begin(incoming)
            self._take(body)
            return
        incoming.complete = True
        self.deadline = inf
        exchange = self._open(incoming)
        if exchange is not None and exchange.wants_body:
            exchange.request_body(body)

    def _take(self, data: bytes) -> None:
        """More of a body whose head was known, and what may lie behind it."""
        left = self._left
        piece, rest = (data, b"") if len(data) <= left else (data[:left], data[left:])
        self._left = left - len(piece)
        self.on_body(piece)
        if not self._left:
            self.on_message_complete()
        elif self._incoming is not None:
            self._unfinished(self._incoming, len(data))
        if rest:
            self.data_received(rest)

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > AHEAD_BYTES and not self._read_paused and self._transport is not None:
            self._read_paused = True
            self._transport.pause_reading()

    def _feed(self, data: bytes) -> None:
        if self._left:
            self._take(data)
            return
        if self._incoming is None and data[:1] == b"\r":
            self._empty_lines(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgraded(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            self._callback_failed(error.__context__)
        except httptools.HttpParserError as error:
            self._malformed(not_http1(data, error))
        else:
            if self._incoming is not None:
                self._unfinished(self._incoming, len(data))

    def _empty_lines(self, data: bytes) -> None:
        """Before a request llhttp skips them without end."""
        rest = data.lstrip(b"\r\n")
        self._dropped = 0 if rest else self._dropped + len(data)
        if self._dropped > self._plane.limits.max_head_bytes:
            self._malformed(BadRequest(400, "malformed HTTP: nothing but empty lines"))

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
        if incoming.head.length is None:
            incoming.gather()
            if (
                incoming.framing_read(read) > limits.max_head_bytes
                or incoming.overhead > OVERHEAD_BYTES + OVERHEAD_FACTOR * incoming.size
            ):
                self._malformed(BadRequest(400, "the body's framing is larger than any body needs"))
                return
        if not self._write_paused and not self._lingering:
            self._patience()

    # llhttp

    def on_message_begin(self) -> None:
        if self._incoming is not None:
            return
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
        if incoming.seen_head:
            return
        parser = self._parser
        version = parser.get_http_version()
        incoming.keep_alive = parser.should_keep_alive()
        head = incoming.head = RequestHead(
            parser.get_method(),
            self._url,
            _VERSIONS.get(version) or version.encode(),
            self._headers,
            parser.should_upgrade(),
            self.peer,
            None,
            incoming.began_at,
        )
        length, incoming.expects = check_head(head)
        if head.upgrade:
            self._check_upgrade(incoming)
        incoming.seen_head = True
        incoming.too_large = length > self._plane.limits.max_body_bytes
        beginning, self._beginning = self._beginning, b""
        if beginning and length and not (incoming.expects or incoming.too_large or head.upgrade or self._unread):
            self._plane.heads.learn(beginning, head, incoming.keep_alive)
        if self._current is None and not self._queue:
            self._begin(incoming)
        else:
            self._queue.append(incoming)

    def _check_upgrade(self, incoming: Incoming) -> None:
        """llhttp reads no body behind an offer to switch protocols. Where the offer is ignored, the body is there."""
        head = incoming.head
        framing = body_framing(head)
        if only_h2c(head.headers):
            head.upgrade = False
            self._unread = framing
        elif framing:
            raise BadRequest(400, "a request to switch protocols can't have a body")

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
        if self._unread:
            return
        incoming, self._incoming = self._incoming, None
        if incoming is None:
            return
        incoming.complete = True
        if incoming is self._current:
            if not self._write_paused:
                self.deadline = inf
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
        if self._unread:
            framing, self._unread = self._unread, b""
            assert self._incoming is not None
            close = b"" if self._incoming.keep_alive else b"Connection: close\r\n"
            self._parser = httptools.HttpRequestParser(self)
            self._parser.feed_data(b"POST / HTTP/1.1\r\n%b%b\r\n" % (close, framing))
            self._feed(rest)
            return
        current = self._current
        if self._queue or current is None or not current.head.upgrade:
            if self._queue and self._queue[-1].head.upgrade:
                self._queue.pop()
                self._malformed(BadRequest(400, "a request to switch protocols can't be sent ahead"))
            elif rest:
                self.data_received(rest)
            return
        self._raw = True
        self.deadline = inf
        if rest and self._exchange is not None:
            self._exchange.client_data(rest)
