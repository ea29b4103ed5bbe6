"""Connections to the ledger's file: those that write it, and those that read it."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

PAUSE_SECONDS = 0.01


def connect(path: Path, *, timeout: float = 5.0, create: bool = True) -> sqlite3.Connection:
    """A connection that may write. Every commit is on the disk when it returns."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
    )
    try:
        _write_ahead(connection, timeout)
    except BaseException:
        connection.close()
        raise
    return _set(
        connection,
        "synchronous = FULL",
        "wal_autocheckpoint = 4000",
        "journal_size_limit = 67108864",
        "cache_size = -8192",
        "temp_store = MEMORY",
    )


def _write_ahead(connection: sqlite3.Connection, seconds: float) -> None:
    """Have the file written ahead. SQLite itself does not wait for whoever brings it to that mode at the same time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(PAUSE_SECONDS)


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads; it never holds up a writer, nor is it held up."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return _set(connection, "query_only = 1", "cache_size = -65536", "mmap_size = 1073741824")


def _set(connection: sqlite3.Connection, *pragmas: str) -> sqlite3.Connection:
    """Closes it where the file can't be read: a connection stands in a circle with its own cache, and would stay."""
    try:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection
