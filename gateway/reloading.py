"""A reload: the configuration is read again, then all of it is swapped at once, or nothing changes and it says why."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from gateway.admin.access import Access
from gateway.assembly import AssemblyError, catalogue_of, check_replica, limits_of
from gateway.audit import Audit, changes, needs_restart
from gateway.config.catalogue import CatalogueUnusable
from gateway.config.load import load_all, parse_all
from gateway.config.problems import ConfigErrors
from gateway.config.schema import Config
from gateway.doors import Doors, Renewal
from gateway.exporting import Exports
from gateway.ledger.store import LedgerUnavailable
from gateway.log import Log
from gateway.replica.copying import Replica
from gateway.scrub import secrets_of
from gateway.webhooks import Webhooks
from pricing.catalogue import Catalogue

T = TypeVar("T")
WRONG = (ConfigErrors, CatalogueUnusable, AssemblyError, LedgerUnavailable, OSError, sqlite3.Error)
"""What is raised where the new configuration can't be used."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """A configuration that can be used, as far as reading it tells."""

    config: Config
    text: str
    catalogue: Catalogue
    renewal: Renewal


def read(path: Path, doors: Doors, text: str | None = None) -> Fresh:
    """What the file says, or ``text`` that another process read there. Raises one of ``WRONG``; changes nothing. Reads
    files: nothing for the event loop's thread."""
    loaded = load_all(path, os.environ) if text is None else parse_all(text, str(path), os.environ, path.parent)
    config = loaded.config
    check_replica(config.ledger)
    return Fresh(config, loaded.text, catalogue_of(config, path), doors.prepare(config.server))


class Reloadable(Protocol[T]):
    """A process with an admin port."""

    config: Config
    config_path: Path
    logs: Log
    audit: Audit
    access: Access
    doors: Doors
    webhooks: Webhooks
    exports: Exports
    replica: Replica

    async def prepare(self, fresh: Fresh) -> T:
        """What is to be swapped in. Raises one of ``WRONG``, and then has changed nothing."""
        ...

    async def swap(self, fresh: Fresh, prepared: T) -> None:
        """Take it; called at once, without a turn of the loop between."""
        ...


class Reloading:
    """Reloads, one after the other. ``at``: when the configuration was last read, in seconds since the epoch."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.at = now()
        self.failures = 0
        self._now = now
        self._one = asyncio.Lock()

    async def reload(self, one: Reloadable[T], who: str) -> tuple[list[str], list[str]]:
        """Answers what is wrong, in which case nothing has changed, and the keys that changed."""
        async with self._one:
            try:
                fresh = await asyncio.to_thread(read, one.config_path, one.doors)
                prepared = await one.prepare(fresh)
            except WRONG as error:
                return self._refused(one, who, str(error).splitlines()), []
            config, renewal = fresh.config, fresh.renewal
            changed = list(dict.fromkeys([*changes(one.config, config), *one.doors.changed(renewal)]))
            one.logs.scrubber.learn(secrets_of(config))
            one.access.renew(config.server)
            one.doors.use(limits_of(config))
            await one.swap(fresh, prepared)
            await one.doors.renew(renewal)
            self.at = self._now()
            await one.webhooks.start(config.webhooks)
            await one.exports.start(config.exports)
            await one.replica.start(config.ledger.replica)
            one.audit(who, "reloaded", changed=changed, needs_restart=needs_restart(changed))
            return [], changed

    def _refused(self, one: Reloadable[T], who: str, wrong: list[str]) -> list[str]:
        self.failures += 1
        for line in wrong:
            one.logs.logger.error(f"not reloaded: {line}")
        one.audit(who, "reload refused", problems=len(wrong))
        return wrong
