"""What a ledger must do, whatever it is kept in. Every store passes the same suite of tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gateway.ledger.claims import Owner
from gateway.ledger.record import Checkpoint, OpenEntry, Record

Done = Callable[[Exception | None], None]
"""Called once, on the event loop's thread: None when the row is durable, else why it is not."""


class LedgerFull(Exception):  # noqa: N818 - a state, not a mistake
    """The queue of rows waiting for the disk is at its bound: the call must wait or be refused."""


class LedgerUnavailable(Exception):  # noqa: N818 - a state, not a mistake
    """The ledger can't be written now (disk full, read-only, locked…). The text says why."""


class Store(Protocol):
    """The write side, on the request path. None of these calls blocks or waits."""

    def open(self, entry: OpenEntry, done: Done) -> None:
        """Make ``entry`` durable, then call ``done``. Raises ``LedgerFull`` or ``LedgerUnavailable`` at once
        where it is known that it can't be."""
        ...

    def settle(self, record: Record, done: Done | None = None) -> None:
        """Write ``record``, close its open entry and add it to the rollups, all in one transaction; then ``done``.
        What was spent is never refused for a full queue, and is kept and retried while the disk fails. A refusal
        is dropped then, and ``done`` told."""
        ...

    def claim(self, provider: str, claim: str, begun_as: str, then: Callable[[bool, Owner | None], None]) -> None:
        """``then`` hears, on the event loop, whether the use that ``provider`` reports under ``claim`` is still to be
        charged, True to one caller alone, and who began it, as ``begun_as`` where that is another; see
        ``gateway.ledger.claims``."""
        ...

    def checkpoint(self, checkpoint: Checkpoint, done: Done | None = None) -> None:
        """Remember how far a stream has come. The newest wins; rides in the next commit, and is not waited for. With
        ``done`` it is written apart, and ``done`` called."""
        ...
