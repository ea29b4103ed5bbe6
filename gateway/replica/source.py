"""What is to be copied, read from the ledger on a connection of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from gateway.ledger.reader import LedgerReader
from gateway.ledger.rows import HOUR_NS, rfc3339

BATCH = 500
_NUL, _INSTEAD = "\0", "\ufffd"
"""What no text of PostgreSQL's can hold, and what stands in its place, as for bytes that are no text."""


class Position(msgspec.Struct, frozen=True):
    """How far a copy has come: the last record's number and id, and the last adjustment's number."""

    number: int = 0
    request_id: str = ""
    adjustment: int = 0


class Batch(msgspec.Struct, frozen=True):
    """Rows as JSON arrays, empty where there are none, and the position behind them."""

    records: str
    adjustments: str
    position: Position
    full: bool
    """There may be more."""


class Source:
    """Used by one thread."""

    def __init__(self, path: Path) -> None:
        self._reader = LedgerReader(path)

    def close(self) -> None:
        self._reader.connection().close()

    def lag(self, number: int) -> int:
        """How many records come after this number."""
        first, last = self._ends()
        return max(0, last - max(number, first - 1)) if last else 0

    def fits(self, position: Position) -> bool:
        """Whether the copy that has come so far can be of this ledger."""
        if position.number == 0:
            return True
        row = self._reader.connection().execute(
            "SELECT id, request_id FROM records WHERE id >= ? ORDER BY id LIMIT 1", (position.number,)
        ).fetchone()  # fmt: skip
        if row is None:
            # what was copied last is never deleted before something comes after it
            return False
        return bool(row["id"] != position.number or row["request_id"] == position.request_id)

    def after(self, position: Position) -> Batch:
        """The next rows, all of one moment: no correction comes before what it corrects."""
        connection = self._reader.connection()
        connection.execute("BEGIN")
        try:
            found = self._reader.numbered(position.number, BATCH)
            entries = [] if len(found) == BATCH else self._adjustments(position.adjustment)
        finally:
            connection.rollback()
        number, request_id = (found[-1][0], found[-1][1]["request_id"]) if found else (None, "")
        return Batch(
            _json([{"number": at, **record} for at, record in found]),
            _json(entries),
            Position(
                position.number if number is None else number,
                request_id or position.request_id,
                entries[-1]["number"] if entries else position.adjustment,
            ),
            BATCH in (len(found), len(entries)),
        )

    def _ends(self) -> tuple[int, int]:
        connection = self._reader.connection()
        ends = [
            connection.execute(f"SELECT coalesce({which}(id), 0) FROM records").fetchone()[0]  # noqa: S608
            for which in ("min", "max")
        ]
        return ends[0], ends[1]

    def _adjustments(self, after: int) -> list[dict[str, Any]]:
        rows = self._reader.connection().execute(
            "SELECT rowid AS number, * FROM adjustments WHERE rowid > ? ORDER BY rowid LIMIT ?", (after, BATCH)
        )
        return [_entry(dict(row)) for row in rows]


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    decoded = {name: msgspec.json.decode(row[name] or "null") for name in ("tags", "cost_lines")}
    return {**row, **decoded, "at": rfc3339(row["at_ns"]), "hour": rfc3339(row["hour"] * HOUR_NS)}


def _json(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    encoded = msgspec.json.encode(rows).decode()
    return msgspec.json.encode(_without_nul(rows)).decode() if "\\u0000" in encoded else encoded


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace(_NUL, _INSTEAD)
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(inner) for key, inner in value.items()}
    return [_without_nul(inner) for inner in value] if isinstance(value, list) else value
