"""A ledger has one id for good, whoever asks for it, and each ledger has another one."""

from __future__ import annotations

import multiprocessing
import re
import shutil
import sqlite3
from contextlib import closing
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from gateway.ledger.connections import connect
from gateway.ledger.gateway_id import gateway_id
from gateway.ledger.keeping import restore
from gateway.ledger.schema import migrate

PROCESSES = 4
ROUNDS = 10


def ledger(path: Path) -> Path:
    migrate(path)
    return path


def ask(folder: Path, barrier: Barrier, answers: multiprocessing.SimpleQueue[tuple[int, str]]) -> None:
    for number in range(ROUNDS):
        barrier.wait(60)
        answers.put((number, gateway_id(folder / f"{number}.db")))


def test_a_ledger_keeps_the_id_that_it_was_given(tmp_path: Path) -> None:
    path = ledger(tmp_path / "l.db")
    given = gateway_id(path)
    assert re.fullmatch("[0-9a-f]{16}", given)
    with closing(connect(path)) as connection:
        assert gateway_id(connection) == gateway_id(path) == given


def test_an_id_that_was_made_in_a_transaction_which_failed_was_never_given(tmp_path: Path) -> None:
    path = ledger(tmp_path / "l.db")
    with closing(connect(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        lost = gateway_id(connection)
        connection.execute("ROLLBACK")
        assert gateway_id(connection) != lost


def test_processes_that_ask_at_once_are_given_one_id(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        ledger(tmp_path / f"{number}.db")
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(PROCESSES), context.SimpleQueue()
    processes = [context.Process(target=ask, args=(tmp_path, barrier, answers)) for _ in range(PROCESSES)]
    for one in processes:
        one.start()
    given: dict[int, set[str]] = {}
    for _ in range(PROCESSES * ROUNDS):
        number, text = answers.get()
        given.setdefault(number, set()).add(text)
    for one in processes:
        one.join(60)
    assert [len(given[number]) for number in range(ROUNDS)] == [1] * ROUNDS
    assert len(set().union(*given.values())) == ROUNDS


def test_a_copy_has_the_id_of_the_original_and_what_is_put_back_into_another_ledger_leaves_its_own(
    tmp_path: Path,
) -> None:
    path, other = ledger(tmp_path / "l.db"), ledger(tmp_path / "other.db")
    given, others = gateway_id(path), gateway_id(other)
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    assert gateway_id(copy) == given != others
    restore(copy, other)
    assert gateway_id(other) == others


def test_no_ledger_is_made_for_an_id(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        gateway_id(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()
