"""When the disk is the problem: nothing is sent that can't be written, and service returns by itself."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import book
import pytest

from gateway.ledger.faults import LedgerCorrupt
from gateway.ledger.record import OpenEntry
from gateway.ledger.schema import migrate
from gateway.ledger.single import AlreadyRunning, DirectoryLock
from gateway.ledger.sqlite import SqliteLedger
from gateway.ledger.store import LedgerFull, LedgerUnavailable


def entry(number: int) -> OpenEntry:
    one = book.record(number)
    return OpenEntry(
        request_id=one.request_id, started_ns=one.started_ns, team="t", workflow="w", key_id="k", tags={},
        provider="p", api="chat", method="POST", path="/", model_requested="m", stream=False,
    )  # fmt: skip


async def opened(ledger: SqliteLedger, number: int) -> Exception | None:
    future: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    ledger.open(entry(number), future.set_result)
    return await asyncio.wait_for(future, 20)


async def settled(ledger: SqliteLedger, number: int, **changes: object) -> Exception | None:
    future: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    ledger.settle(book.record(number, **changes), future.set_result)
    return await asyncio.wait_for(future, 20)


async def locked(path: Path) -> tuple[SqliteLedger, sqlite3.Connection]:
    """A ledger with one open call, and the other program that has locked its file."""
    migrate(path)
    ledger = SqliteLedger(path, asyncio.get_running_loop())
    ledger.start()
    assert await opened(ledger, 1) is None
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    return ledger, other


async def healthy(ledger: SqliteLedger) -> None:
    for _ in range(200):
        if not ledger.reason:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(ledger.reason)


def fill(path: Path) -> None:
    """Take all the room that is left."""
    out = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(out, bytes(4096)):
            pass
    except OSError:
        os.close(out)


async def test_a_call_that_fails_when_it_is_written_down_keeps_its_fault_to_itself(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    migrate(path)
    loop = asyncio.get_running_loop()
    faults: list[object] = []
    loop.set_exception_handler(lambda _, context: faults.append(context["exception"]))
    ledger = SqliteLedger(path, loop)
    ledger.start()
    fault = ZeroDivisionError()

    def failing(_: Exception | None) -> None:
        raise fault

    ledger.open(entry(1), failing)  # in one batch with the next
    assert await opened(ledger, 2) is None
    assert await opened(ledger, 3) is None
    assert faults == [fault]
    ledger.close()


async def test_a_locked_database_refuses_calls_and_service_returns_with_what_was_kept(tmp_path: Path) -> None:
    ledger, other = await locked(tmp_path / "l.db")
    kept = asyncio.create_task(settled(ledger, 1))
    error = await opened(ledger, 2)
    assert isinstance(error, LedgerUnavailable)
    assert "locked" in ledger.reason
    with pytest.raises(LedgerUnavailable):
        ledger.open(entry(3), lambda _: None)
    other.execute("ROLLBACK")
    assert await kept is None
    await healthy(ledger)
    assert await opened(ledger, 4) is None
    ledger.close()
    rows = other.execute("SELECT request_id FROM requests").fetchall()
    assert rows == [(book.record(1).request_id,)]


async def test_what_was_spent_without_an_open_entry_of_its_own_is_kept_too_and_a_refusal_is_not(tmp_path: Path) -> None:
    ledger, other = await locked(tmp_path / "l.db")
    # a response of a session, or what another model used for a call
    kept = asyncio.create_task(settled(ledger, 2, opened=False))
    refused = await settled(ledger, 3, opened=False, outcome="rejected")
    assert isinstance(refused, LedgerUnavailable)
    other.execute("ROLLBACK")
    assert await kept is None
    ledger.close()
    rows = other.execute("SELECT request_id FROM requests").fetchall()
    assert rows == [(book.record(2).request_id,)]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
async def test_a_full_disk_refuses_calls_and_service_returns_when_there_is_room(tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system can't be mounted here")
    try:
        path = tmp_path / "l.db"
        migrate(path)
        ledger = SqliteLedger(path, asyncio.get_running_loop())
        ledger.start()
        assert await opened(ledger, 0) is None
        filler = tmp_path / "filler"
        fill(filler)
        number, error = 1, None
        while error is None and number < 500:
            try:
                error = await opened(ledger, number)
            except LedgerUnavailable as full:
                error = full
            number += 1
        assert isinstance(error, LedgerUnavailable)
        assert "full" in str(error)
        filler.unlink()
        await healthy(ledger)
        assert await opened(ledger, number) is None
        assert await settled(ledger, 0) is None
        ledger.close()
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=False)


async def test_a_full_queue_refuses_calls_but_never_a_settlement(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    migrate(path)
    ledger = SqliteLedger(path, asyncio.get_running_loop(), queue_rows=2)
    ledger.open(entry(1), lambda _: None)
    ledger.open(entry(2), lambda _: None)
    with pytest.raises(LedgerFull):
        ledger.open(entry(3), lambda _: None)
    ledger.settle(book.record(1))
    ledger.start()
    ledger.close()
    assert sqlite3.connect(path).execute("SELECT count(*) FROM requests").fetchone() == (1,)


def test_a_file_that_is_no_ledger_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(LedgerCorrupt, match="damaged or no ledger"):
        migrate(path)


def test_a_second_gateway_on_the_directory_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from gateway.ledger.single import DirectoryLock; "
        f"DirectoryLock(Path({str(tmp_path)!r})).acquire(); print('held', flush=True); time.sleep(30)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(AlreadyRunning, match=str(holder.pid)):
        DirectoryLock(tmp_path).acquire()
    holder.kill()
    holder.wait()
    lock = DirectoryLock(tmp_path)
    lock.acquire()
    lock.release()


async def test_a_row_that_sqlite_can_not_take_holds_up_no_other(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    migrate(path)
    ledger = SqliteLedger(path, asyncio.get_running_loop())
    ledger.start()
    for number in (1, 2, 3):
        assert await opened(ledger, number) is None
    huge = book.record(2)
    huge.cost_nanousd = 1 << 70
    loop = asyncio.get_running_loop()
    answers = [loop.create_future() for _ in range(3)]
    for record, answer in zip((book.record(1), huge, book.record(3)), answers, strict=True):
        ledger.settle(record, answer.set_result)
    first, bad, third = await asyncio.wait_for(asyncio.gather(*answers), 20)
    assert (first, third) == (None, None)
    assert "can't take" in str(bad)
    assert await opened(ledger, 4) is None
    assert await settled(ledger, 4) is None
    assert (ledger.rows_unfit, ledger.reason) == (1, "")
    ledger.close()
    with sqlite3.connect(path) as connection:
        written = {row[0] for row in connection.execute("SELECT request_id FROM records")}
        assert written == {book.record(number).request_id for number in (1, 3, 4)}
        # it is not lost: the next start recovers it
        assert connection.execute("SELECT count(*) FROM open_requests").fetchone()[0] == 1
