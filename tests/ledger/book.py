"""Records and ledgers for tests."""

from __future__ import annotations

import random
from pathlib import Path

from gateway.ledger.connections import connect
from gateway.ledger.ids import first_id_at
from gateway.ledger.record import Record
from gateway.ledger.schema import migrate
from gateway.ledger.writer import Writer
from gateway.wire.usage import Usage
from pricing.money import Line

START_NS = 1_790_000_000_000_000_000
HOUR_NS = 3_600_000_000_000


def id_of(number: int) -> str:
    """The id of the record with this number."""
    return first_id_at(START_NS + number * 60_000_000_000) + f"{number:016d}"


def record(number: int, **changes: object) -> Record:
    """A plausible record; the same number gives the same one."""
    rng = random.Random(number)
    cost_in, cost_out = rng.randrange(10**6), rng.randrange(10**6)
    started = START_NS + number * 60_000_000_000
    values: dict[str, object] = {
        "request_id": id_of(number),
        "started_ns": started,
        "ended_ns": started + 10**9,
        "team": rng.choice(("search", "support")),
        "workflow": rng.choice(("ranking", "bot", "evals")),
        "key_id": "k",
        "tags": {"env": rng.choice(("prod", "dev"))},
        "provider": "openai",
        "api": "chat",
        "method": "POST",
        "path": "/v1/chat/completions",
        "model_requested": "gpt-4o-mini",
        "model": rng.choice(("gpt-4o-mini", "gpt-4o-mini-2024-07-18")),
        "stream": rng.random() < 0.5,
        "status": 200,
        "outcome": rng.choice(("completed",) * 8 + ("client_disconnected", "recovered")),
        "usage": Usage(input_tokens_total=rng.randrange(5000), output_tokens_total=rng.randrange(900)),
        "usage_source": rng.choice(("response",) * 9 + ("estimated",)),
        "cost_nanousd": cost_in + cost_out,
        "cost_lines": (Line("input", 1, "token", cost_in), Line("output", 1, "token", cost_out)),
        "price": "test",
        "reserved_nanousd": cost_in + cost_out + rng.randrange(10**6),
        "reserved_input_tokens": 9000,
        "reserved_output_tokens": 1000,
        "latency_us": rng.randrange(10**6),
    }
    values.update(changes)
    return Record(**values)  # type: ignore[arg-type]


def ledger(path: Path, records: list[Record]) -> Path:
    """A ledger with these records, written in one batch each hundred."""
    migrate(path)
    connection = connect(path)
    writer = Writer()
    for start in range(0, len(records), 100):
        writer.write(connection, records=records[start : start + 100])
    connection.close()
    return path
