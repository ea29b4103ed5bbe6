"""How records lie in tables: what is kept once for many records, what is a record's own, and the sums it adds to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any

import msgspec
from msgspec.structs import astuple

from gateway.ledger.prompts import prompt_text
from gateway.ledger.record import (
    CLIENT_DISCONNECTED,
    COMPLETED,
    RECOVERED,
    REJECTED,
    UPSTREAM_ERROR,
    UPSTREAM_TIMEOUT,
    Record,
)
from gateway.wire.usage import Usage
from pricing.money import Line

HOUR_NS = 3_600_000_000_000
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.decode
_USAGE: msgspec.json.Decoder[Usage] = msgspec.json.Decoder(Usage)
_LINES: msgspec.json.Decoder[list[tuple[str, int, str, int]]] = msgspec.json.Decoder(list[tuple[str, int, str, int]])

OWNER_COLUMNS = ("team", "workflow", "key_id", "provider", "model", "model_requested", "tags")
"""Who called what."""
GROUP_COLUMNS = ("outcome", *OWNER_COLUMNS)
"""What calls are added up by; each set of values is kept once, in ``groups``."""
KIND_COLUMNS: dict[str, type] = {
    "api": str, "method": str, "stream": int, "status": int, "outcome": str, "usage_source": str, "price": str,
    "priced": int, "quotas": str, "refused_by": str, "service_tier": str, "region": str,
    "pending": int,
}  # fmt: skip
"""Facts about a call that take few values; each set of them is kept once, in ``kinds``."""
RECORD_COLUMNS: dict[str, type] = {
    "request_id": str, "group_id": int, "kind_id": int, "started_ns": int, "ended_ns": int, "path": str, "usage": str,
    "cost_nanousd": int, "lines": str, "reported_cost_nanousd": int, "reserved_nanousd": int,
    "reserved_input_tokens": int, "reserved_output_tokens": int, "latency_us": int, "ttft_us": int, "gateway_us": int,
    "request_bytes": int, "response_bytes": int, "trace_id": str, "prompt_hash": int,
}  # fmt: skip
"""What is a record's own. ``lines``: each line of the bill as ``[item, quantity, unit, nanousd]``."""
NULLABLE = frozenset(("reported_cost_nanousd", "ttft_us"))
NULL = -1
"""What stands for None in those as a row is written: Python's sqlite3 takes ten times as long to bind None."""
REQUEST_COLUMNS = (
    "request_id", "started_ns", "ended_ns", "team", "workflow", "key_id", "tags", "provider", "api", "method", "path",
    "model_requested", "model", "stream", "status", "outcome", "usage", "usage_source", "cost_nanousd", "lines",
    "price", "priced", "reported_cost_nanousd", "quotas", "refused_by", "reserved_nanousd", "reserved_input_tokens",
    "reserved_output_tokens", "latency_us", "ttft_us", "gateway_us", "request_bytes", "response_bytes", "trace_id",
    "service_tier", "region", "prompt_hash", "pending",
)  # fmt: skip
"""A whole record, as the view ``requests`` shows it."""
SELECT = f"SELECT {', '.join(REQUEST_COLUMNS)} FROM requests"  # noqa: S608 - our names

BROKEN = (CLIENT_DISCONNECTED, UPSTREAM_ERROR, UPSTREAM_TIMEOUT)
"""Ends before the provider's own: it may have charged for more than was seen."""
USAGE_FIELDS: tuple[str, ...] = Usage.__struct_fields__
DIMENSIONS = ("hour", *GROUP_COLUMNS)
COUNTS = ("requests", "rejected", "errors", "disconnected", "estimated", "recovered", "unpriced")
HELD = ("held_nanousd", "held_input_tokens", "held_output_tokens")
"""What quotas count: the cost of settled calls; the whole reservation where the true cost can't be known, or not yet
(recovered calls, estimates of calls that broke off or whose use is reported later); nothing of rejected ones."""
TIMES = ("latency_us", "gateway_us", "ttft_us", "ttft_count")
COMMON_UNITS = USAGE_FIELDS.index("reasoning_tokens") + 1
COMMON = ("requests", "cost_nanousd", *HELD, *TIMES, *USAGE_FIELDS[:COMMON_UNITS])
"""Sums that most calls add to; they come first."""
SUMS: tuple[str, ...] = (*COMMON, *COUNTS[1:], *USAGE_FIELDS[COMMON_UNITS:])
GROUP_BITS = 32
GROUP_MASK = (1 << GROUP_BITS) - 1
"""The key of a sum is ``period << 32 | group``: an hour's (or a day's) sums lie together."""

