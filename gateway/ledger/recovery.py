"""At start: calls that a crash left open are settled, each exactly once."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from gateway.ledger.record import RECOVERED, Checkpoint, OpenEntry, Record
from gateway.ledger.rows import request_row, rollup_key, rollup_sums
from gateway.ledger.schema import connect
from gateway.ledger.writer import Statements, write_batch
from gateway.wire.usage import Usage

_entry: msgspec.json.Decoder[OpenEntry] = msgspec.json.Decoder(OpenEntry)
_checkpoint: msgspec.json.Decoder[Checkpoint] = msgspec.json.Decoder(Checkpoint)


def recover(path: Path, now_ns: int) -> list[Record]:
    """Settle every open entry as ``recovered`` and answer the records.

    Usage and cost are those of the last checkpoint. What the call really cost can't be known, so quotas go on to hold
    its whole reservation.
    """
    connection = connect(path)
    try:
        found = connection.execute(
            "SELECT o.entry, c.checkpoint FROM open_requests o LEFT JOIN checkpoints c USING (request_id)"
        ).fetchall()
        records = [recovered(_entry.decode(entry), _decoded(last), now_ns) for entry, last in found]
        if records:
            _settle(connection, records)
        return records
    finally:
        connection.close()


def recovered(entry: OpenEntry, last: Checkpoint | None, now_ns: int) -> Record:
    """The record of a call that nobody can ask any more."""
    ended_ns = max(entry.started_ns, last.at_ns if last is not None else min(now_ns, entry.started_ns))
    return Record(
        request_id=entry.request_id,
        started_ns=entry.started_ns,
        ended_ns=ended_ns,
        team=entry.team,
        workflow=entry.workflow,
        key_id=entry.key_id,
        tags=entry.tags,
        provider=entry.provider,
        api=entry.api,
        method=entry.method,
        path=entry.path,
        model_requested=entry.model_requested,
        model=(last.model if last is not None else "") or entry.model_requested,
        stream=entry.stream,
        status=last.status if last is not None else 0,
        outcome=RECOVERED,
        usage=last.usage if last is not None else Usage(),
        usage_source="estimated",
        cost_nanousd=last.cost_nanousd if last is not None else 0,
        cost_lines=last.cost_lines if last is not None else (),
        price=last.price if last is not None else "",
        quotas=entry.quotas,
        reserved_nanousd=max(entry.reserved_nanousd, last.reserved_nanousd if last else 0),
        reserved_input_tokens=max(entry.reserved_input_tokens, last.reserved_input_tokens if last else 0),
        reserved_output_tokens=max(entry.reserved_output_tokens, last.reserved_output_tokens if last else 0),
        latency_us=(ended_ns - entry.started_ns) // 1000,
        request_bytes=entry.request_bytes,
        response_bytes=last.response_bytes if last is not None else 0,
        trace_id=entry.trace_id,
    )


def _decoded(raw: bytes | None) -> Checkpoint | None:
    return _checkpoint.decode(raw) if raw is not None else None


def _settle(connection: sqlite3.Connection, records: list[Record]) -> None:
    rows = [request_row(record) for record in records]
    rollups: dict[tuple[int, str, str, str, str, str, str, str], list[int]] = {}
    for record, row in zip(records, rows, strict=True):
        key = rollup_key(record, row[6])
        known = rollups.get(key)
        sums = rollup_sums(record)
        rollups[key] = sums if known is None else [a + b for a, b in zip(known, sums, strict=True)]
    ids = [(record.request_id,) for record in records]
    write_batch(connection, Statements(), [], rows, ids, rollups, {}, ids)
