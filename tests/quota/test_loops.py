"""Loops of the provider's own tools, under rules that let only calls through whose cost has a proven bound."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, answer

from gateway.wire.tool_limits import limited

KEY = "sk-test-loops"
CONFIG = """
[providers.anthropic]
kind = "anthropic"
base_url = "{url}"
api_key = "sk-real"

[providers.openai]
kind = "openai"
base_url = "{url}"
api_key = "sk-real"

[providers.perplexity]
kind = "perplexity"
base_url = "{url}"
api_key = "sk-real"

[[keys]]
id = "k"
secret = "sk-test-loops"
team = "t"
workflow = "w"

[[prices]]
provider = "*"
model = "*"
input_per_mtok = 1.0
output_per_mtok = 1.0

[[models]]
provider = "*"
model = "*"
context_window = 100000
max_output = 1000

[[quotas]]
name = "budget"
usd = {usd}
window = "total"
unbounded = "{unbounded}"
clamp = {clamp}
"""
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "Fine."}], "usage": {"input_tokens": 9, "output_tokens": 2},
}  # fmt: skip
RESPONSE = {
    "id": "resp_1", "object": "response", "created_at": 17, "model": "gpt", "status": "completed", "output": [],
    "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    "usage": {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11,
              "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}},
}  # fmt: skip


def script(seen: Seen) -> Iterator[Step]:
    yield answer(json.dumps(MESSAGE if "messages" in seen.target else RESPONSE).encode())


def search(gateway: Gateway, **tool: Any) -> Any:
    client = anthropic.Anthropic(base_url=gateway.url + "/anthropic", api_key=KEY)
    return client.messages.with_raw_response.create(
        model="claude", max_tokens=100, messages=[{"role": "user", "content": "Any news?"}], tools=[{**SEARCH, **tool}]
    )


def respond(gateway: Gateway, **more: Any) -> Any:
    client = openai.OpenAI(base_url=gateway.url + "/openai/v1", api_key=KEY)
    return client.responses.with_raw_response.create(
        model="gpt", max_output_tokens=100, input="Any news?", tools=[{"type": "web_search"}], **more
    )


def config(upstream: Upstream, usd: float, unbounded: str = "refuse", clamp: str = "false") -> str:
    return CONFIG.format(url=upstream.url, usd=usd, unbounded=unbounded, clamp=clamp)


def test_by_default_a_loop_of_tools_passes_as_it_came(tmp_path: Path) -> None:
    with Upstream(script) as upstream, Gateway(tmp_path, config(upstream, 2, "allow")) as gateway:
        assert "x-spendgate-clamped" not in search(gateway).headers
        assert "x-spendgate-clamped" not in respond(gateway).headers
        assert all("max_uses" not in seen.body.decode() for seen in upstream.seen)
        held = {record["provider"]: record["reserved_input_tokens"] for record in gateway.records()}
        assert held == {"anthropic": 100_000, "openai": 100_000}


@pytest.mark.parametrize("ask", [search, respond])
def test_what_has_no_end_is_refused_in_the_providers_shape_and_not_tried_again(tmp_path: Path, ask: Any) -> None:
    with Upstream(script) as upstream, Gateway(tmp_path, config(upstream, 1000)) as gateway:
        wanted = anthropic.RateLimitError if ask is search else openai.RateLimitError
        with pytest.raises(wanted) as refused:
            ask(gateway)
        assert "max_uses" in str(refused.value) if ask is search else "max_tool_calls" in str(refused.value)
        [record] = gateway.records()
        assert (record["outcome"], record["refused_by"]) == ("rejected", "budget")
        assert not upstream.seen


def test_a_limit_of_the_request_holds_the_context_of_every_turn(tmp_path: Path) -> None:
    with Upstream(script) as upstream, Gateway(tmp_path, config(upstream, 1000)) as gateway:
        assert "x-spendgate-clamped" not in search(gateway, max_uses=3).headers
        assert "x-spendgate-clamped" not in respond(gateway, max_tool_calls=4).headers
        held = {record["provider"]: record["reserved_input_tokens"] for record in gateway.records()}
        assert held == {"anthropic": 10 * 100_000, "openai": 5 * 100_000}


def test_with_a_clamp_the_gateway_sets_the_limit_and_says_so(tmp_path: Path) -> None:
    with Upstream(script) as upstream, Gateway(tmp_path, config(upstream, 1000, clamp="true")) as gateway:
        assert search(gateway).headers["x-spendgate-clamped"] == "max_uses=30"
        assert respond(gateway).headers["x-spendgate-clamped"] == "max_tool_calls=30"
        said, asked = (json.loads(seen.body) for seen in upstream.seen)
        assert said["tools"] == [{**SEARCH, "max_uses": 30}]
        assert asked["max_tool_calls"] == 30


def test_the_limit_is_as_large_as_what_is_left_allows(tmp_path: Path) -> None:
    with Upstream(script) as upstream, Gateway(tmp_path, config(upstream, 1.5, clamp="true")) as gateway:
        # 11 contexts of 0.10 $ fit, 31 don't
        assert respond(gateway).headers["x-spendgate-clamped"] == "max_tool_calls=10"
        assert json.loads(upstream.seen[0].body)["max_tool_calls"] == 10
        [record] = gateway.records()
        assert record["reserved_nanousd"] <= 1_500_000_000


def test_what_nothing_in_the_request_can_bound_is_refused_with_a_clamp_too(tmp_path: Path) -> None:
    with Upstream(script) as upstream, Gateway(tmp_path, config(upstream, 1000, clamp="true")) as gateway:
        client = openai.OpenAI(base_url=gateway.url + "/perplexity", api_key=KEY)
        with pytest.raises(openai.RateLimitError, match="deep research"):
            client.chat.completions.create(
                model="sonar-deep-research", messages=[{"role": "user", "content": "Any news?"}]
            )
        assert not upstream.seen


def test_only_the_limit_is_added_and_only_where_it_is_missing() -> None:
    body = (
        b'{ "tools" : [ {"type":"web_search_1" } ,\n {"name":"x","input_schema":{}}, '
        b'{"type":"web_search_1","max_uses":2}],"a":1}'
    )
    wanted = (
        b'{ "tools" : [ {"max_uses":30,"type":"web_search_1" } ,\n {"name":"x","input_schema":{}}, '
        b'{"type":"web_search_1","max_uses":2}],"a":1}'
    )
    assert limited(body, "max_uses", 30) == wanted
    assert limited(b'{"tools":[],"tools":[]}', "max_uses", 30) is None
    assert limited(b'{"tools":7}', "max_uses", 30) is None
    assert limited(b'{"max_tool_calls":null}', "max_tool_calls", 5) == b'{"max_tool_calls":5}'
    assert limited(b"{}", "other", 5) is None
