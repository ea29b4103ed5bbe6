"""Another model that worked on an answer has a record of its own, at its own price."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, answer

KEY = "sk-test-beside"
USAGE = {
    "input_tokens": 1000,
    "output_tokens": 100,
    "iterations": [
        {"type": "message", "input_tokens": 1000, "output_tokens": 100},
        {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 2000, "output_tokens": 200},
    ],
}
OWN = 1000 * 3000 + 100 * 15_000
ADVICE = 2000 * 5000 + 200 * 25_000
"""Claude Sonnet 4.5: 3 and 15 dollars a million tokens; Claude Opus 4.8: 5 and 25; in nanodollars."""


def provider(seen: Seen) -> Iterator[Step]:
    yield answer(json.dumps({"type": "message", "model": "claude-sonnet-4-5", "usage": USAGE}).encode())


def config(upstream: Upstream) -> str:
    return f"""
[providers.anthropic]
kind = "anthropic"
base_url = "{upstream.url}"
api_key = "sk-real"
[[keys]]
id = "beside"
secret = "{KEY}"
team = "research"
workflow = "evals"
[[quotas]]
name = "all"
usd = 10.0
window = "total"
[[quotas]]
name = "opus"
match = {{ model = "claude-opus*" }}
tokens = 1000000
window = "total"
"""


def test_an_advisor_is_charged_beside_the_message(tmp_path: Path) -> None:
    with Upstream(provider) as upstream, Gateway(tmp_path, config(upstream)) as gateway:
        connection = http.client.HTTPConnection(gateway.url.partition("//")[2], timeout=20)
        for _ in range(2):
            connection.request("POST", "/anthropic/v1/messages",
                               json.dumps({"model": "claude-sonnet-4-5", "max_tokens": 50, "messages": []}),
                               {"x-api-key": KEY, "content-type": "application/json"})  # fmt: skip
            reply = connection.getresponse()
            reply.read()
            assert float(reply.headers["x-spendgate-cost-usd"]) == (OWN + ADVICE) / 1e9
        connection.close()
        found = sorted(
            (one["api"], one["model"], one["cost_nanousd"], one["usage_source"]) for one in gateway.records()
        )
        assert (
            found
            == [("advisor", "claude-opus-4-8", ADVICE, "response")] * 2
            + [("messages", "claude-sonnet-4-5", OWN, "response")] * 2
        )
        quotas = {one["quota"]: one["used"] for one in gateway.get("/api/quotas")["quotas"]}
        assert quotas["opus"] == 2 * 2200
        assert round(quotas["all"] * 1e9) == 2 * (OWN + ADVICE)
        assert "agrees with itself" in gateway.cli("ledger", "verify").stdout
        gateway.cli("quotas", "verify")


def test_a_refusal_before_any_output_is_recorded_and_costs_nothing(tmp_path: Path) -> None:
    usage = {"input_tokens": 1000, "output_tokens": 0}
    refusal = {"type": "message", "model": "claude-sonnet-4-5", "stop_reason": "refusal", "content": [], "usage": usage}

    def refuses(seen: Seen) -> Iterator[Step]:
        yield answer(json.dumps(refusal).encode())

    with Upstream(refuses) as upstream, Gateway(tmp_path, config(upstream)) as gateway:
        connection = http.client.HTTPConnection(gateway.url.partition("//")[2], timeout=20)
        connection.request("POST", "/anthropic/v1/messages",
                           json.dumps({"model": "claude-sonnet-4-5", "max_tokens": 50, "messages": []}),
                           {"x-api-key": KEY, "content-type": "application/json"})  # fmt: skip
        reply = connection.getresponse()
        reply.read()
        assert float(reply.headers["x-spendgate-cost-usd"]) == 0
        connection.close()
        (record,) = gateway.records()
        assert (record["usage"]["input_tokens_total"], record["usage_source"]) == (1000, "response")
        assert (record["cost_nanousd"], record["cost_lines"], record["priced"]) == (0, [], True)
        assert record["price"] == "waived: refused before any output"
        quotas = {one["quota"]: one["used"] for one in gateway.get("/api/quotas")["quotas"]}
        assert quotas["all"] == 0
        assert "agrees with itself" in gateway.cli("ledger", "verify").stdout