Row = tuple[Any, ...]
Group = tuple[Any, ...]
Kind = tuple[Any, ...]
_NOTHING_RARE = (0,) * (len(USAGE_FIELDS) - COMMON_UNITS)


def group_of(record: Record) -> Group:
    """The group of a record, to be looked up by; its tags are in no order yet."""
    return (
        record.outcome,
        record.team,
        record.workflow,
        record.key_id,
        record.provider,
        record.model,
        record.model_requested,
        tuple(record.tags.items()),
    )


def kind_of(record: Record) -> Kind:
    """The kind of a record, in the order of ``KIND_COLUMNS``, but for the quotas' text."""
    return (
        record.api,
        record.method,
        record.stream,
        record.status,
        record.outcome,
        record.usage_source,
        record.price,
        record.priced,
        record.quotas,
        record.refused_by,
        record.service_tier,
        record.region,
        record.pending,
    )


def record_row(record: Record, group_id: int, kind_id: int) -> Row:
    """The row of a record, in the order of ``RECORD_COLUMNS``; ``NULL`` for what is None."""
    reported, ttft = record.reported_cost_nanousd, record.ttft_us
    return (
        record.request_id,
        group_id,
        kind_id,
        record.started_ns,
        record.ended_ns,
        record.path,
        _encode(record.usage).decode(),
        record.cost_nanousd,
        lines_json(record.cost_lines),
        NULL if reported is None else reported,
        record.reserved_nanousd,
        record.reserved_input_tokens,
        record.reserved_output_tokens,
        record.latency_us,
        NULL if ttft is None else ttft,
        record.gateway_us,
        record.request_bytes,
        record.response_bytes,
        record.trace_id,
        record.prompt_hash,
    )


def lines_json(lines: tuple[Line, ...]) -> str:
    """The lines of a bill, each as an array."""
    if not lines:
        return "[]"
    return _encode([(line.item, line.quantity, line.unit, line.nanousd) for line in lines]).decode()


def lines_of(text: str) -> tuple[Line, ...]:
    """The reverse of ``lines_json``."""
    return tuple(Line(*line) for line in _LINES.decode(text))


def quotas_json(quotas: tuple[str, ...]) -> str:
    return _encode(quotas).decode() if quotas else "[]"


def tags_json(tags: dict[str, str]) -> str:
    """Tags as JSON with sorted keys, so that equal sets are equal text."""
    if not tags:
        return "{}"
    return _encode(dict(sorted(tags.items()))).decode()


def held_of(record: Record) -> tuple[int, int, int]:
    """What quotas count for a record: nanousd, input and output tokens."""
    usage = record.usage
    unknown = record.usage_source == "estimated" and (record.outcome in BROKEN or record.refused_by)
    if unknown or record.pending or record.outcome == RECOVERED:
        return (
            max(record.cost_nanousd, record.reserved_nanousd),
            max(usage.input_tokens_total, record.reserved_input_tokens),
            max(usage.output_tokens_total, record.reserved_output_tokens),
        )
    return record.cost_nanousd, usage.input_tokens_total, usage.output_tokens_total


def rollup_sums(record: Record) -> list[int]:
    """What one record adds to its group's hour, in the order of ``SUMS``."""
    outcome = record.outcome
    rejected = outcome == REJECTED
    usage = record.usage
    held = (0, 0, 0) if rejected else held_of(record)
    ttft = record.ttft_us
    units = astuple(usage)
    return [
        1,
        record.cost_nanousd,
        *held,
        record.latency_us,
        record.gateway_us,
        ttft or 0,
        ttft is not None,
        *units[:COMMON_UNITS],
        rejected,
        outcome in (UPSTREAM_ERROR, UPSTREAM_TIMEOUT),
        outcome == CLIENT_DISCONNECTED,
        record.usage_source == "estimated",
        outcome == RECOVERED,
        not record.priced,
        *units[COMMON_UNITS:],
    ]


