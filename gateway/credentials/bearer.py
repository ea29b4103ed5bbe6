"""OAuth tokens that expire: fetched before they are needed, in the background, and never on a call's way."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from gateway.ports import CredentialUnavailable, Header

EARLY_SECONDS = 300.0
"""A token is replaced this long before it ends."""
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 60.0


class Token(msgspec.Struct, frozen=True):
    value: str
    expires_at: float
    """Seconds since the epoch."""


class BearerToken:
    """A token kept fresh. ``fetch`` gets a new one; what it raises is retried with growing pauses."""

    def __init__(self, name: str, fetch: Callable[[], Awaitable[Token]], log: logging.Logger) -> None:
        self.replaces: frozenset[bytes] = frozenset()
        self._name = name
        self._fetch = fetch
        self._log = log
        self._token: Token | None = None
        self.first = asyncio.Event()
        """Set once there has been a token, or a first failure."""
        self._headers: tuple[Header, ...] = ()
        self._reason = "no token has been fetched yet"

    async def run(self) -> None:
        """Keep the token fresh until cancelled."""
        pause = FIRST_RETRY_SECONDS
        while True:
            try:
                token = await self._fetch()
            except Exception as error:  # noqa: BLE001 - any failure is retried; its text may hold a secret, its type not
                self._reason = f"the token of {self._name} could not be refreshed ({type(error).__name__})"
                self._log.warning(self._reason)
                self.first.set()
                await asyncio.sleep(pause)
                pause = min(2 * pause, LAST_RETRY_SECONDS)
                continue
            pause = FIRST_RETRY_SECONDS
            self._token = token
            self._headers = ((b"authorization", b"Bearer " + token.value.encode()),)
            self.first.set()
            lifetime = token.expires_at - time.time()
            await asyncio.sleep(max(1.0, min(lifetime - EARLY_SECONDS, lifetime / 2)))

    def headers(
        self, method: bytes, host: bytes, target: bytes, headers: Sequence[Header], body: bytes
    ) -> Sequence[Header]:
        if self._token is None or self._token.expires_at <= time.time():
            raise CredentialUnavailable(self._reason)
        return self._headers

    def __repr__(self) -> str:
        return f"BearerToken({self._name!r})"
