"""The ledger in SQLite: one writer thread, one transaction and one fsync for all rows that wait.

The event loop's side only appends to a queue and wakes the writer where it sleeps; after a commit one call brings all
``done`` callbacks of the batch back to the loop.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from gateway.ledger.record import Checkpoint, OpenEntry, Record
from gateway.ledger.rows import Row
from gateway.ledger.schema import connect
from gateway.ledger.store import Done, LedgerFull, LedgerUnavailable
from gateway.ledger.writer import Writer, probe, unwritten

MAX_BATCH = 512
RETRY_SECONDS = 0.25
BUSY_SECONDS = 2.0
STOPPING_TRIES = 40
"""At a stop with a disk that fails: what is not written by then is recovered at the next start."""
_encode = msgspec.json.encode

OPEN, SETTLE, TASK = 0, 1, 2
Item = tuple[int, Any, Any, "Done | None"]
Task = Callable[[sqlite3.Connection], Any]


class SqliteLedger:
    """Implements ``gateway.ledger.store.Store``. ``committed`` hears how long each commit took, in seconds."""

    def __init__(
        self,
        path: Path,
        loop: asyncio.AbstractEventLoop,
        *,
        queue_rows: int = 20_000,
        committed: Callable[[float], None] | None = None,
    ) -> None:
        self.path = path
        self._loop = loop
        self._bound = queue_rows
        self._committed = committed
        self._queue: deque[Item] = deque()
        self._checkpoints: deque[tuple[str, bytes]] = deque()
        self._checkpointed: set[str] = set()
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._sleeping = False
        self._stopping = False
        self._reason = ""
        self._writer = Writer(alone=True)
        self._numbers: dict[str, int] = {}
        """Of open entries, by request id."""
        self._last_number = 0
        self._file = (0, 0)
        """Device and inode: a file that was deleted goes on taking writes that nobody will find."""
        self.open_count = 0
        """Calls that are open now."""
        self.refusals_dropped = 0
        """Refusals that were answered but not recorded, because the queue was full."""
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    # the event loop's side

    def start(self) -> None:
        """Begin to write. The schema must be there already."""
        self._thread.start()

    def open(self, entry: OpenEntry, done: Done) -> None:
        if self._reason:
            raise LedgerUnavailable(self._reason)
        if len(self._queue) >= self._bound:
            raise LedgerFull("too many calls wait for the ledger's disk")
        self.open_count += 1
        self._put((OPEN, _encode(entry), entry.request_id, done))

    def settle(self, record: Record, done: Done | None = None) -> None:
        if record.opened:
            self.open_count -= 1
        elif len(self._queue) >= self._bound:
            # a flood of refusals does not fill the queue that paid calls need
            self.refusals_dropped += 1
            if done is not None:
                self._loop.call_soon(done, None)
            return
        self._put((SETTLE, None, record, done))

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        self._checkpoints.append((checkpoint.request_id, _encode(checkpoint)))
        self._checkpointed.add(checkpoint.request_id)
        if self._sleeping and len(self._checkpoints) == 1:
            self._rouse()

    def run(self, task: Task, done: Callable[[Any, Exception | None], None]) -> None:
        """Execute ``task`` on the writer's connection, in a transaction of its own; then ``done`` on the loop."""
        self._put((TASK, task, done, None))

    async def execute(self, task: Task) -> Any:
        """``run`` for coroutines."""
        future: asyncio.Future[Any] = self._loop.create_future()

        def done(result: Any, error: Exception | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        self.run(task, done)
        return await future

    @property
    def reason(self) -> str:
        """Why nothing can be written now; empty when all is well."""
        return self._reason

    @property
    def queue_length(self) -> int:
        return len(self._queue)

    def close(self) -> None:
        """Write what waits, then stop. Blocks until it is done."""
        self._stopping = True
        self._rouse()
        if self._thread.is_alive():
            self._thread.join()

    def _put(self, item: Item) -> None:
        self._queue.append(item)
        if self._sleeping:
            self._rouse()

    def _rouse(self) -> None:
        self._sleeping = False
        self._wake.put(None)

    # the writer's side

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        kept: list[Item] = []
        tries_left = STOPPING_TRIES
        while True:
            batch = kept + self._next_batch(bool(kept))
            kept = []
            if not batch and not self._checkpoints and self._stopping:
                break
            try:
                if connection is None:
                    connection = self._connect()
                self._write(connection, batch)
            except (sqlite3.Error, OSError) as error:
                kept = self._failed(batch, error)
                if connection is not None:
                    connection.close()
                    connection = None
                if self._stopping:
                    tries_left -= 1
                    if not kept or not tries_left:
                        break
                time.sleep(RETRY_SECONDS)
        if connection is not None:
            with suppress(sqlite3.Error):
                # so that a gateway that is stopped leaves one file
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        connection = connect(self.path, timeout=BUSY_SECONDS, create=False)
        file = self._file
        self._file = self._identity()
        if file != self._file:
            # what is remembered is of another file
            self._numbers.clear()
            self._writer.forget()
        row = connection.execute("SELECT coalesce(max(id), 0) FROM open_requests").fetchone()
        self._last_number = max(self._last_number, row[0])
        return connection

    def _identity(self) -> tuple[int, int]:
        try:
            found = os.stat(self.path)
        except FileNotFoundError as error:
            raise OSError("its file is gone") from error
        return found.st_dev, found.st_ino

    def _next_batch(self, hurry: bool) -> list[Item]:
        queue = self._queue
        if not queue and not hurry and not self._reason:
            self._sleeping = True
            if queue or self._stopping or self._checkpoints:
                self._sleeping = False
            else:
                self._wake.get()
                self._sleeping = False
        batch: list[Item] = []
        while queue and len(batch) < MAX_BATCH:
            item = queue.popleft()
            batch.append(item)
            if item[0] == TASK:
                break
        return batch

    def _write(self, connection: sqlite3.Connection, batch: list[Item]) -> None:
        """Commit a batch and send its callbacks home; while unhealthy with nothing to write, try the disk."""
        if self._identity() != self._file:
            raise OSError("its file was replaced by another")
        if not batch and self._reason:
            probe(connection)
        opens: list[Row] = []
        records: list[Record] = []
        settled: list[str] = []
        opened: dict[str, int] = {}
        task: Item | None = None
        for item in batch:
            kind, encoded, subject, _ = item
            if kind == SETTLE:
                records.append(subject)
                if subject.opened:
                    settled.append(subject.request_id)
            elif kind == OPEN:
                number = self._last_number = self._last_number + 1
                opened[subject] = number
                opens.append((number, encoded))
            else:
                task = item
        if self._reason and records:
            # the disk may have taken them after all when it said that it had not
            records = unwritten(connection, records)
        numbers = self._numbers
        closed = [(known,) for key in settled if (known := numbers.get(key) or opened.get(key)) is not None]
        forgotten = [(key,) for key in settled if key in self._checkpointed] if self._checkpointed else []
        checkpoints = self._newest_checkpoints(forgotten)
        began = time.perf_counter()
        try:
            self._writer.write(
                connection, records=records, opens=opens, closed=closed, checkpoints=checkpoints, forgotten=forgotten
            )
        except BaseException:
            self._checkpoints.extendleft(checkpoints.items())
            raise
        took = time.perf_counter() - began
        numbers.update(opened)
        for key in settled:
            numbers.pop(key, None)
        self._checkpointed.difference_update(row[0] for row in forgotten)
        self._reason = ""
        done = [item[3] for item in batch if item[3] is not None]
        if done or (self._committed and batch):
            self._call(self._back, done, None, took)
        if task is not None:
            self._execute(connection, task)
            self._writer.forget()

    def _newest_checkpoints(self, forgotten: list[Row]) -> dict[str, bytes]:
        checkpoints: dict[str, bytes] = {}
        while self._checkpoints:
            key, value = self._checkpoints.popleft()
            checkpoints[key] = value
        for (key,) in forgotten:
            checkpoints.pop(key, None)
        return checkpoints

    def _execute(self, connection: sqlite3.Connection, item: Item) -> None:
        _, task, done, _ = item
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = task(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except Exception as error:  # noqa: BLE001 - whoever asked is told
            self._call(done, None, error)
        else:
            self._call(done, result, None)

    def _failed(self, batch: list[Item], error: Exception) -> list[Item]:
        """Nothing of the batch is written: opens are told, settlements are kept for the next try."""
        self._reason = f"the ledger can't be written: {error}"
        told = [done for kind, _, _, done in batch if kind == OPEN and done is not None]
        if told:
            self._call(self._back_failed, told, LedgerUnavailable(self._reason))
        kept = []
        for item in batch:
            kind, _, subject, done = item
            if kind == TASK:
                self._call(subject, None, LedgerUnavailable(self._reason))
            elif kind == SETTLE and subject.opened:
                kept.append(item)
            elif kind == SETTLE and done is not None:
                self._call(done, LedgerUnavailable(self._reason))
        return kept

    def _call(self, function: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            # the loop is closed: nobody waits for the answer any more
            return

    def _back(self, done: list[Done], error: Exception | None, took: float) -> None:
        if self._committed is not None:
            self._committed(took)
        for callback in done:
            callback(error)

    def _back_failed(self, done: list[Done], error: Exception) -> None:
        for callback in done:
            self.open_count -= 1
            callback(error)
