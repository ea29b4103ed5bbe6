"""What quotas got back of calls whose true cost was not known: recovered, broken off, or made in the background.

A statement of the provider gives it back, or the report of a response that was made in the background.

Quotas count such a call at its whole reservation. A release is what it did not cost of that; its record stays as it is.
Rows are added, never changed: one with negative amounts takes back what a later statement charges after all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

import msgspec

from gateway.ledger.rows import GROUP_COLUMNS

COLUMNS = ("id", "request_id", "started_ns", "at_ns", "nanousd", "input_tokens", "output_tokens", "who", "why")
BATCH = 1000


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """What quotas hold less of one call, in the windows in which it began."""

    request_id: str
    started_ns: int
    group: tuple[str, ...]
    """In the order of ``GROUP_COLUMNS``."""
    nanousd: int
    input_tokens: int
    output_tokens: int


def insert(connection: sqlite3.Connection, found: Sequence[Release], now_ns: int, who: str, why: str) -> None:
    """Keep releases. Runs in the caller's transaction."""
    names = (*COLUMNS, *GROUP_COLUMNS)
    connection.executemany(
        f"INSERT INTO releases ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",  # noqa: S608 - our names
        [
            (
                f"rel_{one.request_id}_{now_ns}", one.request_id, one.started_ns, now_ns, one.nanousd,
                one.input_tokens, one.output_tokens, who, why, *one.group,
            )
            for one in found
        ],
    )  # fmt: skip


def newest(connection: sqlite3.Connection) -> int:
    """The number of the newest release; 0 where there is none."""
    return int(connection.execute("SELECT coalesce(max(rowid), 0) FROM releases").fetchone()[0])


def after(connection: sqlite3.Connection, number: int) -> Iterator[tuple[int, Release]]:
    """Releases after a number, each with its own; ``BATCH`` at most."""
    rows = connection.execute(
        "SELECT rowid, request_id, started_ns, nanousd, input_tokens, output_tokens, "  # noqa: S608 - our names
        f"{', '.join(GROUP_COLUMNS)} FROM releases WHERE rowid > ? ORDER BY rowid LIMIT ?",
        (number, BATCH),
    )
    for number_, request_id, started_ns, nanousd, tokens_in, tokens_out, *group in rows.fetchall():
        yield (
            number_,
            Release(
                request_id=request_id,
                started_ns=started_ns,
                group=tuple(group),
                nanousd=nanousd,
                input_tokens=tokens_in,
                output_tokens=tokens_out,
            ),
        )
