"""How a client's connection ends, and how long it may take for what is expected of it: the state that all sides of one
connection share, its deadlines, and every way to close it.
"""

from __future__ import annotations

import asyncio
import fcntl
import select
import sys
import termios
from collections import deque
from math import inf

from gateway.ports import Exchange
from gateway.server.heads import KnownHead
from gateway.server.incoming import Incoming
from gateway.server.shared import Shared
from gateway.server.strict import BadRequest, error_body
from gateway.wire.http_heads import REASONS

LINGER_SECONDS = 2.0
IDLE_GRACE_SECONDS = 0.5
"""While the gateway drains, so long a connection stays open for the next request."""
LINGER_BYTES = 33_554_432
GOODBYE_SECONDS = 5.0
"""How long a TLS client that has taken all may take for its part of the end."""


class Ends:
    """The state of one accepted connection, and its ends."""

    __slots__ = (
        "_broken", "_current", "_dropped", "_exchange", "_held", "_held_bytes", "_incoming", "_lingering", "_plane",
        "_queue", "_raw", "_read_paused", "_shutting", "_stall_size", "_stall_until", "_stopped", "_told_paused",
        "_transport", "_write_paused", "closed", "deadline", "known", "peer",
    )  # fmt: skip

    def __init__(self, plane: Shared) -> None:
        self._plane = plane
        self._transport: asyncio.Transport | None = None
        self._queue: deque[Incoming] = deque()
        """Requests parsed ahead of their turn."""
        self._incoming: Incoming | None = None
        """What is being read."""
        self._current: Incoming | None = None
        """What is being answered."""
        self._exchange: Exchange | None = None
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
        self._shutting = False
        """It is closed once all is written."""
        self._stall_size = 0
        """What the client had not taken when it was last looked at…"""
        self._stall_until = inf
        """…and how long it may take nothing of that."""
        self._dropped = 0
        """Bytes that belong to no request: behind the last one, or empty lines before the next."""
        self.closed = False
        self.deadline = inf
        self.peer = ""
        self.known: KnownHead | None = None
        """The head of the newest request that came whole."""

    def _end(self) -> Exchange | None:
        """The current request is over."""
        if self._current is not None:
            self._current = None
            self._plane.in_flight -= 1
        exchange, self._exchange = self._exchange, None
        self._told_paused = False
        return exchange

    def _patience(self) -> None:
        """Set how long the client may take for what is expected of it now."""
        if self._write_paused:
            return
        plane, limits = self._plane, self._plane.limits
        incoming, current = self._incoming, self._current
        if current is not None and (incoming is not current or current.complete or self._stopped):
            self.deadline = inf
        elif incoming is None:
            # a client that was not told to close may send its next request now: it is answered, and told then
            self.deadline = plane.now() + (IDLE_GRACE_SECONDS if plane.draining else limits.idle_seconds)
        elif not incoming.seen_head:
            self.deadline = incoming.began_at + limits.head_seconds
        else:
            now = plane.now()
            incoming.body_at = incoming.body_at or now
            self.deadline = now + limits.body_seconds
            if limits.body_bytes_per_second:
                slowest = incoming.body_at + limits.body_seconds + incoming.size / limits.body_bytes_per_second
                self.deadline = min(self.deadline, slowest)

    def expire(self) -> None:
        """The deadline passed: a slow head or body, an idle connection, a client that takes nothing."""
        self.deadline = inf
        transport = self._transport
        if transport is None:
            return
        incoming, current = self._incoming, self._current
        if self._write_paused or self._lingering or self._shutting or transport.is_closing():
            self._check_stall(transport)
        elif incoming is not None and incoming.answered:
            self._linger()
        elif current is not None and incoming is current:
            self._stopped = True
            self._plane.slow_clients += 1
            self._give_up(current, BadRequest(408, "the request's body did not arrive in time", "request_timeout"))
        elif current is None and incoming is not None:
            self._stopped = True
            self._plane.slow_clients += 1
            self._say(BadRequest(408, "the request did not arrive in time", "request_timeout"))
        elif current is None and self._is_silent(transport):
            self._shut(idle=True)
        elif current is None:
            self.deadline = self._plane.now() + IDLE_GRACE_SECONDS

    def _check_stall(self, transport: asyncio.Transport) -> None:
        """As long as the client takes something, it has time."""
        plane = self._plane
        now, size = plane.now(), unsent(transport)
        if size < self._stall_size:
            self._stall_until = now + plane.limits.write_seconds
        self._stall_size = size
        if size and now < self._stall_until:
            self.deadline = self._stall_until if self._write_paused and not self._shutting else self._soon()
            return
        if self._write_paused:
            plane.slow_clients += 1
        transport.abort()

    def _watch_stall(self, transport: asyncio.Transport, seconds: float) -> None:
        """From now on the client may take nothing for so long."""
        self._stall_size = unsent(transport)
        self._stall_until = self._plane.now() + seconds

    def _soon(self) -> float:
        """When a connection that was closed is looked at again."""
        return self._plane.now() + (IDLE_GRACE_SECONDS if self._plane.draining else GOODBYE_SECONDS)

    # closing

    def drain(self) -> None:
        """Shutting down: a connection that has been idle for a while closes now, a busy one after its answer."""
        idle = self._current is None and self._incoming is None and not self._queue and not self._held
        if idle and self.deadline > self._plane.now() + IDLE_GRACE_SECONDS:
            transport = self._transport
            if transport is not None and not transport.is_closing() and self._is_silent(transport):
                self._shut(idle=True)

    def leave(self) -> None:
        """The time to drain is over: what is in flight is broken off, after a word where there is a way to say it."""
        if self._raw and self._exchange is not None:
            self._exchange.going_away()
        else:
            self.break_off()

    def _is_silent(self, transport: asyncio.Transport) -> bool:
        """Nothing lies here unread. A request that came just now would be reset by a close; it is answered instead."""
        poll = select.poll()
        poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    def break_off(self) -> None:
        """Close at once, whatever is in flight."""
        if self._transport is not None:
            self._transport.abort()

    def _close_after(self, incoming: Incoming) -> None:
        """Close once the answer is out. A client that still sends is not reset under its answer."""
        self._stopped = True
        if incoming.complete and not self._read_paused:
            self._shut()
        else:
            self._linger()

    def _shut(self, *, idle: bool = False) -> None:
        """Close when all is written; a client that does not take it is cut off by ``expire``. ``idle``: it has long
        had its answers, and all that it may not take is TLS's own end."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if not self._shutting:
            self._shutting = self._stopped = True
            self._watch_stall(transport, 0.0 if idle else self._plane.limits.write_seconds)
        self.deadline = self._soon()
        if transport.get_write_buffer_size():
            # what TLS has not written as it is closed it does not write any more: ``resume_writing`` comes back here
            transport.set_write_buffer_limits(high=0)
        else:
            transport.close()

    def _linger(self) -> None:
        """Send what is written, say that no more comes, drop what still arrives for a moment."""
        transport = self._transport
        if self._lingering or self._shutting or transport is None or transport.is_closing():
            return
        self._lingering = self._stopped = True
        self._queue.clear()
        self._held.clear()
        if self._read_paused:
            self._read_paused = False
            transport.resume_reading()
        if transport.can_write_eof():
            self._watch_stall(transport, LINGER_SECONDS)
            self.deadline = self._stall_until
            transport.write_eof()
        else:
            self._shut()

    def _drop(self, size: int) -> None:
        """What comes behind the end is read and dropped, so that the answer is not lost to a reset, up to a bound."""
        self._dropped += size
        if self._dropped > LINGER_BYTES:
            self.break_off()

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
        if transport is None or self._lingering or self._shutting or transport.is_closing():
            return
        body = error_body(why)
        head = (
            b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nx-spendgate-error: %b\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n"
        )
        transport.write(head % (why.status, REASONS.get(why.status, b"Error"), why.code.encode(), len(body)) + body)
        self._linger()


def unsent(transport: asyncio.Transport) -> int:
    """Bytes that the client has not taken. Those in the kernel count: what lies between TLS and there is not shown."""
    found = transport.get_extra_info("socket")
    try:
        queued = int.from_bytes(fcntl.ioctl(found.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except (OSError, ValueError, AttributeError):
        # it is closed, or no system tells
        queued = 0
    return transport.get_write_buffer_size() + queued
