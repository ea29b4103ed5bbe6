"""Other models that a request names: none that its key may not use, and what they may cost is held with the call."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pytest
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, answer

KEY = "sk-test-others"
CONFIG = """
[providers.anthropic]
kind = "anthropic"
base_url = "{url}"
api_key = "sk-real"

[providers.openai]
kind = "openai"
base_url = "{url}"
api_key = "sk-real"

[providers.openrouter]
kind = "openrouter"
base_url = "{url}"
api_key = "sk-real"

[providers.perplexity]
kind = "perplexity"
base_url = "{url}"
api_key = "sk-real"

[[keys]]
id = "k"
secret = "sk-test-others"
team = "t"
workflow = "w"
{models}

[[prices]]
provider = "*"
model = "small*"
input_per_mtok = 1.0
output_per_mtok = 1.0

[[prices]]
provider = "*"
model = "large*"
input_per_mtok = 10.0
output_per_mtok = 10.0

[[models]]
provider = "*"
model = "*"
context_window = 1000000
max_output = 10000

[[quotas]]
name = "budget"
usd = {usd}
window = "total"
"""
ONLY_SMALL = 'models = ["small*"]'
MESSAGE = {"model": "small-1", "max_tokens": 1000, "messages": [{"role": "user", "content": "hi"}]}
RESPONSE = {"model": "small-1", "max_output_tokens": 1000, "input": "hi"}
CHAT = {"model": "small-1", "max_tokens": 1000, "messages": [{"role": "user", "content": "hi"}]}
MESSAGES, RESPONSES, ROUTED = "/anthropic/v1/messages", "/openai/v1/responses", "/openrouter/api/v1/chat/completions"
ADVISOR = {"type": "advisor_20260301", "name": "advisor", "model": "large-1"}


def script(seen: Seen) -> Iterator[Step]:
    usage = {"input_tokens": 9, "output_tokens": 2}
    yield answer(json.dumps({"type": "message", "model": "small-1", "usage": usage}).encode())


def config(upstream: Upstream, usd: float = 1000.0, models: str = "") -> str:
    return CONFIG.format(url=upstream.url, usd=usd, models=models)


def call(gateway: Gateway, path: str, body: dict[str, Any]) -> tuple[int, str]:
    connection = http.client.HTTPConnection(gateway.url.partition("//")[2], timeout=20)
    connection.request("POST", path, json.dumps(body), {"x-spendgate-key": KEY, "content-type": "application/json"})
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    return reply.status, text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (MESSAGES, {**MESSAGE, "fallbacks": [{"model": "small-2"}, {"model": "large-1"}]}),
        (MESSAGES, {**MESSAGE, "fallbacks": "default"}),
        (MESSAGES, {**MESSAGE, "tools": [ADVISOR]}),
        (RESPONSES, {**RESPONSE, "tools": [{"type": "image_generation", "model": "large-1"}]}),
        (RESPONSES, {**RESPONSE, "tools": [{"type": "image_generation"}]}),
        (RESPONSES, {"prompt": {"id": "pmpt_1"}}),
        ("/openai/v1/images/generations", {"model": "small-1", "prompt": "hi", "svg": {"model": "large-1"}}),
        (ROUTED, {**CHAT, "models": ["small-2", "large-1"]}),
        (ROUTED, {**CHAT, "preset": "house"}),
        (ROUTED, {**CHAT, "model": "small-1@preset/house"}),
        (ROUTED, {**CHAT, "plugins": [{"id": "fusion", "analysis_models": ["large-1"]}]}),
        (ROUTED, {**CHAT, "tools": [{"type": "openrouter:advisor", "parameters": {"model": "large-1"}}]}),
        ("/openrouter/api/v1/messages", {**MESSAGE, "models": ["large-1"]}),
        ("/openai/v1/videos", {"model": "large-1", "prompt": "hi"}),
        (MESSAGES + "/batches", {"requests": [{"params": MESSAGE}, {"params": {**MESSAGE, "model": "large-1"}}]}),
        (MESSAGES + "/batches", {"requests": [{"params": {**MESSAGE, "fallbacks": [{"model": "large-1"}]}}]}),
        ("/perplexity/v1/agent", {**RESPONSE, "models": ["large-1"]}),
        ("/perplexity/v1/agent", {"input": "hi", "preset": "pro-search"}),
    ],
)
def test_a_model_that_a_key_may_not_use_may_not_work_beside_one_that_it_may(
    tmp_path: Path, path: str, body: dict[str, Any]
) -> None:
    with Upstream(script) as upstream, Gateway(tmp_path, config(upstream, models=ONLY_SMALL)) as gateway:
        status, text = call(gateway, path, body)
        assert (status, "may not use" in text) == (403, True)
        assert not upstream.seen
        allowed = {**MESSAGE, "fallbacks": [{"model": "small-2"}], "tools": [{**ADVISOR, "model": "small-3"}]}
        assert call(gateway, MESSAGES, allowed)[0] == 200
        assert call(gateway, MESSAGES + "/batches", {"requests": [{"params": MESSAGE}]})[0] == 200
        assert call(gateway, "/openai/v1/vector_stores", {"name": "papers"})[0] == 200


def held(gateway: Gateway, path: str, body: dict[str, Any]) -> dict[str, Any]:
    assert call(gateway, path, body)[0] == 200
    return max(gateway.records(), key=lambda record: record["started_at"])


def test_what_a_fallback_may_cost_is_held_beside_the_model_before_it(tmp_path: Path) -> None:
    with Upstream(script) as upstream, Gateway(tmp_path, config(upstream)) as gateway:
        body = {**MESSAGE, "fallbacks": [{"model": "large-1"}, {"model": "large-2", "max_tokens": 4000}]}
        read = len(json.dumps(body)) + 1024
        record = held(gateway, MESSAGES, body)
        assert record["reserved_output_tokens"] == 1000 + 1000 + 4000
        # each reads what those before it have said
        assert record["reserved_input_tokens"] == read + (read + 1000) + (read + 2000)
        own, others = read + 1000, read + 1000 + 1000 + read + 2000 + 4000
        assert record["reserved_nanousd"] == 1000 * own + 10_000 * others


def test_of_models_of_which_one_answers_the_dearest_is_held(tmp_path: Path) -> None:
    with Upstream(script) as upstream, Gateway(tmp_path, config(upstream)) as gateway:
        one, several = (held(gateway, ROUTED, {**CHAT, **more}) for more in ({}, {"models": ["small-2", "large-1"]}))
        assert several["reserved_output_tokens"] == one["reserved_output_tokens"] == 1000
        tokens = several["reserved_input_tokens"] + 1000
        assert several["reserved_nanousd"] == 10_000 * tokens


def test_pictures_of_a_response_are_held_at_the_price_of_their_own_model(tmp_path: Path) -> None:
    with Upstream(script) as upstream, Gateway(tmp_path, config(upstream)) as gateway:
        tool = {"type": "image_generation", "model": "large-1"}
        plain = held(gateway, RESPONSES, {**RESPONSE, "tools": [{"type": "file_search"}]})
        some, two = (
            held(gateway, RESPONSES, {**RESPONSE, "tools": [tool], **more}) for more in ({}, {"max_tool_calls": 2})
        )
        assert some["reserved_nanousd"] - plain["reserved_nanousd"] == 4 * 2 * 8192 * 10_000
        assert two["reserved_nanousd"] - plain["reserved_nanousd"] == 2 * 2 * 8192 * 10_000


def test_a_call_whose_fallback_does_not_fit_is_refused(tmp_path: Path) -> None:
    with Upstream(script) as upstream, Gateway(tmp_path, config(upstream, usd=0.01)) as gateway:
        assert call(gateway, MESSAGES, MESSAGE)[0] == 200
        assert call(gateway, MESSAGES, {**MESSAGE, "fallbacks": [{"model": "large-1"}]})[0] == 429


def test_every_use_of_an_advisor_is_held(tmp_path: Path) -> None:
    with Upstream(script) as upstream, Gateway(tmp_path, config(upstream)) as gateway:
        record = held(gateway, MESSAGES, {**MESSAGE, "tools": [{**ADVISOR, "max_uses": 3, "max_tokens": 2000}]})
        assert record["reserved_output_tokens"] == 1000 + 3 * 2000
        assert record["reserved_input_tokens"] == 1_000_000 + 3 * 1_000_000
        assert held(gateway, MESSAGES, {**MESSAGE, "tools": [ADVISOR]})["reserved_output_tokens"] == 1000 + 10_000


def test_a_conversation_that_may_be_compacted_is_held_twice(tmp_path: Path) -> None:
    edits = {"edits": [{"type": "compact_20260112"}]}
    with Upstream(script) as upstream, Gateway(tmp_path, config(upstream)) as gateway:
        short = {**MESSAGE, "context_management": edits}
        assert held(gateway, MESSAGES, short)["reserved_output_tokens"] == 1000
        long = {**short, "messages": [{"role": "user", "content": "x" * 50_000}]}
        record = held(gateway, MESSAGES, long)
        assert record["reserved_output_tokens"] == 1000 + 10_000
        assert record["reserved_input_tokens"] == 2 * (len(json.dumps(long)) + 1024)


LARGE = """
[[quotas]]
name = "large"
match = {{ model = "large*" }}
tokens = {tokens}
window = "total"
"""


def of_large(gateway: Gateway, name: str) -> int:
    """What the quota of the large models counts as used, or holds."""
    return int(gateway.value(f"spendgate_quota_{name}", quota="large", unit="tokens"))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_quota_of_another_model_alone_holds_what_that_one_may_use_while_the_call_is_under_way(
    tmp_path: Path, workers: int
) -> None:
    body = {**MESSAGE, "fallbacks": [{"model": "large-1"}]}
    most = len(json.dumps(body)) + 1024 + 1000 + 1000
    """What the fallback reads, what was said before it, and what it may say."""
    go_on = threading.Event()

    def slow(_: Seen) -> Iterator[Step]:
        while not go_on.is_set():
            yield 0.02
        declined = {"type": "message", "model": "small-1", "input_tokens": 9, "output_tokens": 1}
        said = {"type": "fallback_message", "model": "large-1", "input_tokens": 9, "output_tokens": 2}
        usage = {"input_tokens": 9, "output_tokens": 2, "iterations": [declined, said]}
        yield answer(json.dumps({"type": "message", "model": "large-1", "usage": usage}).encode())

    with Upstream(slow) as upstream, ThreadPoolExecutor(4) as pool:
        settings = f"[server]\nworkers = {workers}\n" + config(upstream) + LARGE.format(tokens=5 * most // 2)
        with Gateway(tmp_path, settings) as gateway:
            calls = [pool.submit(call, gateway, MESSAGES, body) for _ in range(4)]
            first, second = itertools.islice(as_completed(calls, timeout=20), 2)
            assert {first.result()[0], second.result()[0]} == {429}
            assert 'Quota \\"large\\" has no room' in first.result()[1]
            deadline = time.monotonic() + 10
            while of_large(gateway, "reserved") != 2 * most:
                assert time.monotonic() < deadline, of_large(gateway, "reserved")
                time.sleep(0.05)
            go_on.set()
            assert sorted(one.result()[0] for one in calls) == [200, 200, 429, 429]
            while of_large(gateway, "reserved"):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            # all that was held is there again, for calls of that model and for those that name it
            for again in (body, {**MESSAGE, "model": "large-1"}):
                assert call(gateway, MESSAGES, again)[0] == 200
            assert " 0 differences" in gateway.cli("quotas", "verify").stdout
