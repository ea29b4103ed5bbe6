"""Rows of open entries are used again: at any moment those that lie there are the calls that are open, each once."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path
from typing import Any

import book
import pytest

from gateway.ledger.places import Places
from gateway.ledger.schema import migrate
from gateway.ledger.transactions import OPEN, SETTLE, Item, Transactions
from gateway.ledger.turns import slot_range


@pytest.mark.parametrize("slot", [0, 3])
def test_whatever_is_opened_ended_or_not_written_the_rows_are_those_of_open_calls(slot: int) -> None:
    rng = random.Random(slot)
    places = Places(slot)
    first, end = slot_range(slot)
    places.start_after(first + 7)
    table: dict[int, bytes] = {}
    open_calls: dict[str, bytes] = {}
    for step in range(3000):
        most = 40 if step // 500 % 2 else 5
        opening = {f"{step}-{n}": f"{step}-{n}".encode() for n in range(rng.randrange(most))}
        ending = rng.sample(sorted(open_calls), rng.randrange(min(len(open_calls), most) + 1))
        opens, closed = places.plan(opening, [*ending, "unknown"])
        if rng.random() < 0.2:
            # the transaction failed
            continue
        places.keep()
        table.update(zip(opens[::2], opens[1::2], strict=True))
        for number in closed:
            del table[number]
        for key in ending:
            del open_calls[key]
        open_calls.update(opening)
        assert sorted(table.values()) == sorted(open_calls.values())
        assert all(table[places.find(key) or 0] == value for key, value in open_calls.items())
        assert all(first + 7 < number < end for number in table)
    assert max(table) - first < 2000, "rows are not used again"


class Doubtful:
    """A connection whose commit is taken by the disk and fails all the same."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def commit(self) -> None:
        self.connection.commit()
        raise sqlite3.OperationalError("disk I/O error")


def opened(number: int) -> Item:
    return OPEN, f'["{book.record(number).request_id}"]'.encode(), book.record(number).request_id, None


def settled(number: int) -> Item:
    return SETTLE, None, book.record(number), None


def test_an_entry_in_place_of_one_whose_end_is_doubtful_is_no_open_call(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    migrate(path)
    transactions = Transactions(path)
    transactions.open()
    reader = sqlite3.connect(path, isolation_level=None)

    def entries() -> list[str]:
        return [row[0] for row in reader.execute("SELECT json_extract(CAST(entry AS TEXT), '$[0]') FROM open_requests")]

    transactions.prepare([opened(1), opened(2)], doubtful=False)
    transactions.commit()
    assert transactions.connection is not None
    transactions.connection = Doubtful(transactions.connection)  # type: ignore[assignment]
    # 3 takes the place of 1, and is told that it can't be sent
    transactions.prepare([opened(3), settled(1)], doubtful=False)
    with pytest.raises(sqlite3.OperationalError):
        transactions.commit()
    transactions.close()
    transactions.open()
    transactions.prepare([settled(1)], doubtful=True)
    transactions.commit()
    assert entries() == [book.record(2).request_id]
    # one that ends in the transaction that opens it needs no row
    transactions.prepare([opened(4), opened(5), settled(2), settled(4)], doubtful=False)
    transactions.commit()
    assert entries() == [book.record(5).request_id]
    transactions.prepare([settled(5)], doubtful=False)
    transactions.commit()
    assert entries() == []
    written = [row[0] for row in reader.execute("SELECT request_id FROM records ORDER BY 1")]
    assert written == sorted(book.record(number).request_id for number in (1, 2, 4, 5))
    transactions.close()
    reader.close()
