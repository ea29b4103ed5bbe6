"""A ledger that a newer version has changed is neither served, read nor put back by this one, and stays as it is."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import book
import pytest
from support.gateway import Gateway


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    (tmp_path / "data").mkdir()
    path = book.ledger(tmp_path / "data" / "ledger.db", [book.record(1)])
    connection = sqlite3.connect(path)
    connection.execute(
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('spendgate', 'of_tomorrow', '2999')"
    )
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return Gateway(tmp_path, '[providers.simulated]\nkind = "simulated"\n')


@pytest.mark.parametrize(
    "words",
    [
        ("serve",),
        ("report", "--since", "2026-01-01"),
        ("keys", "create", "--team", "t", "--workflow", "w"),
        ("ledger", "verify"),
        ("ledger", "restore", "data/ledger.db"),
    ],
    ids=" ".join,
)
def test_a_ledger_of_a_newer_version_is_refused_in_one_line(gateway: Gateway, words: tuple[str, ...]) -> None:
    path = gateway.directory / "data" / "ledger.db"
    before = path.read_bytes()
    words = tuple(str(path) if word == "data/ledger.db" else word for word in words)
    done = gateway.cli(*words, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"{path} was changed by a newer version of spendgate (of_tomorrow): run that version" in line
    assert path.read_bytes() == before
