"""What calls used that may have been wasted, added up by kind, team, workflow and model.

Hours and days that are over are added up once, in the background, and kept (``waste`` in the ledger); the rest is
added up from records when it is asked for. What is kept says how many calls it was made of: where a call was settled
later, or put back from a copy, the numbers differ, and that hour is read from its records again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping

import msgspec

from gateway.ledger.edges import id_bounds
from gateway.ledger.rows import GROUP_BITS, HOUR_NS

AGAIN_NS = HOUR_NS
"""A prompt that is sent again within this time is a retry. ``waste`` keeps sums by hours, so that it is one."""
KEPT_DAYS = 32
"""Days of which hours are kept one by one."""
DAY = 24
MAX_SLICES = 24
"""Hours or days that are added up at once."""

SMALL_INPUT, SMALL_OUTPUT = 1000, 200
"""A call with no more tokens than this is a small task."""
CACHEABLE = 1024
"""Shorter inputs are cached by no provider."""
WIDE = 4
"""An output limit this many times above what was used is far above it."""
RETRIES = "retries"
TESTS = {
    "unreceived": "outcome = 'client_disconnected'",
    "failed": "outcome IN ('upstream_error', 'upstream_timeout')",
    RETRIES: f"again_ns - started_ns <= {AGAIN_NS} AND cost > 0",
    "small_tasks": (
        f"outcome = 'completed' AND cost > 0 AND tokens_in <= {SMALL_INPUT} AND tokens_out <= {SMALL_OUTPUT}"
    ),
    "uncached": f"outcome = 'completed' AND tokens_in >= {CACHEABLE} AND cached = 0",
    "reasoning": "reasoned > 0",
    "limits": f"outcome = 'completed' AND tokens_out > 0 AND room >= {WIDE} * tokens_out AND held > cost",
}
"""Kind → SQL over ``facts``."""


class Sums(msgspec.Struct, array_like=True):
    """Calls of one kind."""

    calls: int
    nanousd: int
    held: int
    """What was reserved for them, in nanousd."""
    room: int
    """Output tokens reserved."""
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    newest: str
    """Ids: of the newest call, ..."""
    dearest: str
    """... and of the dearest, after its cost in 20 digits; of ``retries`` the call that came again stands behind it."""


Key = tuple[str, str, str, str, str]
"""Team, workflow, provider, model, kind."""
Wasted = dict[Key, Sums]


class Slice(msgspec.Struct, frozen=True):
    """What is kept of so many hours from one on. ``calls``: those of these hours and of the one behind them, in which
    a prompt may have come again."""

    hours: int
    first_hour: int
    calls: int
    sums: Wasted


_FIELDS = {"tokens_in": "input_tokens_total", "tokens_out": "output_tokens_total", "cached": "cache_read_tokens",
           "reasoned": "reasoning_tokens"}  # fmt: skip
_FACTS = (
    "SELECT r.request_id, r.group_id, k.outcome, r.started_ns, r.prompt_hash, r.cost_nanousd AS cost, "  # noqa: S608
    "r.reserved_nanousd AS held, r.reserved_output_tokens AS room, "
    + ", ".join(f"coalesce(json_extract(r.usage, '$.{name}'), 0) AS {short}" for short, name in _FIELDS.items())
    + " FROM records r CROSS JOIN kinds k ON k.id = r.kind_id WHERE r.request_id >= ? AND r.request_id < ? "
    "AND r.started_ns >= ? AND r.started_ns < ? AND k.usage_source <> 'none'"
)
_PROMPTS = (
    "SELECT facts.*, lead(started_ns) OVER same AS again_ns, lead(request_id) OVER same AS again_id FROM facts "
    "CROSS JOIN groups g ON g.id = group_id WHERE prompt_hash <> 0 WINDOW same AS (PARTITION BY prompt_hash, team, "
    "workflow, provider, model_requested ORDER BY started_ns, request_id)"
)
_SUMS = "count(*), sum(cost), sum(held), sum(room), sum(tokens_in), sum(tokens_out), sum(reasoned), max(request_id)"


def _of_kind(kind: str, test: str) -> str:
    """SQL of the sums of one kind, by group."""
    source, again = ("prompts", " || ' ' || again_id") if kind == RETRIES else ("facts", "")
    dearest = f"max(printf('%020d', cost) || request_id{again})"
    return f"SELECT group_id, '{kind}', {_SUMS}, {dearest} FROM {source} WHERE started_ns < ? AND {test} GROUP BY 1"  # noqa: S608


_SQL = f"WITH facts AS MATERIALIZED ({_FACTS}), prompts AS ({_PROMPTS}) " + " UNION ALL ".join(
    _of_kind(kind, test) for kind, test in TESTS.items()
)
_GROUP = "SELECT team, workflow, provider, model FROM groups WHERE id = ?"


def from_records(connection: sqlite3.Connection, since_ns: int, until_ns: int) -> Wasted:
    """Of calls started in ``[since_ns, until_ns)``, from their records."""
    end = until_ns + AGAIN_NS
    bounds = id_bounds(connection, since_ns, end)
    names: dict[int, tuple[str, str, str, str]] = {}
    found: Wasted = {}
    for group, kind, *values in connection.execute(_SQL, (*bounds, since_ns, end, *[until_ns] * len(TESTS))):
        if group not in names:
            names[group] = tuple(connection.execute(_GROUP, (group,)).fetchone())
        _add(found, (*names[group], kind), Sums(*values))
    return found


def wasted(connection: sqlite3.Connection, since_ns: int, until_ns: int) -> Wasted:
    """Of calls started in ``[since_ns, until_ns)``, from what is kept and, where nothing is, from records."""
    first, last = -(-since_ns // HOUR_NS), until_ns // HOUR_NS
    if first >= last:
        return from_records(connection, since_ns, until_ns)
    found: Wasted = {}
    edges = [(since_ns, first * HOUR_NS), (last * HOUR_NS, until_ns)]
    for hours, hour in _plan(connection, first, last):
        if hours:
            _merge(found, _kept(connection, hours, hour))
        else:
            edges.append((hour * HOUR_NS, (hour + 1) * HOUR_NS))
    for start, end in _joined(edges):
        _merge(found, from_records(connection, start, end))
    return found


def to_keep(connection: sqlite3.Connection, now_ns: int) -> list[Slice]:
    """Some of the hours and days that are over and not kept as they are now, the newest first; empty: all are.

    Reads for a moment; a thread's work. ``keep`` writes them.
    """
    over = (now_ns - AGAIN_NS) // HOUR_NS
    first = (over // DAY - KEPT_DAYS) * DAY
    connection.execute("BEGIN")
    try:
        calls = _calls(connection, first, over)
        known = _known(connection, first, over)
        wanted = [
            (hours, hour)
            for hours in (1, DAY)
            for hour in range(over - hours - (over - hours) % hours, first - 1, -hours)
            if calls.of(hours, hour) and known.get((hours, hour)) != calls.of(hours, hour)
        ]
        return [
            Slice(hours, hour, calls.of(hours, hour), wasted(connection, hour * HOUR_NS, (hour + hours) * HOUR_NS))
            for hours, hour in wanted[:MAX_SLICES]
        ]
    finally:
        connection.execute("ROLLBACK")


def keep(connection: sqlite3.Connection, slices: list[Slice]) -> None:
    """Write what ``to_keep`` found, and forget hours that their days stand for. Runs in the writer's transaction."""
    for one in slices:
        rows = [(*key, *msgspec.structs.astuple(sums)) for key, sums in one.sums.items()]
        connection.execute(
            "INSERT OR REPLACE INTO waste (hours, first_hour, calls, sums) VALUES (?, ?, ?, ?)",
            (one.hours, one.first_hour, one.calls, msgspec.json.encode(rows).decode()),
        )
    newest = max((one.first_hour for one in slices), default=0)
    connection.execute("DELETE FROM waste WHERE hours = 1 AND first_hour < ?", (newest - (KEPT_DAYS + 2) * DAY,))


