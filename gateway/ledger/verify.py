"""Does the ledger agree with itself, to the nanodollar? Reads only; a gateway may run meanwhile."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from gateway.ledger.ids import first_id_at
from gateway.ledger.keeping import horizon_ns
from gateway.ledger.rows import DIMENSIONS, HOUR_NS, SUMS, Key, record_of_row, rollup_key, rollup_sums

MAX_FINDINGS = 100

Progress = Callable[[int], None]


def verify(connection: sqlite3.Connection, progress: Progress | None = None) -> list[str]:
    """Every disagreement, a line each; empty where there is none. One snapshot is read throughout."""
    connection.execute("BEGIN")
    try:
        findings: list[str] = []
        for found in _findings(connection, progress or (lambda _: None)):
            findings.append(found)
            if len(findings) >= MAX_FINDINGS:
                findings.append("… and perhaps more")
                break
        return findings
    finally:
        connection.execute("ROLLBACK")


def _findings(connection: sqlite3.Connection, progress: Progress) -> Iterator[str]:
    for (text,) in connection.execute("PRAGMA integrity_check(20)"):
        if text != "ok":
            yield f"the file is damaged: {text}"
    kept_since = horizon_ns(connection)
    sums: dict[Key, list[int]] = {}
    cursor = connection.execute("SELECT * FROM requests ORDER BY request_id")
    names = [column[0] for column in cursor.description]
    for number, row in enumerate(cursor):
        values = dict(zip(names, row, strict=True))
        yield from _lines(values["request_id"], values["cost_nanousd"], values["cost_lines"])
        if values["started_ns"] >= kept_since:
            record = record_of_row(values)
            key = rollup_key(record, values["tags"])
            added = rollup_sums(record)
            known = sums.get(key)
            sums[key] = added if known is None else [a + b for a, b in zip(known, added, strict=True)]
        if number % 10_000 == 0:
            progress(number)
    yield from _rollups(connection, sums, kept_since)
    yield from _adjustments(connection)
    both = "SELECT request_id FROM open_requests INTERSECT SELECT request_id FROM requests"
    for (request_id,) in connection.execute(both):
        yield f"{request_id} is open and settled at once"


def _lines(request_id: str, cost: int, lines: str) -> Iterator[str]:
    total = sum(line["nanousd"] for line in msgspec.json.decode(lines))
    if total != cost:
        yield f"{request_id} costs {cost} nanousd, its lines sum to {total}"


def _rollups(connection: sqlite3.Connection, expected: dict[Key, list[int]], kept_since: int) -> Iterator[str]:
    columns = ", ".join((*DIMENSIONS, *SUMS))
    rows = connection.execute(f"SELECT {columns} FROM rollups WHERE hour >= ?", (kept_since // HOUR_NS,))  # noqa: S608
    size = len(DIMENSIONS)
    for row in rows:
        key: Any = tuple(row[:size])
        found = list(row[size:])
        wanted = expected.pop(key, [0] * len(SUMS))
        for name, got, want in zip(SUMS, found, wanted, strict=True):
            if got != want:
                yield f"rollup {key}: {name} is {got}, its records sum to {want}"
    for key in expected:
        yield f"rollup {key} is missing"


def _adjustments(connection: sqlite3.Connection) -> Iterator[str]:
    kept_since = horizon_ns(connection)
    orphans = connection.execute(
        "SELECT id, request_id FROM adjustments a WHERE request_id >= ? "
        "AND NOT EXISTS (SELECT 1 FROM requests r WHERE r.request_id = a.request_id)",
        (first_id_at(kept_since),),
    )
    for adjustment, request_id in orphans:
        yield f"adjustment {adjustment} corrects {request_id}, which is not there"
    for adjustment, kind, delta, lines in connection.execute(
        "SELECT id, kind, delta_nanousd, cost_lines FROM adjustments"
    ):
        total = sum(line["nanousd"] for line in msgspec.json.decode(lines or "[]"))
        if kind == "reprice" and total != delta:
            yield f"adjustment {adjustment} changes {delta} nanousd, its lines sum to {total}"
