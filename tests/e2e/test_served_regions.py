"""Where a call is served is told by the request's path or the provider's host, and what it costs there is charged."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import trustme
from support.gateway import Gateway
from support.proxied import Proxied
from support.upstream import Upstream, answer

KEY = "sk-test-regions"
KEYS = f"""
[[keys]]
id = "k"
secret = "{KEY}"
team = "t"
workflow = "w"
"""
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5-20250929", "content": [],
           "stop_reason": "end_turn", "usage": {"input_tokens": 1000, "output_tokens": 100}}  # fmt: skip
CHAT = {"id": "c", "object": "chat.completion", "model": "gpt-5.4-mini", "choices": [],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}}  # fmt: skip
ASKED = {"max_tokens": 200, "messages": [{"role": "user", "content": "Hello"}]}
RAW = "/publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict"


PLACELESS = {**MESSAGE, "usage": {**MESSAGE["usage"], "inference_geo": "not_available"}}


def call(gateway: Gateway, path: str, body: dict[str, Any]) -> None:
    request = urllib.request.Request(f"{gateway.url}{path}", json.dumps(body).encode(), method="POST")
    request.add_header("authorization", f"Bearer {KEY}")
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=20) as got:
        assert got.status == 200
        got.read()


@pytest.mark.parametrize(
    ("location", "said", "region", "cost"),
    [
        ("global", MESSAGE, "global", 4_500_000),
        ("europe-west1", MESSAGE, "europe-west1", 4_950_000),
        ("us", MESSAGE, "us", 4_950_000),
        ("europe-west1", PLACELESS, "europe-west1", 4_950_000),
    ],
)
def test_claude_on_vertex_costs_a_tenth_more_but_at_the_global_endpoint(
    tmp_path: Path, location: str, said: dict[str, Any], region: str, cost: int
) -> None:
    with Upstream(lambda _: iter([answer(json.dumps(said).encode())])) as upstream:
        provider = f'[providers.vertex]\nkind = "vertex"\nbase_url = "{upstream.url}"\napi_key = "ya29.real"\n'
        with Gateway(tmp_path, provider + KEYS) as gateway:
            body = {"anthropic_version": "vertex-2023-10-16", **ASKED}
            call(gateway, f"/vertex/v1/projects/p/locations/{location}{RAW}", body)
            (record,) = gateway.records()
    assert record["region"] == region
    assert record["cost_nanousd"] == cost == sum(line["nanousd"] for line in record["cost_lines"])
    assert record["reserved_nanousd"] >= cost


@pytest.mark.parametrize(
    ("host", "region", "cost"), [("eu.api.openai.com", "eu", 1_320_000), ("api.openai.com", "", 1_200_000)]
)
def test_openais_regional_hosts_cost_a_tenth_more(tmp_path: Path, host: str, region: str, cost: int) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with Proxied(authority, answer(json.dumps(CHAT).encode()), host) as proxied:
        provider = f"""
[providers.openai]
kind = "openai"
base_url = "https://{host}/v1"
api_key = "sk-real"
ca_file = "ca.pem"
proxy = "http://127.0.0.1:{proxied.port}"
"""
        with Gateway(tmp_path, provider + KEYS) as gateway:
            call(gateway, "/openai/chat/completions", {"model": "gpt-5.4-mini", **ASKED})
            (record,) = gateway.records()
    assert record.get("region", "") == region
    assert record["cost_nanousd"] == cost == sum(line["nanousd"] for line in record["cost_lines"])
    assert record["reserved_nanousd"] >= cost
