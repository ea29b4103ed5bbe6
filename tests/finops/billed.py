"""Calls in a ledger beside what their provider charges for them, in the provider's own formats."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import book
from support.gateway import Gateway

from gateway.ledger.ids import first_id_at
from gateway.wire.usage import Usage
from pricing.money import Line

CONFIG = """
[providers.openai-search]
kind = "openai"
project = "proj_search"

[providers.openai-support]
kind = "openai"
project = "proj_support"

[providers.anthropic]
kind = "anthropic"
"""
DAY = 86_400
FIRST = date(2026, 9, 1)


def at(day: int, seconds: int) -> int:
    start = datetime.combine(FIRST + timedelta(days=day), datetime.min.time(), UTC)
    return (int(start.timestamp()) + seconds) * 10**9


class Books:
    """Calls, and the provider's own view of them."""

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.charges: dict[tuple[date, str, str], int] = {}
        self.tokens: dict[tuple[date, str, str], list[int]] = {}

    def call(
        self, day: int, model: str, nanousd: int, charged: int | None = None, *, provider: str = "openai-search",
        second: int = 3600, long: bool = False, **changes: Any,
    ) -> None:  # fmt: skip
        number, started = len(self.records), at(day, DAY - 2 if long else second + len(self.records))
        values: dict[str, Any] = {
            "request_id": first_id_at(started) + f"{number:016d}", "started_ns": started,
            "ended_ns": started + (10 if long else 1) * 10**9, "provider": provider, "model": model,
            "model_requested": model, "outcome": "completed", "usage_source": "response", "cost_nanousd": nanousd,
            "cost_lines": (Line("input", 1000, "token", nanousd),), "reserved_nanousd": 2 * nanousd,
            "usage": Usage(input_tokens_total=1000, output_tokens_total=100),
        }  # fmt: skip
        self.records.append(book.record(number, **{**values, **changes}))
        self.charge(day + long, model, nanousd if charged is None else charged, provider, 1)

    def charge(self, day: int, model: str, nanousd: int, provider: str = "openai-search", calls: int = 0) -> None:
        key = (FIRST + timedelta(days=day), model, f"proj_{provider.rpartition('-')[2]}")
        self.charges[key] = self.charges.get(key, 0) + nanousd
        used = self.tokens.setdefault(key, [0, 0, 0])
        for place, count in enumerate((calls, 1000 * calls, 100 * calls)):
            used[place] += count

    def gateway(self, directory: Path) -> Gateway:
        made = Gateway(directory, CONFIG)
        (directory / "data").mkdir()
        book.ledger(directory / "data" / "ledger.db", sorted(self.records, key=lambda one: one.request_id))
        return made

    def openai_costs(self, path: Path) -> Path:
        """As ``/v1/organization/costs?group_by=line_item,project_id`` answers, in two pages."""
        days: dict[date, list[Any]] = {}
        for (day, model, project), nanousd in self.charges.items():
            for item, part in (("input", nanousd // 3), ("output", nanousd - nanousd // 3)):
                days.setdefault(day, []).append(
                    {
                        "object": "organization.costs.result",
                        "amount": {"value": float(Decimal(part) / 10**9), "currency": "usd"},
                        "line_item": f"{model}, {item}", "project_id": project, "organization_id": "org-1",
                    }
                )  # fmt: skip
        buckets = [
            {"object": "bucket", "start_time": at((day - FIRST).days, 0) // 10**9, "results": results}
            for day, results in sorted(days.items())
        ]
        half = len(buckets) // 2
        pages = [
            {"object": "page", "data": buckets[:half], "has_more": True, "next_page": "page_2"},
            {"object": "page", "data": buckets[half:], "has_more": False, "next_page": None},
        ]
        path.write_text(json.dumps(pages))
        return path

    def openai_usage(self, path: Path) -> Path:
        """As the usage page's CSV export, with its lines for times without any use."""
        out = io.StringIO()
        names = ("start_time,end_time,start_time_iso,end_time_iso,project_id,num_model_requests,user_id,api_key_id,"
                 "model,batch,service_tier,input_tokens,output_tokens,input_cached_tokens")  # fmt: skip
        writer = csv.DictWriter(out, names.split(","))
        writer.writeheader()
        writer.writerow({"start_time": at(0, 0) // 10**9, "end_time": at(0, 60) // 10**9})
        for (day, model, project), (calls, tokens_in, tokens_out) in self.tokens.items():
            writer.writerow(
                {"start_time": at((day - FIRST).days, 0) // 10**9, "project_id": project, "model": model,
                 "num_model_requests": f"{calls}.0", "input_tokens": tokens_in, "output_tokens": tokens_out,
                 "input_cached_tokens": 0}
            )  # fmt: skip
        path.write_text(out.getvalue())
        return path


def reconciled(gateway: Gateway, *words: str) -> list[dict[str, Any]]:
    said = gateway.cli("reconcile", *words, "--format", "json").stdout
    found: list[dict[str, Any]] = json.loads(said)
    for row in found:
        assert sum(row["causes"].values()) == row["difference_nanousd"]
        assert row["statement_nanousd"] - row["ledger_nanousd"] == row["difference_nanousd"]
    return found
