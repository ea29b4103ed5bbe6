"""Reading records back, on connections of their own: it never waits for a writer, nor a writer for it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gateway.ledger.connections import connect_reader
from gateway.ledger.edges import id_bounds
from gateway.ledger.ids import first_id_at, time_of_id
from gateway.ledger.pages import Asked, newest, of_groups
from gateway.ledger.rows import REQUEST_COLUMNS, SELECT, contract_json

_NEVER_NS = 1 << 62
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
        prompt_hash: int | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Records started in ``[since, until)`` (nanoseconds), newest first, and the cursor of the next page.

        With ``prompt_hash`` all of the period is read. Raises ``ValueError`` for a cursor that no page gave.
        """
        if cursor is not None:
            try:
                time_of_id(cursor)
            except ValueError as error:
                raise ValueError("this cursor was not given by this API") from error
        named = {"team": team, "workflow": workflow, "model": model, "provider": provider, "key_id": key_id}
        groups = {name: value for name, value in named.items() if value is not None}
        asked = Asked(
            groups=groups, outcome=outcome, since_ns=since or 0,
            until_ns=_NEVER_NS if until is None else until, before=cursor,
        )  # fmt: skip
        read_all = asked.anything or prompt_hash is not None
        ids = None if read_all else newest(self.connection(), asked, limit + 1)
        if ids is None:
            rows = self._all_of(asked, limit + 1, prompt_hash)
        else:
            sql = f"{SELECT} WHERE request_id IN ({', '.join('?' * len(ids))}) ORDER BY request_id DESC"
            rows = self.connection().execute(sql, ids).fetchall()
        records = [contract_json(dict(row)) for row in rows[:limit]]
        return records, rows[limit - 1]["request_id"] if len(rows) > limit else None

    def _all_of(self, asked: Asked, limit: int, prompt_hash: int | None) -> list[sqlite3.Row]:
        """Looks at every record."""
        where, values = _conditions(asked.since_ns or None, asked.until_ns)
        if prompt_hash is not None:
            where += ["prompt_hash = ?", "request_id < ?"]
            values += [prompt_hash, id_bounds(self.connection(), asked.since_ns, asked.until_ns)[1]]
        if asked.groups:
            sql, bound = of_groups(asked.groups)
            where.append(f"group_id IN ({sql})")
            values += bound
        if asked.outcome is not None:
            where.append("outcome = ?")
            values.append(asked.outcome)
        if asked.before is not None:
            where.append("request_id < ?")
            values.append(asked.before)
        sql = f"{SELECT} WHERE {' AND '.join(where)} ORDER BY request_id DESC LIMIT ?"
        return self.connection().execute(sql, (*values, limit)).fetchall()

    def settled_after(
        self, after: int | None, limit: int, filters: Mapping[str, str]
    ) -> tuple[list[dict[str, Any]], int]:
        """Records settled later than the one with the number ``after``, in that order, and the number to go on from.

        ``after`` None: the ``limit`` newest. ``filters``: columns and their values, as those of ``page``. Numbers go up
        in the order of settlement, in which a call that took long comes after those that it outlasted.
        """
        connection = self.connection()
        groups, values = of_groups({name: value for name, value in filters.items() if name != "outcome"})
        conditions = f"r.group_id IN ({groups})" if values else "1"
        if "outcome" in filters:
            conditions, values = f"{conditions} AND q.outcome = ?", [*values, filters["outcome"]]
        order, start = ("DESC", 0) if after is None else ("ASC", after)
        columns = ", ".join(f"q.{name}" for name in REQUEST_COLUMNS)
        ((newest,),) = connection.execute("SELECT coalesce(max(id), 0) FROM records")
        rows = connection.execute(
            f"SELECT r.id AS number, {columns} FROM records r CROSS JOIN requests q ON q.request_id = r.request_id "  # noqa: S608
            f"WHERE r.id > ? AND r.id <= ? AND {conditions} ORDER BY r.id {order} LIMIT ?",
            (start, newest, *values, limit),
        ).fetchall()
        last = rows[-1]["number"] if after is not None and len(rows) == limit else newest
        if after is None:
            rows.reverse()
        return [contract_json(dict(row)) for row in rows], last

    def numbered(self, after: int, limit: int) -> list[tuple[int, dict[str, Any]]]:
        """Records settled later than the one with the number ``after``, in that order, each with its number."""
        columns = ", ".join(f"q.{name}" for name in REQUEST_COLUMNS)
        rows = self.connection().execute(
            f"SELECT r.id AS number, {columns} FROM records r CROSS JOIN requests q ON q.request_id = r.request_id "  # noqa: S608
            "WHERE r.id > ? ORDER BY r.id LIMIT ?",
            (after, limit),
        )
        return [(row["number"], contract_json(dict(row))) for row in rows]

    def all(self, since: int | None = None, until: int | None = None) -> Iterator[dict[str, Any]]:
        """All records in the order of their ids, in constant memory."""
        where, values = _conditions(since, until)
        sql = f"{SELECT} WHERE {' AND '.join(where)} ORDER BY request_id"
        for row in self.connection().execute(sql, values):
            yield contract_json(dict(row))


def _conditions(since: int | None, until: int | None) -> tuple[list[str], list[Any]]:
    where: list[str] = ["1"]
    values: list[Any] = []
    if since is not None:
        where += ["request_id >= ?", "started_ns >= ?"]
        values += [first_id_at(since - _MARGIN_NS), since]
    if until is not None:
        where += ["started_ns < ?"]
        values += [until]
    return where, values
