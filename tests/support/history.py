"""Months of plausible calls, priced by the real book: for the page, exports, backtests."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path

from gateway.ledger.connections import connect
from gateway.ledger.ids import first_id_at
from gateway.ledger.record import Record
from gateway.ledger.schema import migrate
from gateway.ledger.writer import Writer
from gateway.wire.usage import Usage
from pricing.book import PriceBook, PriceEntry
from pricing.catalogue import load

DAY_NS = 86_400 * 10**9
TEAMS = (
    ("search", "ranking", 5, 900, 40), ("search", "summaries", 3, 3200, 420), ("support", "bot", 4, 1500, 260),
    ("support", "triage", 2, 700, 30), ("legal", "contracts", 1, 24000, 1800), ("growth", "emails", 2, 500, 350),
)  # fmt: skip
MODELS = (
    ("openai", "gpt-4o-mini", 6), ("openai", "gpt-4o", 3), ("anthropic", "claude-sonnet-4-5", 3),
    ("gemini", "gemini-2.5-flash", 3), ("openai", "o3-mini", 1),
)  # fmt: skip
LISTS = {"openai": "openai", "anthropic": "anthropic", "gemini": "google"}
OUTCOMES = (
    ("completed", 200, 960),
    ("client_disconnected", 200, 15),
    ("upstream_error", 502, 10),
    ("rejected", 429, 15),
)


def history(
    end_ns: int, days: int, calls: int, seed: int = 1, entries: tuple[PriceEntry, ...] = ()
) -> Iterator[Record]:
    """``calls`` calls in the ``days`` days before ``end_ns``, in the order of their start; ``entries``: contracts."""
    rng = random.Random(seed)
    book = PriceBook(entries, load())
    step = days * DAY_NS // calls
    prompts, last = random.Random(seed + 1), dict[tuple[str, str, str], int]()
    weights = [weight for *_, weight in MODELS]
    team_weights = [team[2] for team in TEAMS]
    for number in range(calls):
        at_ns = end_ns - days * DAY_NS + number * step + rng.randrange(max(1, step))
        team, workflow, _, input_size, output_size = rng.choices(TEAMS, team_weights)[0]
        provider, model, _ = rng.choices(MODELS, weights)[0]
        outcome, status, _ = rng.choices(OUTCOMES, [weight for *_, weight in OUTCOMES])[0]
        # weekends are quiet: their calls are small
        quiet = 0.35 if (at_ns // DAY_NS + 3) % 7 >= 5 else 1.0
        tokens_in = int(input_size * quiet * math.exp(rng.gauss(0, 0.5)))
        tokens_out = int(output_size * quiet * math.exp(rng.gauss(0, 0.6)))
        usage = Usage(
            input_tokens_total=tokens_in,
            output_tokens_total=tokens_out,
            cache_read_tokens=tokens_in // 2 if rng.random() < 0.3 else 0,
            reasoning_tokens=tokens_out * 3 // 5 if model.startswith("o3") else 0,
        )
        again = prompts.random() < 0.04
        prompt = last.get((team, workflow, model), 0) if again else 0
        prompt = last[team, workflow, model] = prompt or prompts.getrandbits(62) + 1
        free = outcome in ("rejected", "upstream_error")
        price = book.find(LISTS[provider], model, at_ns)
        assert price is not None
        bill = price.bill(Usage() if free else usage, at_ns=at_ns)
        latency = 300_000 + tokens_out * 9000 + rng.randrange(200_000)
        yield Record(
            request_id=first_id_at(at_ns) + f"{number:016d}",
            started_ns=at_ns,
            ended_ns=at_ns + latency * 1000,
            team=team,
            workflow=workflow,
            key_id=f"{team}-{'prod' if rng.random() < 0.8 else 'dev'}",
            tags={"env": "prod" if rng.random() < 0.8 else "dev", "region": rng.choice(("eu", "us"))},
            provider=provider,
            api="chat",
            method="POST",
            path="/v1/chat/completions",
            model_requested=model,
            model=model,
            stream=rng.random() < 0.6,
            status=status,
            outcome=outcome,
            usage=Usage() if free else usage,
            usage_source="none" if free else "estimated" if outcome == "client_disconnected" else "response",
            cost_nanousd=bill.nanousd,
            cost_lines=bill.lines,
            price=bill.source,
            quotas=(f"{team}-month",),
            refused_by=f"{team}-month" if outcome == "rejected" else "",
            reserved_nanousd=2 * bill.nanousd,
            reserved_input_tokens=tokens_in,
            reserved_output_tokens=4096,
            latency_us=1500 if outcome == "rejected" else latency,
            ttft_us=None if free else 250_000 + rng.randrange(150_000),
            gateway_us=900 + rng.randrange(800),
            request_bytes=tokens_in * 4,
            response_bytes=tokens_out * 5,
            prompt_hash=0 if outcome == "rejected" else prompt,
            opened=outcome != "rejected",
        )


def write(path: Path, records: Iterator[Record], batch: int = 5000) -> Path:
    """A ledger with these records."""
    migrate(path)
    connection = connect(path)
    connection.execute("PRAGMA synchronous = OFF")
    writer = Writer()
    rows: list[Record] = []
    for record in records:
        rows.append(record)
        if len(rows) >= batch:
            writer.write(connection, records=rows)
            rows.clear()
    if rows:
        writer.write(connection, records=rows)
    connection.close()
    return path
