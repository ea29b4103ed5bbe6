"""Several processes of one gateway write one ledger: nobody waits for long, each settles only what is its own."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import book

from gateway.ledger.connections import connect_reader
from gateway.ledger.record import OpenEntry
from gateway.ledger.recovery import recover
from gateway.ledger.schema import migrate
from gateway.ledger.sqlite import SqliteLedger
from gateway.ledger.turns import SLOT_BITS, SharedTurns
from gateway.ledger.verify import verify

CALLS = 400
AT_ONCE = 20


def entry(number: int) -> OpenEntry:
    one = book.record(number)
    return OpenEntry(
        request_id=one.request_id, started_ns=one.started_ns, team=one.team, workflow=one.workflow, key_id=one.key_id,
        tags=one.tags, provider=one.provider, api=one.api, method=one.method, path=one.path,
        model_requested=one.model_requested, stream=one.stream, reserved_nanousd=5_000,
    )  # fmt: skip


def writer(path: Path, slot: int) -> SqliteLedger:
    ledger = SqliteLedger(path, asyncio.get_running_loop(), turns=SharedTurns(path), slot=slot)
    ledger.start()
    return ledger


async def opened(ledger: SqliteLedger, number: int) -> None:
    done: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    ledger.open(entry(number), done.set_result)
    assert await asyncio.wait_for(done, 30) is None


async def settled(ledger: SqliteLedger, number: int) -> None:
    done: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    ledger.settle(book.record(number), done.set_result)
    assert await asyncio.wait_for(done, 30) is None


async def test_what_several_writers_write_at_once_is_all_there_and_adds_up(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    migrate(path)
    writers = [writer(path, slot) for slot in (1, 2, 3)]

    async def call(ledger: SqliteLedger, numbers: range) -> None:
        for number in numbers:
            await opened(ledger, number)
            await settled(ledger, number)

    tasks = [
        call(ledger, range(which * CALLS + first, (which + 1) * CALLS, AT_ONCE))
        for which, ledger in enumerate(writers)
        for first in range(AT_ONCE)
    ]
    await asyncio.gather(*tasks)
    for ledger in writers:
        await asyncio.to_thread(ledger.close)
    reader = connect_reader(path)
    reader.row_factory = None
    assert reader.execute("SELECT count(*), count(DISTINCT request_id) FROM requests").fetchone() == (1200, 1200)
    assert reader.execute("SELECT count(*) FROM open_requests").fetchone() == (0,)
    assert verify(reader) == []
    reader.close()


async def test_the_open_calls_of_one_that_ended_are_recovered_while_the_others_go_on(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    migrate(path)
    gone, alive = writer(path, 1), writer(path, 2)
    for number in (1, 2):
        await opened(gone, number)
    await opened(alive, 3)
    found = await asyncio.to_thread(recover, path, book.record(1).started_ns, 1, SharedTurns(path))
    assert {record.request_id for record in found} == {book.record(1).request_id, book.record(2).request_id}
    assert {record.outcome for record in found} == {"recovered"}
    connection = sqlite3.connect(path)
    assert [number >> SLOT_BITS for (number,) in connection.execute("SELECT id FROM open_requests")] == [2]
    await settled(alive, 3)
    assert connection.execute("SELECT count(*) FROM open_requests").fetchone() == (0,)
    assert connection.execute("SELECT outcome, count(*) FROM requests GROUP BY 1 ORDER BY 1").fetchall() == [
        (book.record(3).outcome, 1), ("recovered", 2)
    ]  # fmt: skip
    connection.close()
    for ledger in (gone, alive):
        await asyncio.to_thread(ledger.close)
