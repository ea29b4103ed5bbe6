"""Patience with clients of a port that another library's protocol serves: a head that does not end and an answer that
is not taken are given up, as the data plane gives them up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from gateway.server.limits import Limits


class Patience:
    """What the connections of a port share: the bounds that hold now, and how many were given up."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        self.loop = loop
        self.limits = limits
        self.given_up = 0


class Patient(asyncio.Protocol):
    """One connection. Hands everything to ``inner``; whoever serves its requests says when one ``began`` and ``ended``.
    Between two requests ``inner`` has a bound of its own."""

    _inner: asyncio.Protocol

    def __init__(self, patience: Patience, make: Callable[[], asyncio.Protocol]) -> None:
        self._patience = patience
        self._make = make
        self._transport: asyncio.Transport | None = None
        self._serving = False
        self._head: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None

    def began(self) -> None:
        """A request's head is whole."""
        self._serving = True
        self._stop_head()

    def ended(self) -> None:
        """Its answer is made; the next head may come."""
        self._serving = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not of asyncio's classes
        self._head = self._later(self._patience.limits.head_seconds)
        # not before: nothing ends one whose handshake fails, and it may stand in a circle
        self._inner = self._make()
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if not self._serving and self._head is None:
            self._head = self._later(self._patience.limits.head_seconds)
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._taking = self._later(self._patience.limits.write_seconds)
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._stop_taking()
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head()
        self._stop_taking()
        self._inner.connection_lost(exc)

    def _later(self, seconds: float) -> asyncio.TimerHandle:
        return self._patience.loop.call_later(seconds, self._give_up)

    def _stop_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _stop_taking(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _give_up(self) -> None:
        self._patience.given_up += 1
        if self._transport is not None:
            self._transport.abort()


def patient(patience: Patience, make: Callable[[], asyncio.Protocol]) -> Callable[[], Patient]:
    """Makes a connection's protocol."""
    return lambda: Patient(patience, make)
