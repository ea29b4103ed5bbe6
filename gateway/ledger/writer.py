"""One transaction for many rows: what the writer thread executes.

Few, large statements, because each one costs a hand-over between threads.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from gateway.ledger.rows import DIMENSIONS, REQUEST_COLUMNS, SUMS, Key, Row

SIZES = (64, 16, 4, 1)
"""Rows of one statement; each size is prepared once."""


def _insert(table: str, columns: Sequence[str], rows: int, more: str = "") -> str:
    row = f"({','.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({','.join(columns)}) VALUES {','.join([row] * rows)}{more}"  # noqa: S608 - our names


class Statements:
    """All statements of the hot path, by number of rows."""

    def __init__(self) -> None:
        update = ",".join(f"{name}={name}+excluded.{name}" for name in SUMS)
        key = ",".join(DIMENSIONS)
        self.requests = {n: _insert("requests", tuple(REQUEST_COLUMNS), n) for n in SIZES}
        self.opens = {n: _insert("open_requests", ("request_id", "entry"), n) for n in SIZES}
        self.rollups = _insert("rollups", (*DIMENSIONS, *SUMS), 1, f" ON CONFLICT ({key}) DO UPDATE SET {update}")
        self.close = {n: f"DELETE FROM open_requests WHERE request_id IN ({','.join('?' * n)})" for n in SIZES}  # noqa: S608
        self.forget = {n: f"DELETE FROM checkpoints WHERE request_id IN ({','.join('?' * n)})" for n in SIZES}  # noqa: S608
        self.checkpoint = (
            "INSERT INTO checkpoints (request_id, checkpoint) VALUES (?, ?) "
            "ON CONFLICT (request_id) DO UPDATE SET checkpoint = excluded.checkpoint"
        )


def _slices(count: int) -> Iterator[tuple[int, int]]:
    """Start and size of the statements that take ``count`` rows."""
    start = 0
    for size in SIZES:
        while count - start >= size:
            yield start, size
            start += size


def execute_many(connection: sqlite3.Connection, sql: dict[int, str], rows: Sequence[Row]) -> None:
    """Execute a statement for all rows, as few times as its sizes allow."""
    for start, size in _slices(len(rows)):
        if size == 1:
            connection.execute(sql[1], rows[start])
        else:
            connection.execute(sql[size], [value for row in rows[start : start + size] for value in row])


def write_batch(
    connection: sqlite3.Connection,
    statements: Statements,
    opens: Sequence[Row],
    records: Sequence[Row],
    closed: Sequence[Row],
    rollups: dict[Key, list[int]],
    checkpoints: dict[str, bytes],
    forgotten: Sequence[Row],
) -> None:
    """Write all of it in one transaction, or nothing. Raises ``sqlite3.Error``."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if opens:
            execute_many(connection, statements.opens, opens)
        if records:
            execute_many(connection, statements.requests, records)
            for key, sums in rollups.items():
                connection.execute(statements.rollups, (*key, *sums))
        if closed:
            execute_many(connection, statements.close, closed)
        if checkpoints:
            connection.executemany(statements.checkpoint, list(checkpoints.items()))
        if forgotten:
            execute_many(connection, statements.forget, forgotten)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def probe(connection: sqlite3.Connection) -> None:
    """Write something and take it back: raises ``sqlite3.Error`` where the disk takes nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("INSERT INTO checkpoints VALUES ('probe', zeroblob(65536))")
        connection.execute("COMMIT")
        connection.execute("DELETE FROM checkpoints WHERE request_id = 'probe'")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
