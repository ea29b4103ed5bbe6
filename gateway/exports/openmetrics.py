"""The past as OpenMetrics, for a Prometheus that was set up later: cost, tokens and calls of each hour as the counters
that it scrapes, with the time at which the hour was over.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from gateway.ledger.rows import HOUR_NS
from gateway.metrics.families import COST, REQUESTS, TOKENS, Family
from pricing.money import dollars

LABELS = ("team", "workflow", "provider", "model")
_TOKENS = {
    "input": "input_tokens_total", "output": "output_tokens_total", "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens", "reasoning": "reasoning_tokens", "audio_input": "input_audio_tokens",
    "audio_output": "output_audio_tokens", "image_input": "input_image_tokens", "image_output": "output_image_tokens",
}  # fmt: skip
"""Type → column of the sums."""
_OUTCOMES = {
    "completed": "requests - rejected - errors - disconnected - recovered", "rejected": "rejected",
    "client_disconnected": "disconnected", "recovered": "recovered",
}  # fmt: skip
"""Outcome → sum of columns. The two kinds of failures of a provider are one sum."""
_COSTS = (
    f"(SELECT hour, {', '.join(LABELS)}, cost_nanousd FROM rollups UNION ALL "  # noqa: S608 - our names
    f"SELECT hour, {', '.join(LABELS)}, delta_nanousd FROM adjustments WHERE request_id IN "
    "(SELECT request_id FROM adjustments WHERE kind = 'reported'))"
)
"""Sums, without estimates that a report replaced, whatever corrected them before: the report's own record counts."""


def exposition(connection: sqlite3.Connection, since_ns: int, until_ns: int) -> Iterator[str]:
    """Lines, ``# EOF`` included, in constant memory. Whole hours: the first that begins in the period to the last that
    ends in it. Counters begin at 0."""
    first, last = -(-since_ns // HOUR_NS), until_ns // HOUR_NS
    yield from _head(REQUESTS)
    for outcome, column in (*_OUTCOMES.items(), ("upstream_error", "errors")):
        yield from _series(connection, REQUESTS, column, first, last, f'outcome="{outcome}"')
    yield from _head(TOKENS)
    for kind, column in _TOKENS.items():
        yield from _series(connection, TOKENS, column, first, last, f'type="{kind}"')
    yield from _head(COST)
    yield from _series(connection, COST, "cost_nanousd", first, last, "")
    yield "# EOF"


def _head(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {family.text}"
    yield f"# TYPE {family.name} {family.kind}"
    if family.unit:
        yield f"# UNIT {family.name} {family.unit}"


def _series(
    connection: sqlite3.Connection, family: Family, column: str, first: int, last: int, label: str
) -> Iterator[str]:
    source = _COSTS if family is COST else "rollups"
    rows = connection.execute(
        f"SELECT {', '.join(LABELS)}, hour, sum({column}) AS more FROM {source} WHERE hour >= ? AND hour < ? "  # noqa: S608
        f"GROUP BY {', '.join(LABELS)}, hour HAVING more > 0 ORDER BY {', '.join(LABELS)}, hour",
        (first, last),
    )
    known, total = None, 0
    name = ""
    for *labels, hour, more in rows:
        if labels != known:
            known, total = labels, 0
            said = [f'{key}="{_escaped(value)}"' for key, value in zip(LABELS, labels, strict=True)]
            name = f"{family.shown}{{{','.join([*said, *([label] if label else [])])}}}"
            yield f"{name} 0 {hour * 3600}"
        total += more
        shown = dollars(total) if family is COST else str(total)
        yield f"{name} {shown} {(hour + 1) * 3600}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
