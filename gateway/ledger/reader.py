"""Reading records back, on connections of their own: it never waits for a writer, nor a writer for it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.ledger.ids import PREFIX, first_id_at
from gateway.ledger.record import Record
from gateway.ledger.rows import SELECT, contract_json, record_of_row
from gateway.ledger.schema import connect_reader

_MARGIN_NS = 3_600_000_000_000
"""Ids carry the wall clock; a clock that was set back lets them run ahead of the start that their record states."""


class LedgerReader:
    """Safe for use from any thread: each has its own connection."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()

    def connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = connect_reader(self.path)
        return found

    def get(self, request_id: str) -> dict[str, Any] | None:
        """One record as the contract states it; None where there is none."""
        row = self.connection().execute(f"{SELECT} WHERE request_id = ?", (request_id,)).fetchone()
        return contract_json(dict(row)) if row is not None else None

    def page(
        self,
        *,
        since: int | None = None,
        until: int | None = None,
        team: str | None = None,
        workflow: str | None = None,
        model: str | None = None,
        provider: str | None = None,
        key_id: str | None = None,
        outcome: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Records started in ``[since, until)`` (nanoseconds), newest first, and the cursor of the next page.

        Raises ``ValueError`` for a cursor that no page gave.
        """
        where, values = _conditions(since, until, team, workflow, model)
        for name, value in (("provider", provider), ("key_id", key_id), ("outcome", outcome)):
            if value is not None:
                where.append(f"{name} = ?")
                values.append(value)
        if cursor is not None:
            if not cursor.startswith(PREFIX):
                raise ValueError("this cursor was not given by this API")
            where.append("request_id < ?")
            values.append(cursor)
        sql = f"{SELECT} WHERE {' AND '.join(where)} ORDER BY request_id DESC LIMIT ?"
        rows = self.connection().execute(sql, (*values, limit + 1)).fetchall()
        records = [contract_json(dict(row)) for row in rows[:limit]]
        return records, rows[limit - 1]["request_id"] if len(rows) > limit else None

    def settled(self, since: int, until: int) -> Iterator[Record]:
        """All records started in ``[since, until)``, in no order, in constant memory."""
        where, values = _conditions(since, until, None, None, None)
        for row in self.connection().execute(f"{SELECT} WHERE {' AND '.join(where)}", values):
            yield record_of_row(dict(row))

    def all(self, since: int | None = None, until: int | None = None) -> Iterator[dict[str, Any]]:
        """All records in the order of their ids, in constant memory."""
        where, values = _conditions(since, until, None, None, None)
        sql = f"{SELECT} WHERE {' AND '.join(where)} ORDER BY request_id"
        for row in self.connection().execute(sql, values):
            yield contract_json(dict(row))


def _conditions(
    since: int | None, until: int | None, team: str | None, workflow: str | None, model: str | None
) -> tuple[list[str], list[Any]]:
    where: list[str] = ["1"]
    values: list[Any] = []
    if since is not None:
        where += ["request_id >= ?", "started_ns >= ?"]
        values += [first_id_at(since - _MARGIN_NS), since]
    if until is not None:
        where += ["started_ns < ?"]
        values += [until]
    for name, value in (("team", team), ("workflow", workflow)):
        if value is not None:
            where.append(f"{name} = ?")
            values.append(value)
    if model is not None:
        where.append("(model = ? OR model_requested = ?)")
        values += [model, model]
    return where, values
