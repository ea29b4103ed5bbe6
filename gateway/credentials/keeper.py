"""All providers' credentials: made from the configuration, kept fresh, kept over a reload that does not change them."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from gateway.config.schema import ProviderConfig
from gateway.credentials.bearer import BearerToken
from gateway.credentials.static import StaticKey
from gateway.ports import Credential
from gateway.wire.dialect import Auth

START_SECONDS = 5.0
"""How long a start waits for the first tokens."""


class Renewed(Credential, Protocol):
    """A credential that ends, and is renewed in the background."""

    first: asyncio.Event
    """Set once there has been one, or a first failure."""

    async def run(self) -> None:
        """Keep it fresh until cancelled."""
        ...


class Keeper:
    """``credential`` makes or finds one; ``start`` begins to refresh new ones and ends those no longer used."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._known: dict[str, tuple[object, Renewed]] = {}
        self._wanted: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def credential(self, name: str, config: ProviderConfig, auth: Auth) -> Credential | None:
        """The provider's credential; None where the caller's own passes through.

        Raises ``ModuleNotFoundError`` where an extra is missing.
        """
        if config.api_key is not None:
            return StaticKey(auth.header, auth.prefix, config.api_key)
        source = config.aws or config.google or config.azure
        if source is None:
            return None
        known = self._known.get(name)
        self._wanted.add(name)
        if known is None or known[0] != source:
            known = self._known[name] = (source, self._make(name, config))
            task = self._tasks.pop(name, None)
            if task is not None:
                task.cancel()
        return known[1]

    def _make(self, name: str, config: ProviderConfig) -> Renewed:
        if config.aws is not None:
            from gateway.credentials.sigv4 import SigV4

            return SigV4(config.aws, name, self._log)
        if config.google is not None:
            from gateway.credentials.google import google_tokens

            return BearerToken(name, google_tokens(config.google), self._log)
        from gateway.credentials.azure import azure_tokens

        assert config.azure is not None
        return BearerToken(name, azure_tokens(config.azure), self._log)

    async def start(self) -> None:
        """Refresh what the newest configuration uses; wait a little for the first ones."""
        for name in [name for name in self._known if name not in self._wanted]:
            del self._known[name]
            task = self._tasks.pop(name, None)
            if task is not None:
                task.cancel()
        self._wanted.clear()
        new = []
        for name, (_, renewed) in self._known.items():
            if name not in self._tasks:
                self._tasks[name] = asyncio.create_task(renewed.run())
                new.append(renewed.first.wait())
        if new:
            await asyncio.wait([asyncio.ensure_future(waiting) for waiting in new], timeout=START_SECONDS)

    def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
