"""One slice of spend, asked for in five ways: the page, the command line, the API's records, the export, Prometheus."""

from __future__ import annotations

import csv
import io
import json
import random
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.gateway import Gateway
from support.upstream import LAST_CHUNK, Seen, Step, Upstream, answer, chunk, chunked_head

CONFIG = """
[providers.openai]
kind = "openai"
base_url = "{url}"
api_key = "sk-real"

[[prices]]
provider = "openai"
model = "gpt-4o*"
discount_percent = 7.5

[[keys]]
id = "ranking"
secret = "sk-ranking-12345"
team = "search"
workflow = "ranking"
tags = {{ env = "prod" }}

[[keys]]
id = "bot"
secret = "sk-bot-123456789"
team = "support"
workflow = "bot"
models = ["gpt-4o*", "o3-mini", "in-house*"]
"""
MODELS = ("gpt-4o", "gpt-4o-mini", "o3-mini", "in-house-9b")
Numbers = dict[str, int]
"""Nanodollars, calls that were not refused, input, output and cached tokens."""


def play(seen: Seen) -> Iterable[Step]:
    asked = json.loads(seen.body)
    number = int(asked["messages"][0]["content"])
    rng = random.Random(number)
    if number % 10 == 7:
        yield answer(b'{"error": {"message": "busy", "type": "server_error"}}', status=503)
        return
    tokens = rng.randrange(3000, 90_000)
    usage = {
        "prompt_tokens": tokens, "completion_tokens": rng.randrange(1, 2000),
        "prompt_tokens_details": {"cached_tokens": rng.choice((0, tokens // 3))},
    }  # fmt: skip
    if not asked.get("stream"):
        yield answer(json.dumps({"model": asked["model"], "choices": [], "usage": usage}).encode())
        return
    yield chunked_head("text/event-stream")
    for document in ({"choices": [{"delta": {"content": "x"}}], "usage": None}, {"choices": [], "usage": usage}):
        yield chunk(b"data: " + json.dumps({"model": asked["model"], **document}).encode() + b"\n\n")
    yield chunk(b"data: [DONE]\n\n") + LAST_CHUNK


def call(gateway: Gateway, number: int) -> None:
    rng = random.Random(1000 + number)
    secret = rng.choice(("sk-ranking-12345", "sk-bot-123456789"))
    model = rng.choice((*MODELS, "forbidden")) if secret == "sk-bot-123456789" else rng.choice(MODELS)
    body = {"model": model, "messages": [{"role": "user", "content": str(number)}], "stream": number % 3 == 0}
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    url = f"{gateway.url}/openai/v1/chat/completions"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answered:
            answered.read()
    except urllib.error.HTTPError as error:
        error.read()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with (
        Upstream(play) as upstream,
        Gateway(tmp_path_factory.mktemp("same"), CONFIG.format(url=upstream.url)) as running,
    ):
        for number in range(80):
            call(running, number)
        yield running


def days() -> tuple[str, str]:
    """Around all calls of this test, whatever the time."""
    today = datetime.now(UTC).date()
    return (today - timedelta(days=1)).isoformat(), (today + timedelta(days=1)).isoformat()


def the_page(gateway: Gateway, team: str, model: str) -> Numbers:
    """What the page's Explore view asks for and shows."""
    since, until = days()
    asked = gateway.get(f"/api/spend?team={team}&model={model}&since={since}&until={until}&by=workflow&limit=1000")
    assert len(asked["rows"]) == 1
    row = asked["rows"][0]
    assert all(row[name] == asked["total"][name] for name in ("cost_nanousd", "requests", "input_tokens"))
    return numbers(row, "input_tokens", "output_tokens")


def the_command_line(gateway: Gateway, team: str, model: str) -> Numbers:
    since, until = days()
    words = ("--by", "", "--where", f"team={team}", "--where", f"model={model}", "--since", since, "--until", until)
    (row,) = json.loads(gateway.cli("report", *words, "--format", "json").stdout)
    return numbers(row, "input_tokens", "output_tokens")


def the_api(gateway: Gateway, team: str, model: str) -> Numbers:
    """The records, added up."""
    found = gateway.records(team=team, model=model)
    kept = [one for one in found if one["outcome"] != "rejected"]
    total = {"cost_nanousd": sum(one["cost_nanousd"] for one in found), "requests": len(kept)}
    for name in ("input_tokens_total", "output_tokens_total", "cache_read_tokens"):
        total[name] = sum(one["usage"].get(name, 0) for one in kept)
    for one in kept:
        assert sum(line["nanousd"] for line in one["cost_lines"]) == one["cost_nanousd"]
    return numbers(total, "input_tokens_total", "output_tokens_total")


def the_export(gateway: Gateway, team: str, model: str) -> Numbers:
    since, until = days()
    text = gateway.cli("export", "focus", "--since", since, "--until", until).stdout
    rows = [row for row in csv.DictReader(io.StringIO(text)) if (row["SubAccountId"], row["x_Model"]) == (team, model)]
    used: dict[str, int] = {}
    for row in rows:
        used[row["SkuMeter"]] = used.get(row["SkuMeter"], 0) + int(Decimal(row["ConsumedQuantity"]))
    cached = used.get("Cached Input Tokens", 0)
    return {
        "cost_nanousd": sum(int(Decimal(row["BilledCost"]) * 10**9) for row in rows),
        "input": used.get("Input Tokens", 0) + cached,
        "output": used.get("Output Tokens", 0),
        "cached": cached,
    }


def prometheus(gateway: Gateway, team: str, model: str) -> Numbers:
    sums: dict[tuple[str, str], Decimal] = {}
    for family in text_string_to_metric_families(gateway.metrics()):
        for sample in family.samples:
            labels = sample.labels
            if labels.get("team") == team and labels.get("model") == model:
                key = (sample.name, labels.get("type") or labels.get("outcome") or "")
                sums[key] = sums.get(key, Decimal()) + Decimal(repr(sample.value))
    calls = sum(int(value) for (name, outcome), value in sums.items()
                if name == "spendgate_requests_total" and outcome != "rejected")  # fmt: skip
    return {
        # dollars as a floating-point number: nanodollars are exact up to some million dollars
        "cost_nanousd": round(sums["spendgate_cost_usd_total", ""] * 10**9),
        "requests": calls,
        **{
            shown: int(sums.get(("spendgate_tokens_total", name), 0))
            for shown, name in (("input", "input"), ("output", "output"), ("cached", "cache_read"))
        },
    }


def numbers(row: dict[str, Any], tokens_in: str, tokens_out: str) -> Numbers:
    return {
        "cost_nanousd": row["cost_nanousd"], "requests": row["requests"], "input": row[tokens_in],
        "output": row[tokens_out], "cached": row["cache_read_tokens"],
    }  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("team", ["search", "support"])
def test_page_command_line_api_export_and_prometheus_say_the_same(gateway: Gateway, team: str, model: str) -> None:
    page = the_page(gateway, team, model)
    assert page["requests"] > 0
    assert (page["cost_nanousd"] > 0) == (model != "in-house-9b")
    assert the_command_line(gateway, team, model) == page
    assert the_api(gateway, team, model) == page
    assert prometheus(gateway, team, model) == page
    export = the_export(gateway, team, model)
    assert export == {name: page[name] for name in export}


def test_refused_calls_are_told_apart_everywhere(gateway: Gateway) -> None:
    since, until = days()
    page = gateway.get(f"/api/spend?since={since}&until={until}")["total"]
    (report,) = json.loads(
        gateway.cli("report", "--by", "", "--since", since, "--until", until, "--format", "json").stdout
    )
    records = gateway.records(outcome="rejected")
    counted = sum(
        int(float(line.rpartition(" ")[2]))
        for line in gateway.metrics().splitlines()
        if line.startswith("spendgate_requests_total{") and 'outcome="rejected"' in line
    )
    assert page["rejected"] == report["rejected"] == len(records) == counted > 0


def test_a_correction_shows_on_page_command_line_and_export_alike(tmp_path: Path) -> None:
    with Upstream(play) as upstream, Gateway(tmp_path, CONFIG.format(url=upstream.url)) as gateway:
        for number in (1, 2, 3, 4, 5, 6):
            call(gateway, number)
        since, until = days()
        before = gateway.get(f"/api/spend?since={since}&until={until}")["total"]["cost_nanousd"]
        gateway.write(CONFIG.format(url=upstream.url).replace("7.5", "50"))
        gateway.cli("ledger", "reprice", "--since", since)
        page = gateway.get(f"/api/spend?since={since}&until={until}")["total"]["cost_nanousd"]
        (report,) = json.loads(
            gateway.cli("report", "--by", "", "--since", since, "--until", until, "--format", "json").stdout
        )
        text = gateway.cli("export", "focus", "--since", since, "--until", until).stdout
        export = sum(int(Decimal(row["BilledCost"]) * 10**9) for row in csv.DictReader(io.StringIO(text)))
        adjusted = 0
        for record in gateway.records():
            one = gateway.get(f"/api/requests/{record['request_id']}")
            adjusted += one["cost_nanousd"] + sum(entry["delta_nanousd"] for entry in one["adjustments"])
        assert page == report["cost_nanousd"] == export == adjusted < before
