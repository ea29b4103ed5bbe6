"""The writer's connection, and one transaction after the other on it. Used by one thread at a time."""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gateway.ledger.connections import connect
from gateway.ledger.places import Places
from gateway.ledger.record import Record
from gateway.ledger.store import Done
from gateway.ledger.writer import Writer, probe, unwritten

OPEN, SETTLE, TASK = 0, 1, 2
Item = tuple[int, Any, Any, "Done | None"]
"""What waits: its kind; an entry's bytes or a task; request id, record or the task's ``done``; ``done``."""
Task = Callable[[sqlite3.Connection], Any]


class Transactions:
    """``prepare`` puts a batch into a transaction, ``commit`` makes it durable. After an error nothing of the batch is
    written; ``close`` then, and the next ``prepare`` begins on a new connection. ``slot``: whose open entries these
    are, where several processes write (see ``gateway.ledger.turns``); ``alone``: none does."""

    __slots__ = (
        "_carried", "_file", "_forgotten", "_places", "_writer", "checkpointed", "checkpoints", "connection", "path",
    )  # fmt: skip

    def __init__(self, path: Path, *, slot: int = 0, alone: bool = True) -> None:
        self.path = path
        self.connection: sqlite3.Connection | None = None
        self.checkpoints: deque[tuple[str, bytes]] = deque()
        self.checkpointed: set[str] = set()
        """Ids of open calls that have a checkpoint, written or waiting."""
        self._writer = Writer(alone=alone)
        self._places = Places(slot)
        self._file = (0, 0)
        """Device and inode: a file that was deleted goes on taking writes that nobody will find."""
        self._carried: dict[str, bytes] = {}
        self._forgotten: list[str] = []

    def open(self) -> None:
        """Connect. Raises ``sqlite3.Error`` or ``OSError``."""
        connection = connect(self.path, timeout=0.0, create=False)
        try:
            self._begin_on(connection)
        except BaseException:
            connection.close()
            raise
        self.connection = connection

    def _begin_on(self, connection: sqlite3.Connection) -> None:
        file = self._file
        self._file = self._identity()
        if file != self._file:
            # what is remembered is of another file
            self._places.forget()
            self._writer.forget()
        first, end = self._places.first, self._places.end
        own = "SELECT coalesce(max(id), ?) FROM open_requests WHERE id >= ? AND id < ?"
        self._places.start_after(connection.execute(own, (first, first, end)).fetchone()[0])

    def _identity(self) -> tuple[int, int]:
        try:
            found = os.stat(self.path)
        except FileNotFoundError as error:
            raise OSError("its file is gone") from error
        return found.st_dev, found.st_ino

    def _check_file(self) -> None:
        if self._identity() != self._file:
            raise OSError("its file was replaced by another")

    def prepare(self, items: Sequence[Item], *, doubtful: bool) -> None:
        """Put ``items`` (no tasks) and the newest checkpoints into a transaction. ``doubtful``: an earlier commit
        failed, and the disk may have taken it after all."""
        connection = self.connection
        assert connection is not None
        self._check_file()
        opening: dict[str, bytes] = {}
        records: list[Record] = []
        settled: dict[str, None] = {}
        for kind, encoded, subject, _ in items:
            if kind == OPEN:
                opening[subject] = encoded
                continue
            records.append(subject)
            if subject.opened:
                settled[subject.request_id] = None
                # opened and ended at once: its record is all that anybody can miss
                opening.pop(subject.request_id, None)
        if doubtful:
            if not items:
                probe(connection)
            records = unwritten(connection, records)
        opens, closed = self._places.plan(opening, settled)
        forgotten = self._forgotten = []
        if self.checkpointed:
            forgotten = self._forgotten = [key for key in settled if key in self.checkpointed]
        checkpoints = self._carried = self._newest_checkpoints(forgotten) if self.checkpoints else {}
        try:
            self._writer.prepare(
                connection, records=records, opens=opens, closed=closed, checkpoints=checkpoints, forgotten=forgotten
            )
        except BaseException:
            self.checkpoints.extendleft(checkpoints.items())
            raise

    def commit(self) -> None:
        """Make durable what was prepared."""
        connection = self.connection
        assert connection is not None
        try:
            connection.commit()
        except BaseException:
            self.undo()
            raise
        self._places.keep()
        if self._forgotten:
            self.checkpointed.difference_update(self._forgotten)

    def undo(self) -> None:
        """Leave what was prepared."""
        assert self.connection is not None
        self.checkpoints.extendleft(self._carried.items())
        with suppress(sqlite3.Error):
            # a connection that can't even do this is closed next
            self._writer.undo(self.connection)

    def begin(self) -> None:
        """Begin a transaction for a task."""
        assert self.connection is not None
        self._check_file()
        self.connection.execute("BEGIN IMMEDIATE")

    def execute(self, task: Task) -> Any:
        """Execute ``task`` in the transaction that was begun, and commit it. Raises what the task raises."""
        connection = self.connection
        assert connection is not None
        try:
            result = task(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        finally:
            self._writer.forget()
        return result

    def _newest_checkpoints(self, forgotten: list[str]) -> dict[str, bytes]:
        checkpoints: dict[str, bytes] = {}
        while self.checkpoints:
            key, value = self.checkpoints.popleft()
            checkpoints[key] = value
        for key in forgotten:
            checkpoints.pop(key, None)
        return checkpoints

    def close(self, *, tidy: bool = False) -> None:
        """Close the connection. ``tidy``: leave one file."""
        connection, self.connection = self.connection, None
        if connection is None:
            return
        if tidy:
            with suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
