"""Quota events in the ledger: each once, also across restarts, told only after it is written."""

from __future__ import annotations

import sqlite3

import msgspec

from gateway.ledger.rows import rfc3339
from gateway.quota.terms import Event, Passed
from pricing.money import NANO

MARKED = ("threshold", "exhausted", "reopened")
"""Kinds that are facts about a counter; the others are actions of people, each one new."""

COLUMNS = "id, at_ns, kind, subject, detail, who"
DETAILS = ("bucket", "unit", "limit", "used", "wanted", "detail")


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """An event as the ledger holds it and as webhooks send it. ``limit``, ``used`` and ``wanted``: tokens, requests or
    dollars."""

    id: int
    at: str
    kind: str
    quota: str
    bucket: str = ""
    unit: str = ""
    limit: int | float = 0
    used: int | float = 0
    wanted: int | float = 0
    detail: str = ""
    who: str = ""


def write(connection: sqlite3.Connection, event: Event) -> Kept | None:
    """Write an event, unless the ledger has it already. Runs in the ledger's transaction.

    ``receded`` is no news: a rolling window has less than the share again, of which is to be told once more.
    """
    if event.kind == "receded":
        connection.execute(
            "DELETE FROM quota_marks WHERE quota = ? AND bucket = ? AND mark = ?",
            (event.quota, event.bucket, event.detail),
        )
        return None
    if event.kind in MARKED and not _mark(connection, event):
        return None
    kept = Kept(
        id=0,
        at=rfc3339(event.at_ns),
        kind=event.kind,
        quota=event.quota,
        bucket=event.bucket,
        unit=event.unit,
        limit=_shown(event.unit, event.limit),
        used=_shown(event.unit, event.used),
        wanted=_shown(event.unit, event.wanted),
        detail=event.detail,
        who=event.who,
    )
    detail = {name: getattr(kept, name) for name in DETAILS}
    row = connection.execute(
        "INSERT INTO events (at_ns, kind, subject, detail, who) VALUES (?, ?, ?, ?, ?) RETURNING id",
        (event.at_ns, event.kind, event.quota, msgspec.json.encode(detail).decode(), event.who),
    ).fetchone()
    return msgspec.structs.replace(kept, id=row[0])


def _mark(connection: sqlite3.Connection, event: Event) -> bool:
    """True where this is news: a threshold counts once a window, ``exhausted`` and ``reopened`` take turns."""
    where = (event.quota, event.bucket, event.unit)
    if event.kind == "reopened":
        gone = connection.execute(
            "DELETE FROM quota_marks WHERE quota = ? AND bucket = ? AND unit = ? AND mark = 'exhausted'", where
        )
        return gone.rowcount > 0
    mark, window_ns = (event.detail, event.window_ns) if event.kind == "threshold" else ("exhausted", 0)
    done = connection.execute(
        "INSERT INTO quota_marks (quota, bucket, unit, mark, window_ns) VALUES (?, ?, ?, ?, ?) "
        # another window, not a later one: a rule whose day became a month counts from before it
        "ON CONFLICT DO UPDATE SET window_ns = excluded.window_ns WHERE window_ns <> excluded.window_ns",
        (*where, mark, window_ns),
    )
    return done.rowcount > 0


def thresholds(connection: sqlite3.Connection) -> frozenset[Passed]:
    """Those that were told of each quota and bucket, and have not receded."""
    rows = connection.execute("SELECT DISTINCT quota, bucket, mark FROM quota_marks WHERE mark <> 'exhausted'")
    return frozenset(rows.fetchall())


def exhausted(connection: sqlite3.Connection) -> list[tuple[str, str, str, int]]:
    """Quota, bucket and unit of what was exhausted and has not reopened, and what the call needed that told it."""
    marks = connection.execute("SELECT quota, bucket, unit FROM quota_marks WHERE mark = 'exhausted'").fetchall()
    if not marks:
        return []
    told = connection.execute(f"SELECT {COLUMNS} FROM events WHERE kind = 'exhausted' ORDER BY id")  # noqa: S608 - ours
    wanted = {(one.quota, one.bucket, one.unit): one.wanted for one in map(_kept, told)}
    # events of older versions do not say it
    return [(quota, bucket, unit, _meant(unit, wanted.get((quota, bucket, unit), 0)) or 1)
            for quota, bucket, unit in marks]  # fmt: skip


def after(connection: sqlite3.Connection, last_id: int, limit: int) -> list[Kept]:
    """Events after an id, oldest first."""
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM events WHERE id > ? ORDER BY id LIMIT ?",  # noqa: S608 - ours
        (last_id, limit),
    )
    return [_kept(tuple(row)) for row in rows]


def newest(connection: sqlite3.Connection) -> int:
    """The id of the newest event; 0 where there is none."""
    found = connection.execute("SELECT max(id) FROM events").fetchone()[0]
    return int(found or 0)


def _kept(row: tuple[int, int, str, str, str, str]) -> Kept:
    number, at_ns, kind, subject, detail, who = row
    said = msgspec.json.decode(detail) if (detail or "").startswith("{") else {"detail": detail or ""}
    known = {name: said[name] for name in DETAILS if name in said}
    fixed = {"id": number, "at": rfc3339(at_ns), "kind": kind, "quota": subject or "", "who": who or ""}
    return msgspec.convert({**known, **fixed}, Kept)


def _shown(unit: str, amount: int) -> int | float:
    return amount / NANO if unit == "usd" else amount


def _meant(unit: str, shown: float) -> int:
    return round(shown * NANO) if unit == "usd" else int(shown)
