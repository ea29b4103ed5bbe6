"""Does the ledger agree with itself, to the nanodollar? Reads only; a gateway may run meanwhile."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

import msgspec

from gateway.ledger.days import closed_until
from gateway.ledger.edges import horizon_ns
from gateway.ledger.ids import first_id_at
from gateway.ledger.rows import (
    GROUP_BITS,
    GROUP_COLUMNS,
    GROUP_MASK,
    HOUR_NS,
    REQUEST_COLUMNS,
    SUMS,
    record_of_row,
    rfc3339,
    rollup_sums,
)

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
    sums: dict[int, list[int]] = {}
    cursor = connection.execute(f"SELECT {', '.join(REQUEST_COLUMNS)}, group_id FROM requests")  # noqa: S608
    names = [column[0] for column in cursor.description]
    for number, row in enumerate(cursor):
        values = dict(zip(names, row, strict=True))
        group_id = values.pop("group_id")
        record = record_of_row(values)
        total = sum(line.nanousd for line in record.cost_lines)
        if total != record.cost_nanousd:
            yield f"{record.request_id} costs {record.cost_nanousd} nanousd, its lines sum to {total}"
        if record.started_ns >= kept_since:
            key = record.started_ns // HOUR_NS << GROUP_BITS | group_id
            added = rollup_sums(record)
            known = sums.get(key)
            sums[key] = added if known is None else [a + b for a, b in zip(known, added, strict=True)]
        if number % 10_000 == 0:
            progress(number)
    yield from _rollups(connection, sums, kept_since)
    yield from _adjustments(connection)
    yield from _days(connection)
    both = (
        "SELECT request_id FROM records WHERE request_id IN "
        "(SELECT json_extract(CAST(entry AS TEXT), '$[0]') FROM open_requests)"
    )
    for (request_id,) in connection.execute(both):
        yield f"{request_id} is open and settled at once"


def _rollups(connection: sqlite3.Connection, expected: dict[int, list[int]], kept_since: int) -> Iterator[str]:
    rows = connection.execute(
        f"SELECT id, {', '.join(SUMS)} FROM hours WHERE id >= ?",  # noqa: S608
        (kept_since // HOUR_NS << GROUP_BITS,),
    )
    for key, *found in rows:
        wanted = expected.pop(key, [0] * len(SUMS))
        for name, got, want in zip(SUMS, found, wanted, strict=True):
            if got != want:
                yield f"rollup {_named(connection, key)}: {name} is {got}, its records sum to {want}"
    for key in expected:
        yield f"rollup {_named(connection, key)} is missing"


def _days(connection: sqlite3.Connection) -> Iterator[str]:
    """Days that are closed have the sums of their hours."""
    totals = ", ".join(f"sum({name})" for name in SUMS)
    both = (
        f"SELECT id, {', '.join(SUMS)} FROM days EXCEPT SELECT "  # noqa: S608
        f"((id >> {GROUP_BITS}) / 24 << {GROUP_BITS}) | (id & {GROUP_MASK}) AS day, {totals} FROM hours "
        "WHERE id < ? GROUP BY day"
    )
    until = closed_until(connection) * 24 << GROUP_BITS
    for key, *_ in connection.execute(both, (until,)):
        yield f"the day of {_named(connection, key, 24)} is not the sum of its hours"
    ((days, hours),) = connection.execute(
        "SELECT (SELECT coalesce(sum(requests), 0) FROM days), "
        "(SELECT coalesce(sum(requests), 0) FROM hours WHERE id < ?)",
        (until,),
    )
    if days != hours:
        yield f"the closed days hold {days} calls, their hours {hours}"


def _named(connection: sqlite3.Connection, key: int, hours: int = 1) -> str:
    columns = f"SELECT {', '.join(GROUP_COLUMNS)} FROM groups WHERE id = ?"  # noqa: S608
    group = connection.execute(columns, (key & GROUP_MASK,)).fetchone()
    return (
        f"{rfc3339((key >> GROUP_BITS) * hours * HOUR_NS)} {tuple(group) if group is not None else 'without a group'}"
    )


def _adjustments(connection: sqlite3.Connection) -> Iterator[str]:
    kept_since = horizon_ns(connection)
    orphans = connection.execute(
        "SELECT id, request_id FROM adjustments a WHERE request_id >= ? "
        "AND NOT EXISTS (SELECT 1 FROM records r WHERE r.request_id = a.request_id)",
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
