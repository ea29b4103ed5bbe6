"""What is wrong with a ledger's file: damage, a newer version's changes, or a disk that fails."""

# ruff: noqa: S608 - statements are made of our own names

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

_TROUBLE = (
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL,
)  # fmt: skip


class LedgerCorrupt(Exception):  # noqa: N818 - said in one line to a person
    """The file is no database, or a damaged one."""


class LedgerNewer(LedgerCorrupt):
    """A newer version has changed the file: this one would write it as it must not be any more."""


def is_damage(error: BaseException) -> bool:
    """Whether the file itself is broken, so that trying again does not help."""
    return _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_trouble(error: BaseException) -> bool:
    """Whether it is the file, the disk or another program that makes SQLite fail, and not what was asked."""
    return is_damage(error) or _code(error) in _TROUBLE


def _code(error: BaseException) -> int:
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def check_structure(connection: sqlite3.Connection) -> None:
    """A look that takes the same time for a file of any size. Raises ``sqlite3.DatabaseError``."""
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        connection.execute(f'SELECT * FROM "{name}" LIMIT 1').fetchone()


def refuse_newer(migrations: Migrations, db: Database, path: Path) -> None:
    """Raises ``LedgerNewer`` where a migration was applied that is none of ``migrations``."""
    known = {one.name for one in migrations.pending(Database(memory=True))}
    unknown = [one.name for one in migrations.applied(db) if one.name not in known]
    if unknown:
        raise LedgerNewer(
            f"{path} was changed by a newer version of spendgate ({', '.join(unknown)}): run that version, "
            "or name a copy from before in ledger.url"
        )
