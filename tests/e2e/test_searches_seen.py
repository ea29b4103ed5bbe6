"""Searches that an answer shows and no report counts: left out, unless a price says what they cost."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.gateway import Gateway
from support.upstream import Upstream, answer

SEARCH = {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "tower"}}
ANSWER = {
    "object": "response",
    "model": "gpt-4o-mini",
    "usage": {"input_tokens": 100, "output_tokens": 10},
    "output": [SEARCH, SEARCH],
}
REPORTED = {"input_tokens_total": 100, "output_tokens_total": 10}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Upstream(lambda _: [answer(json.dumps(ANSWER).encode())]) as upstream:
        provider = f'kind = "openai"\nbase_url = "{upstream.url}/v1"\napi_key = "real"\n'
        config = (
            f"[attribution]\nrequire_key = false\n[providers.listed]\n{provider}[providers.agreed]\n{provider}"
            '[[prices]]\nprovider = "agreed"\nmodel = "*"\nweb_search_seen_per_k = 10\n'
        )
        with Gateway(tmp_path_factory.mktemp("searches"), config) as running:
            yield running


def call(gateway: Gateway, provider: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    body = json.dumps({"model": "gpt-4o-mini", "input": "Hi", "tools": [{"type": "web_search"}]})
    connection.request("POST", f"/{provider}/responses", body, {"content-type": "application/json"})
    response = connection.getresponse()
    assert json.loads(response.read()) == ANSWER
    connection.close()
    record: dict[str, Any] = gateway.get("/api/requests/" + response.headers["x-spendgate-request-id"])
    return record


def test_they_are_billed_where_a_price_says_so_and_else_the_usage_is_what_was_reported(gateway: Gateway) -> None:
    listed, agreed = call(gateway, "listed"), call(gateway, "agreed")
    assert {name: count for name, count in listed["usage"].items() if count} == REPORTED
    assert {name: count for name, count in agreed["usage"].items() if count} == {**REPORTED, "web_searches_seen": 2}
    line = {"item": "web_search_seen", "quantity": 2, "unit": "request", "nanousd": 20_000_000}
    assert line in agreed["cost_lines"]
    assert line["item"] not in [one["item"] for one in listed["cost_lines"]]
    assert agreed["cost_nanousd"] == listed["cost_nanousd"] + 20_000_000 <= agreed["reserved_nanousd"]
