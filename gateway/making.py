"""The parts of a process that takes calls, from its configuration: at start, and again at each reload."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from gateway import assembly
from gateway.config.schema import Config
from gateway.credentials.keeper import Keeper
from gateway.identity.guard import Guard
from gateway.identity.ring import KeyRing
from gateway.identity.store import SqliteKeyStore
from gateway.ledger.sqlite import SqliteLedger
from gateway.parts import Observer, Offload, Parts
from gateway.ports import Clock, Upstreams
from gateway.quota.engine import Quotas
from gateway.quota.waiting import WaitingLine
from gateway.tokens.counter import Counter
from gateway.tokens.estimate import Estimator
from gateway.tokens.vocabulary import Vocabularies
from gateway.tracing import Beginner
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
            "secure": config.server.tls is not None,
        }

    def begun(
        self,
        config: Config,
        catalogue: Catalogue,
        *,
        quotas: Quotas,
        ledger: SqliteLedger,
        vocabularies: Vocabularies,
        observer: Observer,
        offload: Offload,
        new_id: Callable[[], str],
        ready: Callable[[], str],
        traced: bool,
    ) -> Parts:
        """The parts at a start. Raises ``AssemblyError``, ``OSError``."""
        clock = self.clock
        line = WaitingLine(clock)
        quotas.on_freed(line.pump)
        return Parts(
            **self.from_config(config, catalogue),
            guard=Guard(assembly.guard_limits_of(config), clock.monotonic),
            quotas=quotas,
            line=line,
            ledger=ledger,
            clock=clock,
            counter=Counter(vocabularies),
            estimator=Estimator(vocabularies),
            observer=observer,
            offload=offload,
            new_id=new_id,
            ready=ready,
            prompt_hash=assembly.prompt_hash_of(config, ledger.path),
            trace=Beginner(config.tracing.sample, secrets.randbits) if traced else None,
        )

    def renewed(self, parts: Parts, config: Config, catalogue: Catalogue) -> Parts:
        """The parts after a reload; calls in flight keep theirs. Raises ``AssemblyError``."""
        return msgspec.structs.replace(parts, **self.from_config(config, catalogue))
