"""Three months of calls under a contract, with corrections that were booked later, and models without a price."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
from support.gateway import Gateway
from support.history import history, write

from gateway.ledger.connections import connect
from gateway.ledger.reprice import Adjustment, book_adjustments
from gateway.ledger.rows import REQUEST_COLUMNS
from gateway.wire.usage import Usage
from pricing.entry import PriceEntry
from pricing.money import Line

CONFIG = """
[providers.openai]
kind = "openai"

[providers.anthropic]
kind = "anthropic"

[providers.gemini]
kind = "gemini"

[[prices]]
provider = "openai"
model = "gpt-4o"
input_per_mtok = 1.99999
output_per_mtok = 7.77

[[prices]]
provider = "anthropic"
model = "*"
discount_percent = 12.5
"""
CONTRACT = (
    PriceEntry(
        provider="openai",
        model="gpt-4o",
        input_per_mtok=Decimal("1.99999"),
        output_per_mtok=Decimal("7.77"),
    ),
    PriceEntry(provider="anthropic", model="*", discount_percent=Decimal("12.5")),
)
FIRST, LAST = "2026-08-01", "2026-11-01"


def ns(day: str) -> int:
    return int(datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC).timestamp()) * 10**9


def office(directory: Path, calls: int = 1500, config: str = CONFIG) -> Gateway:
    """A gateway that does not run, with a ledger of three months."""
    gateway = Gateway(directory, config)
    (directory / "data").mkdir()
    records = history(ns(LAST), 92, calls, entries=CONTRACT)
    write(
        directory / "data" / "ledger.db",
        (
            msgspec.structs.replace(one, model="in-house-9b", model_requested="in-house-9b", priced=False, price="",
                                    cost_nanousd=0, cost_lines=(), usage=Usage(input_tokens_total=7))
            if number % 50 == 0 and one.outcome == "completed" else one
            for number, one in enumerate(records)
        ),
    )  # fmt: skip
    return gateway


def adjust(gateway: Gateway, since: str, until: str, booked: str, change: int, why: str, limit: int = 60) -> int:
    """Make some calls of ``[since, until)`` cost ``change`` more, booked on a later day; answers the sum."""
    connection = connect(gateway.directory / "data" / "ledger.db")
    rows = connection.execute(
        f"SELECT {', '.join(REQUEST_COLUMNS)}, (SELECT count(*) FROM adjustments a WHERE a.request_id = r.request_id) "
        "FROM requests r WHERE started_ns >= ? AND started_ns < ? AND cost_nanousd > 0 ORDER BY request_id LIMIT ?",
        (ns(since), ns(until), limit),
    ).fetchall()
    found = []
    for *values, earlier in rows:
        row = dict(zip(REQUEST_COLUMNS, values, strict=True))
        before = row["cost_nanousd"]
        lines = (Line("reported", 1, "request", before + change), Line("replaces", 1, "request", -before))
        found.append(
            Adjustment(
                request_id=row["request_id"], started_ns=row["started_ns"], provider=row["provider"],
                model=row["model"], before_nanousd=before, after_nanousd=before + change, price=why, lines=lines,
                row=row, earlier=earlier,
            )
        )  # fmt: skip
    book_adjustments(connection, found, ns(booked), "test", why)
    connection.close()
    return change * len(found)


def read(text: str) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    return list(csv.DictReader(io.StringIO(text)))


def billed(rows: list[dict[str, str]]) -> int:
    """Their cost in nanodollars."""
    return sum(int(Decimal(row["BilledCost"]) * 10**9) for row in rows)
