"""The ledger in SQLite: one transaction and one fsync for all rows that wait.

Rows are put into the transaction on the event loop, in a few statements that touch memory alone; the commit, which
waits for the disk, is a thread's. So a batch costs two hand-overs between threads, however many statements it has:
each one that a second thread executed would wait for the interpreter twice. While a commit is under way the next batch
gathers. Whatever is not the usual way (a disk that fails, a file that another program has locked, tasks, the stop) is
the thread's from the first statement, so that it never holds up the loop.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from gateway.ledger.claims import Claims, Owner
from gateway.ledger.faults import is_damage
from gateway.ledger.gathering import MAX_BATCH, Gathering
from gateway.ledger.record import REJECTED, Checkpoint, OpenEntry, Record
from gateway.ledger.store import Done, LedgerFull, LedgerUnavailable
from gateway.ledger.transactions import OPEN, SETTLE, TASK, Item, Task, Transactions
from gateway.ledger.turns import Alone, Turns
from gateway.ledger.writer import note

RETRY_SECONDS = 0.25
BUSY_SECONDS = 2.0
BUSY_PAUSE_SECONDS = 0.01
STOPPING_TRIES = 40
"""At a stop with a disk that fails: what is not written by then is recovered at the next start. A damaged file is not
tried again."""
UNFIT = (ValueError, TypeError, OverflowError, sqlite3.DataError)
"""What is raised for a row that SQLite can't take, whatever the disk does."""
WAIT: tuple[list[Item], bool] = ([], False)
"""The job of waiting for our turn to write."""
UNPREPARED = (OSError, sqlite3.Error, *UNFIT)
_encode = msgspec.json.Encoder().encode


def _both(reported: Callable[[], None], done: Done | None) -> Done:
    """Tell of a report, then whoever waits for its record."""

    def told(error: Exception | None) -> None:
        if error is None:
            reported()
        if done is not None:
            done(error)

    return told


