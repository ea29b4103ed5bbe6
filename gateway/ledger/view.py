"""What quotas need to know of the ledger: what was spent since a time, by whom, on what."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from gateway.ledger.connections import connect_reader
from gateway.ledger.edges import id_bounds, in_whole_hours
from gateway.ledger.ids import first_id_at
from gateway.ledger.rows import BROKEN, GROUP_BITS, GROUP_MASK, HOUR_NS

MAX_RELEASE = (1 << 63) - 1


class Spent(msgspec.Struct, frozen=True):
    """What one group of calls holds of the quotas that match it."""

    team: str
    workflow: str
    key_id: str
    provider: str
    model_requested: str
    tags: dict[str, str]
    nanousd: int
    input_tokens: int
    output_tokens: int
    requests: int


class UsageView(Protocol):
    def spent(self, since_ns: int, until_ns: int) -> Iterator[Spent]:
        """All calls started in ``[since_ns, until_ns)`` that were not rejected, grouped by what rules match on. What
        was released of them comes as groups of its own, with negative amounts."""
        ...

    def last_start_ns(self, since_ns: int) -> int:
        """When the last call began, of those from ``since_ns`` on. It may be to come, where the clock was set back."""
        ...


class SqliteView:
    """Full hours come from rollups, the rest from records; less what was released, up to the release that has the
    number ``last_release``."""

    def __init__(self, path: Path, last_release: int = MAX_RELEASE) -> None:
        self._path = path
        self._last_release = last_release

    def up_to(self, last_release: int) -> SqliteView:
        """The same without what was released later."""
        return SqliteView(self._path, last_release)

    def spent(self, since_ns: int, until_ns: int) -> Iterator[Spent]:
        connection = connect_reader(self._path)
        try:
            yield from ConnectionView(connection, self._last_release).spent(since_ns, until_ns)
        finally:
            connection.close()

    def last_start_ns(self, since_ns: int) -> int:
        connection = connect_reader(self._path)
        try:
            return ConnectionView(connection).last_start_ns(since_ns)
        finally:
            connection.close()


class ConnectionView:
    """The same on one connection: within its transaction all answers are of one moment."""

    def __init__(self, connection: sqlite3.Connection, last_release: int = MAX_RELEASE) -> None:
        self._connection = connection
        self._last_release = last_release

    def spent(self, since_ns: int, until_ns: int) -> Iterator[Spent]:
        yield from self._released(since_ns, until_ns)
        since_ns, until_ns = in_whole_hours(self._connection, since_ns, until_ns)
        first_hour = -(-since_ns // HOUR_NS)
        last_hour = until_ns // HOUR_NS
        if first_hour >= last_hour:
            yield from self._records(since_ns, until_ns)
            return
        if since_ns < first_hour * HOUR_NS:
            yield from self._records(since_ns, first_hour * HOUR_NS)
        yield from self._hours(first_hour, last_hour)
        if last_hour * HOUR_NS < until_ns:
            yield from self._records(last_hour * HOUR_NS, until_ns)

    def last_start_ns(self, since_ns: int) -> int:
        last = "SELECT coalesce(max(started_ns), 0) FROM records WHERE request_id >= ?"
        return int(self._connection.execute(last, (first_id_at(since_ns),)).fetchone()[0])

    def newest(self) -> int:
        """The number of the record that was written last; 0: there is none."""
        return int(self._connection.execute("SELECT coalesce(max(id), 0) FROM records").fetchone()[0])

    def since(self, number: int, node: str) -> Iterator[tuple[Spent, int]]:
        """What calls hold whose ids end with ``node`` and whose records were written after the one with this number, a
        call at a time, with its start."""
        cost, tokens_in, tokens_out = held()
        rows = self._connection.execute(
            f"SELECT team, workflow, key_id, provider, model_requested, tags, {cost}, {tokens_in}, {tokens_out}, 1, "  # noqa: S608 - no outside text
            "started_ns FROM requests WHERE outcome <> 'rejected' AND request_id IN "
            "(SELECT request_id FROM records WHERE id > ? AND substr(request_id, ?) = ?)",
            (number, -len(node), node),
        ).fetchall()
        for row, spent in zip(rows, _spent(tuple(row)[:10] for row in rows), strict=True):
            yield spent, row[10]

    def _hours(self, first: int, last: int) -> Iterator[Spent]:
        sums = "sum(held_nanousd), sum(held_input_tokens), sum(held_output_tokens), sum(requests - rejected)"
        rows = self._connection.execute(
            f"SELECT team, workflow, key_id, provider, model_requested, tags, {sums} FROM hours CROSS JOIN groups "  # noqa: S608
            f"ON groups.id = (hours.id & {GROUP_MASK}) WHERE hours.id >= ? AND hours.id < ? GROUP BY groups.id",
            (first << GROUP_BITS, last << GROUP_BITS),
        )
        yield from _spent(rows)

    def _released(self, since_ns: int, until_ns: int) -> Iterator[Spent]:
        rows = self._connection.execute(
            "SELECT team, workflow, key_id, provider, model_requested, tags, -sum(nanousd), -sum(input_tokens), "
            "-sum(output_tokens), 0 FROM releases WHERE started_ns >= ? AND started_ns < ? AND rowid <= ? "
            "GROUP BY 1, 2, 3, 4, 5, 6",
            (since_ns, until_ns, self._last_release),
        )
        yield from _spent(rows)

    def _records(self, since_ns: int, until_ns: int) -> Iterator[Spent]:
        sums = ", ".join(f"sum({one})" for one in held())
        rows = self._connection.execute(
            f"SELECT team, workflow, key_id, provider, model_requested, tags, {sums}, count(*) FROM requests "  # noqa: S608
            "WHERE request_id >= ? AND request_id < ? AND started_ns >= ? AND started_ns < ? AND outcome <> 'rejected' "
            "GROUP BY 1, 2, 3, 4, 5, 6",
            (*id_bounds(self._connection, since_ns, until_ns), since_ns, until_ns),
        )
        yield from _spent(rows)


def held() -> tuple[str, str, str]:
    """What quotas count for a record: nanodollars, input and output tokens, as ``gateway.ledger.rows.held_of``."""
    broken = ", ".join(f"'{outcome}'" for outcome in BROKEN)
    cut = f"usage_source = 'estimated' AND (outcome IN ({broken}) OR refused_by <> '')"
    unknown = f"outcome = 'recovered' OR pending OR ({cut})"
    used_in = "coalesce(json_extract(usage, '$.input_tokens_total'), 0)"
    used_out = "coalesce(json_extract(usage, '$.output_tokens_total'), 0)"
    return (
        f"iif({unknown}, max(cost_nanousd, reserved_nanousd), cost_nanousd)",
        f"iif({unknown}, max({used_in}, reserved_input_tokens), {used_in})",
        f"iif({unknown}, max({used_out}, reserved_output_tokens), {used_out})",
    )


def _spent(rows: Iterable[Sequence[Any]]) -> Iterator[Spent]:
    for row in rows:
        team, workflow, key_id, provider, model, tags, nanousd, tokens_in, tokens_out, requests = row
        decoded = msgspec.json.decode(tags)
        yield Spent(team, workflow, key_id, provider, model, decoded, nanousd, tokens_in, tokens_out, requests)