def common_sums(record: Record) -> list[int]:
    """``rollup_sums``, cut off after ``COMMON`` where the rest is 0: so it is for most calls, and soon made."""
    units = astuple(record.usage)
    if (
        record.outcome != COMPLETED
        or record.usage_source == "estimated"
        or not record.priced
        or units[COMMON_UNITS:] != _NOTHING_RARE
    ):
        return rollup_sums(record)
    cost, ttft = record.cost_nanousd, record.ttft_us
    return [
        1,
        cost,
        cost,
        units[0],
        units[1],
        record.latency_us,
        record.gateway_us,
        ttft or 0,
        ttft is not None,
        *units[:COMMON_UNITS],
    ]


def add_sums(sums: Sequence[list[int]]) -> list[int]:
    """The sum of lists of sums, any of which may be cut off after ``COMMON``."""
    return list(map(sum, zip_longest(*sums, fillvalue=0)))


def record_of_row(row: dict[str, Any]) -> Record:
    """The record that a row of ``SELECT`` holds."""
    decoded = {
        "tags": _decode(row["tags"]),
        "usage": _USAGE.decode(row["usage"]),
        "cost_lines": lines_of(row["lines"]),
        "quotas": tuple(_decode(row["quotas"])),
        "stream": bool(row["stream"]),
        "priced": bool(row["priced"]),
        "pending": bool(row["pending"]),
    }
    values = {**row, **decoded}
    del values["lines"]
    return Record(**values)


CONTRACT: dict[str, type] = {
    "request_id": str, "started_at": datetime, "ended_at": datetime, "team": str, "workflow": str, "key_id": str,
    "tags": dict, "provider": str, "api": str, "method": str, "path": str, "model_requested": str, "model": str,
    "stream": bool, "status": int, "outcome": str, "usage": dict, "usage_source": str, "cost_nanousd": int,
    "cost_lines": list, "price": str, "priced": bool, "reported_cost_nanousd": int, "reserved_nanousd": int,
    "reserved_input_tokens": int, "reserved_output_tokens": int, "quotas": list, "refused_by": str,
    "latency_ms": float, "ttft_ms": float, "gateway_ms": float, "request_bytes": int, "response_bytes": int,
    "trace_id": str, "service_tier": str, "region": str, "prompt_hash": str,
}  # fmt: skip
"""What ``contract_json`` answers, in its order, and of what kind each value is that is not None. A time is text of
RFC 3339 there."""
CONTRACT_NAMES = tuple(CONTRACT)
"""An export of no records has these columns too."""


def contract_json(row: dict[str, Any]) -> dict[str, Any]:
    """A row of ``SELECT`` as the ledger record that the outside relies on."""
    return {
        "request_id": row["request_id"],
        "started_at": rfc3339(row["started_ns"]),
        "ended_at": rfc3339(row["ended_ns"]),
        "team": row["team"],
        "workflow": row["workflow"],
        "key_id": row["key_id"],
        "tags": _decode(row["tags"]),
        "provider": row["provider"],
        "api": row["api"],
        "method": row["method"],
        "path": row["path"],
        "model_requested": row["model_requested"],
        "model": row["model"],
        "stream": bool(row["stream"]),
        "status": row["status"],
        "outcome": row["outcome"],
        "usage": _decode(row["usage"]),
        "usage_source": row["usage_source"],
        "cost_nanousd": row["cost_nanousd"],
        "cost_lines": [
            {"item": item, "quantity": quantity, "unit": unit, "nanousd": nanousd}
            for item, quantity, unit, nanousd in _decode(row["lines"])
        ],
        "price": row["price"],
        "priced": bool(row["priced"]),
        "reported_cost_nanousd": row["reported_cost_nanousd"],
        "reserved_nanousd": row["reserved_nanousd"],
        "reserved_input_tokens": row["reserved_input_tokens"],
        "reserved_output_tokens": row["reserved_output_tokens"],
        "quotas": _decode(row["quotas"]),
        "refused_by": row["refused_by"],
        "latency_ms": row["latency_us"] / 1000,
        "ttft_ms": None if row["ttft_us"] is None else row["ttft_us"] / 1000,
        "gateway_ms": row["gateway_us"] / 1000,
        "request_bytes": row["request_bytes"],
        "response_bytes": row["response_bytes"],
        "trace_id": row["trace_id"],
        "service_tier": row["service_tier"],
        "region": row["region"],
        "prompt_hash": prompt_text(row["prompt_hash"]),
    }


def rfc3339(time_ns: int) -> str:
    """UTC with microseconds: ``2026-11-24T12:00:00.000001Z``."""
    seconds, nanos = divmod(time_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanos // 1000:06d}Z"