class SqliteLedger:
    """Implements ``gateway.ledger.store.Store``. ``committed`` hears how long each commit took, in seconds. Where
    several processes write, ``turns`` says whose turn it is, and ``slot`` which open entries are this one's."""

    __slots__ = (
        "_bound", "_claims", "_committed", "_gathering", "_jobs", "_loop", "_queue", "_reason", "_stopping", "_thread",
        "_transactions", "_turn", "_turns", "open_count", "refusals_dropped", "reported", "rows_unfit",
    )  # fmt: skip

    def __init__(
        self,
        path: Path,
        loop: asyncio.AbstractEventLoop,
        *,
        queue_rows: int = 20_000,
        committed: Callable[[float], None] | None = None,
        turns: Turns | None = None,
        slot: int = 0,
    ) -> None:
        self._loop = loop
        self._turns = turns or Alone()
        self._bound = queue_rows
        self._committed = committed
        self._gathering = Gathering(loop, self._begin)
        self._queue = self._gathering.queue
        self._transactions = Transactions(path, slot=slot, alone=turns is None)
        self._jobs: queue.SimpleQueue[tuple[list[Item], bool] | None] = queue.SimpleQueue()
        """For the thread: a batch, and whether it is in the transaction already. ``WAIT``: our turn. None: stop."""
        self._stopping = False
        self._turn = threading.Lock()
        """Held while the loop begins a batch, and to stop: no job comes behind the last one."""
        self._reason = ""
        self.open_count = 0
        """Calls that are open now."""
        self.refusals_dropped = 0
        """Refusals that were answered but not recorded, because the queue was full."""
        self.rows_unfit = 0
        """Rows that can't be written as they are. A call that was sent stays open: the next start recovers it."""
        self._claims = Claims(self.run)
        self.reported: Callable[[], None] | None = None
        """Hears when the report of what was to be reported later is durable."""
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    # the event loop's side

    def start(self) -> None:
        """Begin to write. The schema must be there already."""
        self._thread.start()
        self._jobs.put(([], False))

    def open(self, entry: OpenEntry, done: Done) -> None:
        if self._reason:
            raise LedgerUnavailable(self._reason)
        if len(self._queue) >= self._bound:
            raise LedgerFull("too many calls wait for the ledger's disk")
        self.open_count += 1
        # Python's sqlite3 binds bytes as if they might be of any class
        self._gathering.put((OPEN, bytearray(_encode(entry)), entry.request_id, done))

    def settle(self, record: Record, done: Done | None = None) -> None:
        if record.opened:
            self.open_count -= 1
        elif record.outcome == REJECTED and len(self._queue) >= self._bound:
            # a flood of refusals does not fill the queue that paid calls need
            self.refusals_dropped += 1
            if done is not None:
                self._loop.call_soon(done, None)
            return
        if record.claim:
            self._claims.settled(record)
            if self.reported is not None and record.usage_source == "response":
                done = _both(self.reported, done)
        self._gathering.put((SETTLE, None, record, done))

    def claim(self, provider: str, claim: str, begun_as: str, then: Callable[[bool, Owner | None], None]) -> None:
        self._claims.take(provider, claim, begun_as, then)

    def checkpoint(self, checkpoint: Checkpoint, done: Done | None = None) -> None:
        transactions, request_id, encoded = self._transactions, checkpoint.request_id, _encode(checkpoint)
        transactions.checkpointed.add(request_id)
        if done is None:
            transactions.checkpoints.append((request_id, encoded))
            self._gathering.soon()
            return
        tell = done
        self.run(lambda connection: note(connection, request_id, encoded), lambda _, error: tell(error))

    def run(self, task: Task, done: Callable[[Any, Exception | None], None]) -> None:
        """Execute ``task`` on the writer's connection, in a transaction of its own; then ``done`` on the loop."""
        self._gathering.put((TASK, task, done, None))

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
    def path(self) -> Path:
        return self._transactions.path

    @property
    def reason(self) -> str:
        """Why nothing can be written now; empty when all is well."""
        return self._reason

    @property
    def queue_length(self) -> int:
        return len(self._queue)

    def close(self) -> None:
        """Write what waits, then stop. Blocks until it is done."""
        with self._turn:
            self._stopping = True
            self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def _begin(self) -> None:
        """Put what waits into a transaction and have it committed."""
        with self._turn:
            if self._gathering.busy or self._stopping or not (self._queue or self._transactions.checkpoints):
                return
            self._gathering.busy = True
            if self._turns.try_enter():
                self._hand_over()
            else:
                self._jobs.put(WAIT)

    def _entered(self) -> None:
        """The thread has waited for our turn: now all that came meanwhile goes into one transaction."""
        with self._turn:
            if not self._stopping:
                self._hand_over()

    def _hand_over(self) -> None:
        batch = self._gathering.batch()
        self._jobs.put((batch, self._prepared(batch)))

    def _prepared(self, batch: list[Item]) -> bool:
        """True where ``batch`` could be put into a transaction; else the thread finds out why, and what can be done."""
        transactions = self._transactions
        if transactions.connection is None or (batch and batch[0][0] == TASK):
            return False
        try:
            transactions.prepare(batch, doubtful=False)
        except UNPREPARED:
            return False
        return True

    def _written(self, batch: list[Item], took: float) -> None:
        """The thread is done with a batch: tell who waits for it, go on with the next."""
        self._gathering.busy = False
        if self._committed is not None:
            self._committed(took)
        self._tell(batch)
        if self._queue or self._transactions.checkpoints:
            self._gathering.soon()

    def _tell(self, written: list[Item]) -> None:
        for item in written:
            done = item[3]
            if done is not None:
                try:
                    done(None)
                except Exception as error:  # noqa: BLE001 - one call's fault is reported, the others still hear
                    self._loop.call_exception_handler({"message": "a written call failed", "exception": error})
        # here, not where the thread forgets them, which would hold up the loop for that
        written.clear()

    def _unwritten(self, done: list[Done], error: Exception) -> None:
        for callback in done:
            self.open_count -= 1
            callback(error)

    # the thread's side

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if job is WAIT:
                self._turns.enter()
                self._call(self._entered)
            else:
                self._work(*job)
        # the loop begins nothing any more: the queue is this thread's
        while self._queue or self._transactions.checkpoints:
            if not self._work(self._gathering.batch(), False):
                break
        self._transactions.close(tidy=True)

    def _work(self, batch: list[Item], prepared: bool) -> bool:
        """Write a batch, as often as it takes. False: the stop came first."""
        tries_left = STOPPING_TRIES
        while True:
            began = time.perf_counter()
            try:
                written = self._write(batch, prepared)
            except (sqlite3.Error, OSError) as error:
                batch = self._failed(batch, error)
                prepared, damaged = False, is_damage(error)
            else:
                self._reason = ""
                self._call(self._written, written, time.perf_counter() - began)
                return True
            if self._stopping:
                tries_left -= 1
                if not batch or not tries_left or damaged:
                    return False
            time.sleep(RETRY_SECONDS)
            batch += self._waiting(MAX_BATCH - len(batch))

    def _prepare(self, batch: list[Item]) -> None:
        """Waits a while for another program that has locked the file."""
        transactions = self._transactions
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                if transactions.connection is None:
                    transactions.open()
                if batch and batch[0][0] == TASK:
                    self._execute(batch[0])
                else:
                    transactions.prepare(batch, doubtful=bool(self._reason))
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
            else:
                return
            time.sleep(BUSY_PAUSE_SECONDS)

    def _execute(self, item: Item) -> None:
        _, task, done, _ = item
        self._transactions.begin()
        try:
            result = self._transactions.execute(task)
        except Exception as error:  # noqa: BLE001 - whoever asked is told
            self._call(done, None, error)
        else:
            self._call(done, result, None)

    def _write(self, batch: list[Item], prepared: bool) -> list[Item]:
        """Write a batch in one transaction; answers what was written. A row that can't be holds up no other."""
        if not prepared:
            self._turns.enter()
        try:
            if not prepared:
                self._prepare(batch)
            if not (batch and batch[0][0] == TASK):
                self._transactions.commit()
        except UNFIT:
            return self._one_by_one(batch)
        finally:
            self._turns.leave()
        return batch

    def _one_by_one(self, batch: list[Item]) -> list[Item]:
        """Each row in a transaction of its own. ``batch`` keeps what is not written yet, should the disk fail."""
        written: list[Item] = []
        while batch:
            item = batch[0]
            try:
                self._prepare([item])
                self._transactions.commit()
            except UNFIT as error:
                self.rows_unfit += 1
                self._unfit(item, LedgerUnavailable(f"the ledger can't take what is to be written: {error}"))
            except (sqlite3.Error, OSError):
                self._call(self._tell, written)
                raise
            else:
                written.append(item)
            del batch[0]
        return written

    def _unfit(self, item: Item, error: Exception) -> None:
        kind, _, _, done = item
        if done is not None and kind == OPEN:
            self._call(self._unwritten, [done], error)
        elif done is not None:
            self._call(done, error)

    def _failed(self, batch: list[Item], error: Exception) -> list[Item]:
        """Nothing of the batch is written: opens and refusals are told, settlements are kept for the next try."""
        self._reason = f"the ledger can't be written: {error}"
        self._transactions.close()
        unavailable = LedgerUnavailable(self._reason)
        told = [done for kind, _, _, done in batch if kind == OPEN and done is not None]
        if told:
            self._call(self._unwritten, told, unavailable)
        kept = []
        for item in batch:
            kind, _, subject, done = item
            if kind == TASK:
                self._call(subject, None, unavailable)
            elif kind == SETTLE and subject.outcome != REJECTED:
                kept.append(item)
            elif kind == SETTLE and done is not None:
                self._call(done, unavailable)
        return kept

    def _waiting(self, most: int) -> list[Item]:
        """What has come while the disk failed; tasks are told so."""
        taken: list[Item] = []
        while self._queue and len(taken) < most:
            item = self._queue.popleft()
            if item[0] == TASK:
                self._call(item[2], None, LedgerUnavailable(self._reason))
            else:
                taken.append(item)
        return taken

    def _call(self, function: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            # the loop is closed: nobody waits for the answer any more
            return
