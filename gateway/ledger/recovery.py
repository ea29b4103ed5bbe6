"""At start, and where one of several processes ended: calls that a crash left open are settled, each exactly once."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from gateway.ledger.connections import connect
from gateway.ledger.record import RECOVERED, Checkpoint, OpenEntry, Record
from gateway.ledger.turns import Alone, Turns, slot_range
from gateway.ledger.writer import PROBE, Writer, unwritten
from gateway.wire.usage import Usage

_entry: msgspec.json.Decoder[OpenEntry] = msgspec.json.Decoder(OpenEntry)
_checkpoint: msgspec.json.Decoder[Checkpoint] = msgspec.json.Decoder(Checkpoint)


def recover(path: Path, now_ns: int, slot: int | None = None, turns: Turns | None = None) -> list[Record]:
    """Settle every open entry, or those of one slot, as ``recovered`` and answer the records.

    Usage and cost are those of the last checkpoint. What the call really cost can't be known, so quotas go on to hold
    its whole reservation.
    """
    turns = turns or Alone()
    connection = connect(path)
    turns.enter()
    try:
        numbers: list[int] = []
        entries = []
        first, end = slot_range(slot) if slot is not None else (0, 1 << 62)
        rows = connection.execute(
            "SELECT id, entry FROM open_requests WHERE id >= ? AND id < ? ORDER BY id", (first, end)
        )
        for number, raw in rows.fetchall():
            numbers.append(number)
            entries.append(_entry_of(raw))
        last = _checkpoints(connection, None if slot is None else [entry.request_id for entry in entries])
        records = [recovered(entry, last.get(entry.request_id), now_ns) for entry in entries]
        records = unwritten(connection, records)
        if numbers or last:
            Writer().write(connection, records=records, closed=numbers, forgotten=list(last))
        return records
    finally:
        turns.leave()
        connection.close()


def _checkpoints(connection: sqlite3.Connection, ids: list[str] | None) -> dict[str, Checkpoint]:
    """The last checkpoints of calls, or all there are."""
    sql = "SELECT request_id, checkpoint FROM checkpoints"
    if ids is None:
        rows = [row for row in connection.execute(sql) if row[0] != PROBE]
    else:
        rows = [row for one in ids for row in connection.execute(f"{sql} WHERE request_id = ?", (one,))]
    return {request_id: _checkpoint.decode(raw) for request_id, raw in rows}


def recovered(entry: OpenEntry, last: Checkpoint | None, now_ns: int) -> Record:
    """The record of a call that nobody can ask any more."""
    ended_ns = max(entry.started_ns, last.at_ns if last is not None else min(now_ns, entry.started_ns))
    requested = (last.model_requested if last is not None else "") or entry.model_requested
    tier = (last.service_tier if last is not None else "") or entry.service_tier
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
        model_requested=requested,
        model=(last.model if last is not None else "") or requested,
        stream=entry.stream,
        status=last.status if last is not None else 0,
        outcome=RECOVERED,
        usage=last.usage if last is not None else Usage(),
        usage_source="estimated",
        cost_nanousd=last.cost_nanousd if last is not None else 0,
        cost_lines=last.cost_lines if last is not None else (),
        price=last.price if last is not None else "",
        priced=last.priced if last is not None else True,
        reported_cost_nanousd=last.reported_cost_nanousd if last is not None else None,
        quotas=entry.quotas,
        reserved_nanousd=max(entry.reserved_nanousd, last.reserved_nanousd if last else 0),
        reserved_input_tokens=max(entry.reserved_input_tokens, last.reserved_input_tokens if last else 0),
        reserved_output_tokens=max(entry.reserved_output_tokens, last.reserved_output_tokens if last else 0),
        latency_us=(ended_ns - entry.started_ns) // 1000,
        request_bytes=entry.request_bytes,
        response_bytes=last.response_bytes if last is not None else 0,
        trace_id=entry.trace_id,
        service_tier=tier,
        region=(last.region if last is not None else "") or entry.region,
        prompt_hash=entry.prompt_hash,
    )


def _entry_of(raw: bytes) -> OpenEntry:
    if raw[:1] == b"[":
        return _entry.decode(raw)
    # written before entries were arrays
    values = msgspec.json.decode(raw)
    return OpenEntry(**{**values, "quotas": tuple(values.get("quotas", ()))})
