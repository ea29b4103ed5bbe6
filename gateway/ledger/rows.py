"""How records lie in tables: the columns of ``requests`` and ``rollups``, and what becomes of a record in them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway.ledger.record import CLIENT_DISCONNECTED, RECOVERED, REJECTED, UPSTREAM_ERROR, UPSTREAM_TIMEOUT, Record
from gateway.wire.usage import Usage
from pricing.money import Line

HOUR_NS = 3_600_000_000_000
_encode = msgspec.json.encode
_decode = msgspec.json.decode
_USAGE: msgspec.json.Decoder[Usage] = msgspec.json.Decoder(Usage)
_LINES: msgspec.json.Decoder[tuple[Line, ...]] = msgspec.json.Decoder(tuple[Line, ...])

REQUEST_COLUMNS: dict[str, type] = {
    "request_id": str, "started_ns": int, "ended_ns": int, "team": str, "workflow": str, "key_id": str, "tags": str,
    "provider": str, "api": str, "method": str, "path": str, "model_requested": str, "model": str, "stream": int,
    "status": int, "outcome": str, "usage": str, "usage_source": str, "cost_nanousd": int, "cost_lines": str,
    "price": str, "priced": int, "reported_cost_nanousd": int, "quotas": str, "refused_by": str,
    "reserved_nanousd": int, "reserved_input_tokens": int, "reserved_output_tokens": int, "latency_us": int,
    "ttft_us": int, "gateway_us": int, "request_bytes": int, "response_bytes": int, "trace_id": str,
    "service_tier": str,
}  # fmt: skip

BROKEN = (CLIENT_DISCONNECTED, UPSTREAM_ERROR, UPSTREAM_TIMEOUT)
"""Ends before the provider's own: it may have charged for more than was seen."""
USAGE_FIELDS: tuple[str, ...] = Usage.__struct_fields__
DIMENSIONS = ("hour", "team", "workflow", "key_id", "provider", "model", "model_requested", "tags")
COUNTS = ("requests", "rejected", "errors", "disconnected", "estimated", "recovered", "unpriced")
HELD = ("held_nanousd", "held_input_tokens", "held_output_tokens")
"""What quotas count: the cost of settled calls; the whole reservation where the true cost can't be known (recovered
calls, and estimates of calls that broke off); nothing of rejected ones."""
TIMES = ("latency_us", "gateway_us", "ttft_us", "ttft_count")
SUMS: tuple[str, ...] = (*COUNTS, "cost_nanousd", *HELD, *TIMES, *USAGE_FIELDS)

Row = tuple[Any, ...]
Key = tuple[int, str, str, str, str, str, str, str]


def request_row(record: Record) -> Row:
    """The row of a record, in the order of ``REQUEST_COLUMNS``."""
    return (
        record.request_id,
        record.started_ns,
        record.ended_ns,
        record.team,
        record.workflow,
        record.key_id,
        tags_json(record.tags),
        record.provider,
        record.api,
        record.method,
        record.path,
        record.model_requested,
        record.model,
        record.stream,
        record.status,
        record.outcome,
        _encode(record.usage).decode(),
        record.usage_source,
        record.cost_nanousd,
        _encode(record.cost_lines).decode() if record.cost_lines else "[]",
        record.price,
        record.priced,
        record.reported_cost_nanousd,
        _encode(record.quotas).decode() if record.quotas else "[]",
        record.refused_by,
        record.reserved_nanousd,
        record.reserved_input_tokens,
        record.reserved_output_tokens,
        record.latency_us,
        record.ttft_us,
        record.gateway_us,
        record.request_bytes,
        record.response_bytes,
        record.trace_id,
        record.service_tier,
    )


def tags_json(tags: dict[str, str]) -> str:
    """Tags as JSON with sorted keys, so that equal sets are equal text."""
    if not tags:
        return "{}"
    return _encode(dict(sorted(tags.items()))).decode()


def held_of(record: Record) -> tuple[int, int, int]:
    """What quotas count for a record: nanousd, input and output tokens."""
    usage = record.usage
    unknown = record.usage_source == "estimated" and (record.outcome in BROKEN or record.refused_by)
    if unknown or record.outcome == RECOVERED:
        return (
            max(record.cost_nanousd, record.reserved_nanousd),
            max(usage.input_tokens_total, record.reserved_input_tokens),
            max(usage.output_tokens_total, record.reserved_output_tokens),
        )
    return record.cost_nanousd, usage.input_tokens_total, usage.output_tokens_total


def rollup_key(record: Record, tags: str) -> Key:
    """Where a record is added up: by the hour in which it was started."""
    return (
        record.started_ns // HOUR_NS,
        record.team,
        record.workflow,
        record.key_id,
        record.provider,
        record.model,
        record.model_requested,
        tags,
    )


def rollup_sums(record: Record) -> list[int]:
    """What one record adds to its rollup, in the order of ``SUMS``."""
    outcome = record.outcome
    rejected = outcome == REJECTED
    held = (0, 0, 0) if rejected else held_of(record)
    ttft = record.ttft_us
    usage = record.usage
    return [
        1,
        rejected,
        outcome in (UPSTREAM_ERROR, UPSTREAM_TIMEOUT),
        outcome == CLIENT_DISCONNECTED,
        record.usage_source == "estimated",
        outcome == RECOVERED,
        not record.priced,
        record.cost_nanousd,
        *held,
        record.latency_us,
        record.gateway_us,
        ttft or 0,
        ttft is not None,
        *[getattr(usage, field) for field in USAGE_FIELDS],
    ]


def record_of_row(row: dict[str, Any]) -> Record:
    """The record that a row of ``requests`` holds."""
    decoded = {
        "tags": _decode(row["tags"]),
        "usage": _USAGE.decode(row["usage"]),
        "cost_lines": _LINES.decode(row["cost_lines"]),
        "quotas": tuple(_decode(row["quotas"])),
        "stream": bool(row["stream"]),
        "priced": bool(row["priced"]),
    }
    return Record(**{**row, **decoded})


def contract_json(row: dict[str, Any]) -> dict[str, Any]:
    """A row of ``requests`` as the ledger record that the outside relies on."""
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
        "cost_lines": _decode(row["cost_lines"]),
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
    }


def rfc3339(time_ns: int) -> str:
    """UTC with microseconds: ``2026-11-24T12:00:00.000001Z``."""
    seconds, nanos = divmod(time_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanos // 1000:06d}Z"