class _Calls:
    """How many calls began in each hour."""

    def __init__(self, hours: Mapping[int, int]) -> None:
        self._hours = hours

    def of(self, hours: int, first: int) -> int:
        """Of so many hours and the one behind them; 0 where there are none in these hours themselves."""
        own = sum(self._hours.get(hour, 0) for hour in range(first, first + hours))
        return own and own + self._hours.get(first + hours, 0)


def _calls(connection: sqlite3.Connection, first: int, last: int) -> _Calls:
    rows = connection.execute(
        f"SELECT id >> {GROUP_BITS}, sum(requests) FROM hours WHERE id >= ? AND id < ? GROUP BY 1",  # noqa: S608
        (first << GROUP_BITS, (last + 1) << GROUP_BITS),
    )
    return _Calls(dict(iter(rows)))


def _known(connection: sqlite3.Connection, first: int, last: int) -> dict[tuple[int, int], int]:
    rows = connection.execute(
        "SELECT hours, first_hour, calls FROM waste WHERE first_hour >= ? AND first_hour < ?", (first, last)
    )
    return {(hours, hour): calls for hours, hour, calls in rows}


def _plan(connection: sqlite3.Connection, first: int, last: int) -> Iterator[tuple[int, int]]:
    """How to cover the hours from ``first`` up to ``last``: 24 or 1 with the first hour of what is kept, 0 with an hour
    of which nothing is."""
    calls, known = _calls(connection, first, last), _known(connection, first, last)
    hour = first
    while hour < last:
        whole = hour % DAY == 0 and hour + DAY <= last
        day = calls.of(DAY, hour) if whole else 0
        one = calls.of(1, hour)
        if whole and (not day or known.get((DAY, hour)) == day):
            if day:
                yield DAY, hour
            hour += DAY
            continue
        if one:
            yield int(known.get((1, hour)) == one), hour
        hour += 1


def _kept(connection: sqlite3.Connection, hours: int, hour: int) -> Wasted:
    (text,) = connection.execute("SELECT sums FROM waste WHERE hours = ? AND first_hour = ?", (hours, hour)).fetchone()
    rows = msgspec.json.decode(
        text, type=list[tuple[str, str, str, str, str, int, int, int, int, int, int, int, str, str]]
    )
    return {row[:5]: Sums(*row[5:]) for row in rows}


def _joined(edges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Periods, with those that touch made one."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(edge for edge in edges if edge[0] < edge[1]):
        if joined and joined[-1][1] == start:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    return joined


def _merge(into: Wasted, more: Wasted) -> None:
    for key, sums in more.items():
        _add(into, key, sums)


def _add(into: Wasted, key: Key, more: Sums) -> None:
    known = into.get(key)
    if known is None:
        into[key] = more
        return
    known.calls += more.calls
    known.nanousd += more.nanousd
    known.held += more.held
    known.room += more.room
    known.input_tokens += more.input_tokens
    known.output_tokens += more.output_tokens
    known.reasoning_tokens += more.reasoning_tokens
    known.newest = max(known.newest, more.newest)
    known.dearest = max(known.dearest, more.dearest)
