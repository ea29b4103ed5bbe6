"""What is settled and no process counts as its own: the ledger's sums less those of the processes, as of one moment.

Each process says what it has used as of a place in the ledger's order; the ledger is read as of a later one; what a
process has settled between the two is read call by call. So the difference is exact while all of them go on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gateway.ledger.connections import connect_reader
from gateway.ledger.view import ConnectionView
from gateway.quota.engine import Amounts, Quotas
from gateway.quota.matcher import Matcher, bucket_of
from gateway.quota.replay import MANY, Difference, load, spans_of, subject_of
from gateway.quota.rule import CONCURRENT, UNITS, Rule
from gateway.quota.shared import identity
from gateway.quota.slices import Stand

Rows = dict[tuple[str, str, int], list[int]]
"""Rule's identity, bucket and start of the window -> what is used, a number a unit."""


class Photo(msgspec.Struct, frozen=True):
    """What one process had used when record ``mark`` was the ledger's newest; its calls' ids end with ``node``."""

    node: str
    mark: int
    stands: list[Stand]


class Settled(msgspec.Struct, frozen=True):
    """``rows`` of all windows that count (rule -> their starts); absent: nothing."""

    windows: dict[str, set[int]]
    rows: Rows


def settled(path: Path, rules: Sequence[Rule], photos: Sequence[Photo], now_ns: int) -> Settled:
    """What the ledger holds beyond what ``photos`` do. Reads only; raises ``sqlite3.Error``."""
    connection = connect_reader(path)
    connection.isolation_level = None
    try:
        connection.execute("BEGIN")
        return _settled(connection, rules, photos, now_ns)
    finally:
        connection.close()


def _settled(connection: sqlite3.Connection, rules: Sequence[Rule], photos: Sequence[Photo], now_ns: int) -> Settled:
    view = ConnectionView(connection)
    whole = Quotas(rules, max_counters=MANY)
    load(whole, view, now_ns)
    names = {id(rule): identity(rule) for rule in rules}
    windows = {names[id(rule)]: {start for start, _ in spans_of(rule, now_ns)} for rule in rules}
    rows: Rows = {}
    for counter in whole.counters:
        for span in (counter.span, *counter.parts, *counter.ahead.values()):
            rows[names[id(counter.rule)], counter.bucket, span.start_ns] = list(span.used)
            windows[names[id(counter.rule)]].add(span.start_ns)
    matcher = Matcher(rules)
    for photo in photos:
        for stand in photo.stands:
            _take(rows, windows, (stand.rule, stand.bucket, stand.start_ns), stand.used)
        for spent, started_ns in view.since(photo.mark, photo.node):
            vector = Amounts(spent.nanousd, spent.input_tokens, spent.output_tokens, spent.requests).vector()
            subject = subject_of(spent)
            for rule in matcher.rules_for(subject):
                used = [0 if unit == CONCURRENT else vector[unit] for unit in rule.units]
                _take(rows, windows, (names[id(rule)], bucket_of(rule, subject), rule.window(started_ns)[0]), used)
    return Settled(windows, {key: used for key, used in rows.items() if any(used)})


def _take(rows: Rows, windows: dict[str, set[int]], key: tuple[str, str, int], used: Sequence[int]) -> None:
    if key[2] in windows.get(key[0], ()):
        found = rows.setdefault(key, [0] * len(used))
        for position, amount in enumerate(used):
            found[position] -= amount


def compared(known: Rows, true: Settled, rules: Sequence[Rule]) -> list[Difference]:
    """Where ``known``, what the lender takes for settled, is not what the ledger says."""
    names = {identity(rule): rule for rule in rules}
    found = []
    for key in sorted(known.keys() | true.rows.keys()):
        rule = names.get(key[0])
        if rule is None or key[2] not in true.windows[key[0]]:
            continue
        zero = [0] * len(rule.units)
        for unit, counted, right in zip(rule.units, known.get(key, zero), true.rows.get(key, zero), strict=True):
            if counted != right:
                found.append(Difference(rule.name, key[1], UNITS[unit], counted, right))
    return found
