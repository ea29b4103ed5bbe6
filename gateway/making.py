"""The parts of a process that takes calls, from its configuration: at start, and again at each reload."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from gateway import assembly
from gateway.config.schema import Config
from gateway.credentials.keeper import Keeper
from gateway.identity.ring import KeyRing
from gateway.identity.store import SqliteKeyStore
from gateway.parts import Parts
from gateway.ports import Clock, Upstreams
from pricing.catalogue import Catalogue


class Making:
    """What parts are made of beside the configuration."""

    def __init__(self, pool: Upstreams, clock: Clock, keeper: Keeper, key_store: SqliteKeyStore) -> None:
        self.pool = pool
        self.clock = clock
        self.keeper = keeper
        self.key_store = key_store

    def from_config(self, config: Config, catalogue: Catalogue) -> dict[str, Any]:
        """Those of ``gateway.parts.Parts`` that a reload makes anew. Raises ``AssemblyError``."""
        clock = self.clock
        return {
            "router": assembly.router_of(config, self.pool, clock, self.keeper, os.environ),
            "keys": KeyRing(config.keys, self.key_store, monotonic=clock.monotonic, now_ns=clock.now_ns),
            "attribution": config.attribution,
            "book": assembly.book_of(config, catalogue),
            "models": assembly.models_of(config, catalogue),
            "on_disconnect": config.on_disconnect,
            "max_body_bytes": config.server.max_body_bytes,
        }

    def renewed(self, parts: Parts, config: Config, catalogue: Catalogue) -> Parts:
        """The parts after a reload; calls in flight keep theirs. Raises ``AssemblyError``."""
        return msgspec.structs.replace(parts, **self.from_config(config, catalogue))
