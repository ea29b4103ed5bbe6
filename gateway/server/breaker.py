"""A circuit breaker: while a provider can't be reached, calls fail at once instead of waiting for one more attempt.

Only attempts to connect count. How an answer ends depends on what a caller asked for, so that one caller could close a
provider for all others.
"""

from __future__ import annotations

from gateway.ports import Endpoint


class Breaker:
    """One endpoint's. Closed: all may try. Open: nobody, but for one attempt each ``breaker_seconds``."""

    __slots__ = ("_endpoint", "_tries_at", "failures")

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.failures = 0
        """Failed attempts in a row."""
        self._tries_at = 0.0

    @property
    def is_open(self) -> bool:
        limit = self._endpoint.breaker_failures
        return bool(limit) and self.failures >= limit

    def refuses(self, now: float) -> str:
        """Why no connection may be tried now; empty where one may, which is then the only one for a while."""
        if not self.is_open:
            return ""
        if now < self._tries_at:
            return f"{self.failures} attempts in a row failed; the next is in {self._tries_at - now:.1f} s"
        self._tries_at = now + self._endpoint.breaker_seconds
        return ""

    def failed(self, now: float) -> None:
        self.failures += 1
        self._tries_at = now + self._endpoint.breaker_seconds

    def connected(self) -> None:
        self.failures = 0

    def remembers(self, now: float) -> bool:
        """True while its state matters to calls that may come."""
        return self.failures > 0 and now < self._tries_at + self._endpoint.breaker_seconds
