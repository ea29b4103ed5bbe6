"""The answers on a client's connection, one after the other: what an exchange may do to its client."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.ports import Exchange, Header
from gateway.server.client_ends import Ends
from gateway.server.incoming import Incoming, answer_head, fields

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
JOIN_BYTES = 65_536
"""Head and body up to this size leave in one piece."""


class Answers(Ends):
    """Implements ``gateway.ports.ClientPort`` for the exchange that is being served."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """Bytes of the client, read or kept till now."""
        raise NotImplementedError

    # one request after the other

    def _open(self, incoming: Incoming) -> Exchange | None:
        """It is this request's turn: its exchange, where the head did not end it."""
        self._current = incoming
        plane = self._plane
        plane.in_flight += 1
        exchange = self._exchange = plane.factory(self)
        exchange.request_head(incoming.head)
        return exchange if self._exchange is exchange else None

    def _begin(self, incoming: Incoming) -> None:
        """Serve a request as far as it is here."""
        exchange = self._open(incoming)
        if exchange is None:
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

    def _answered(self, incoming: Incoming) -> None:
        """The answer is written: go on to the next request, or close."""
        self._end()
        incoming.answered = True
        if not incoming.keep_alive:
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

    def _outstanding(self) -> bool:
        """True while answers are due before what comes now may be read."""
        if self._current is not None:
            return self._incoming is not self._current
        return self._write_paused or bool(self._queue)

    # gateway.ports.ClientPort

    def interim(self, status: int, reason: bytes, headers: Sequence[Header]) -> None:
        current = self._current
        if current is None or current.head.version == b"1.0" or self._transport is None or current.began:
            return
        self._transport.write(b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, reason, fields(headers)))

    def reply(self, status: int, reason: bytes, headers: Sequence[Header], body: bytes) -> None:
        incoming, transport = self._current, self._transport
        if incoming is None or transport is None:
            return
        if status == 204 or status == 304 or incoming.head.method == b"HEAD":
            body = b""
            out = answer_head(incoming, status, reason, headers, None, self._plane.draining)
        else:
            out = answer_head(incoming, status, reason, headers, len(body), self._plane.draining)
        if len(body) <= JOIN_BYTES:
            out.append(body)
            transport.write(b"".join(out))
        else:
            transport.writelines((b"".join(out), body))
        self._answered(incoming)

    def start(self, status: int, reason: bytes, headers: Sequence[Header], length: int | None) -> None:
        incoming, transport = self._current, self._transport
        if incoming is None or transport is None:
            return
        incoming.began = True
        out = answer_head(incoming, status, reason, headers, length, self._plane.draining)
        transport.write(b"".join(out))

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

    def pause(self) -> None:
        if self._transport is not None and not self._read_paused:
            self._read_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and self._read_paused:
            self._read_paused = False
            self._transport.resume_reading()

    def close(self) -> None:
        self._end()
        self._stopped = True
        if self._read_paused:
            # what lies unread would make the close a reset, which takes the last words with it
            self._linger()
        else:
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
