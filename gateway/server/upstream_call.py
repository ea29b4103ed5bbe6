"""One request on its way to a provider, as its exchange holds it: sent, waiting for a connection, or given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.ports import Endpoint, Exchange, Failure

if TYPE_CHECKING:
    from gateway.server.upstream_side import UpstreamConnection


class UpstreamCall:
    """One request on its way: the ``UpstreamPort`` that its exchange holds."""

    __slots__ = ("body", "connection", "endpoint", "head", "method", "paused", "to", "waits_until", "whole")

    def __init__(self, endpoint: Endpoint, head: bytes, body: bytes, method: bytes, to: Exchange) -> None:
        self.endpoint = endpoint
        self.head = head
        self.body = body
        self.method = method
        self.to: Exchange | None = to
        """None: over, or given up."""
        self.connection: UpstreamConnection | None = None
        self.paused = False
        self.whole = False
        self.waits_until = 0.0
        """How long it stays in line for a connection."""

    def pause(self) -> None:
        if not self.paused:
            self.paused = True
            if self.connection is not None:
                self.connection.pause()

    def resume(self) -> None:
        if self.paused:
            self.paused = False
            if self.connection is not None:
                self.connection.resume()

    def abort(self) -> None:
        self.to = None
        self.body = b""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.drop()

    def write(self, data: bytes) -> None:
        if self.connection is not None:
            self.connection.write(data)

    def fail(self, failure: Failure, detail: str) -> None:
        """Report the end of the call, once."""
        to, self.to = self.to, None
        self.connection = None
        if to is not None:
            to.upstream_failed(failure, detail)
