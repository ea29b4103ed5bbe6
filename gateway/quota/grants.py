"""Raises that were granted at run time: kept in the ledger with who granted them and why, for as long as the ledger."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from gateway.ledger import keeping, releases
from gateway.ledger.connections import connect_reader
from gateway.ledger.releases import Release
from gateway.quota.rule import UNITS, Raise

COLUMNS = ("id", "quota", "unit", "amount", "from_ns", "until_ns", "who", "why", "created_ns")
MAX_GRANTS = 10_000
"""Raises that hold at a time; older ones beyond it are not read."""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A raise of one limit of one quota until a moment. ``amount`` is in the unit; ``usd``: nanodollars."""

    quota: str
    unit: str
    amount: int
    from_ns: int
    until_ns: int
    who: str
    why: str
    created_ns: int
    id: int | None = None


def insert_grant(connection: sqlite3.Connection, grant: Grant) -> int:
    """Keep a grant; answers its id."""
    values = [getattr(grant, column) for column in COLUMNS]
    marks = ", ".join("?" * len(COLUMNS))
    done = connection.execute(f"INSERT INTO quota_grants ({', '.join(COLUMNS)}) VALUES ({marks})", values)  # noqa: S608
    return done.lastrowid or 0


def end_grant(connection: sqlite3.Connection, grant_id: int, now_ns: int) -> bool:
    """Let a grant end now; False where there is none that still holds."""
    done = connection.execute(
        "UPDATE quota_grants SET until_ns = ? WHERE id = ? AND until_ns > ?", (now_ns, grant_id, now_ns)
    )
    return done.rowcount == 1


def holding(connection: sqlite3.Connection, now_ns: int) -> list[Grant]:
    """Grants that have not ended, newest first."""
    rows = connection.execute(
        f"SELECT {', '.join(COLUMNS)} FROM quota_grants WHERE until_ns > ? ORDER BY id DESC LIMIT ?",  # noqa: S608
        (now_ns, MAX_GRANTS),
    )
    return [Grant(**dict(zip(COLUMNS, row, strict=True))) for row in rows]


def raises_of(grants: list[Grant]) -> dict[str, list[Raise]]:
    """What ``Quotas.grant`` takes."""
    raises: dict[str, list[Raise]] = {}
    for grant in grants:
        more = Raise(UNITS.index(grant.unit), grant.amount, grant.from_ns, grant.until_ns)
        raises.setdefault(grant.quota, []).append(more)
    return raises


class GrantWatch:
    """Notices grants and releases that another process wrote. A look costs two small queries."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._known: list[Grant] | None = None

    def changed(self, now_ns: int) -> list[Grant] | None:
        """The grants that hold, where they are others than at the last look. Never raises: a ledger that can't be
        read changes nothing."""
        try:
            if self._connection is None:
                self._connection = connect_reader(self._path)
            found = holding(self._connection, now_ns)
        except sqlite3.Error:
            self.close()
            return None
        if found == self._known:
            return None
        self._known = found
        return found

    def released_after(self, number: int) -> list[tuple[int, Release]]:
        """Releases that another process wrote after the one with this number. Never raises, as ``changed``."""
        if self._connection is None:
            return []
        try:
            return list(releases.after(self._connection, number))
        except sqlite3.Error:
            self.close()
            return []

    def restored(self) -> int | None:
        """How often something was put back into the ledger; None: it can't be read. Never raises, as ``changed``."""
        if self._connection is None:
            return None
        try:
            return keeping.restored(self._connection)
        except sqlite3.Error:
            self.close()
            return None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
