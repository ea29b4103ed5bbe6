"""Batches of Groq, Mistral and Together, through their SDKs: charged once, to those who began them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import reported_again
from groq import Groq
from mistralai.client import Mistral
from mistralai.client.errors import SDKError
from reported_again import KEY, OTHER_KEY, TEAMS, ask
from support.gateway import Gateway
from support.upstream import CLOSE, Seen, Step, Upstream, answer, chunk, chunked_head

SMALL_KEY = "sk-test-jobs-small"
USAGE = {"prompt_tokens": 1500, "completion_tokens": 900, "total_tokens": 2400}
EXACT = {"input_tokens_total": 3000, "output_tokens_total": 1800}
MODELS = {
    "groq": "openai/gpt-oss-20b",
    "mistral": "mistral-small-latest",
    "together": "openai/gpt-oss-120b",
}
COSTS = {
    "groq": (3000 * 75 + 1800 * 300) // 2,
    "mistral": (3000 * 150 + 1800 * 600) // 2,
    "together": 3000 * 150 + 1800 * 600,
}
"""Dollars a million tokens, in nanodollars; a batch costs half, but Together's discount stands in no list."""


def lines(model: str) -> list[dict[str, Any]]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "4"}, "finish_reason": "stop"}
    said = {"id": "c", "object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": USAGE}
    done = {"id": "batch_req_1", "custom_id": "a", "response": {"status_code": 200, "body": said}, "error": None}
    failed = {"custom_id": "b", "response": {"status_code": 400, "body": {"error": {"message": "no"}}}, "error": None}
    return [done, failed, done]


def as_file(model: str) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines(model))


class Provider:
    """Has one batch a provider, which is done at the second look."""

    def __init__(self) -> None:
        self.looks: dict[str, int] = {}

    def __call__(self, seen: Seen) -> Iterator[Step]:
        path, _, query = seen.target.partition("?")
        kind = path.split("/")[1]
        if path.endswith("/content"):
            results = as_file(MODELS[kind])
            if "/mixed/" in path:
                yield answer(results + as_file(MODELS["together"]), "application/octet-stream")
            elif "/out_1/" not in path:
                yield answer(json.dumps({"custom_id": "a", "body": {"model": "m"}}).encode() + b"\n", "text/plain")
            elif seen.header("x-break"):
                yield chunked_head("application/octet-stream") + chunk(results[: results.index(b"\n") + 1])
                yield CLOSE
            else:
                yield answer(results, "application/octet-stream")
            return
        looks = self.looks[kind] = self.looks.get(kind, -1) + 1
        job = getattr(self, kind)(looks > 1)
        if "inline=true" in query and looks > 1:
            job["outputs"] = lines(MODELS[kind])
        yield answer(json.dumps({"job": job} if kind == "together" and seen.method == "POST" else job).encode())

    def groq(self, done: bool) -> dict[str, Any]:
        return {"id": "batch_1", "object": "batch", "endpoint": "/v1/chat/completions", "input_file_id": "in_1",
                "completion_window": "24h", "created_at": 1, "status": "completed" if done else "in_progress",
                "output_file_id": "out_1" if done else None}  # fmt: skip

    def mistral(self, done: bool) -> dict[str, Any]:
        return {"id": "job_1", "object": "batch", "input_files": ["in_1"], "endpoint": "/v1/chat/completions",
                "model": MODELS["mistral"], "errors": [], "status": "SUCCESS" if done else "RUNNING", "outputs": None,
                "output_file": "out_1" if done else None, "created_at": 1, "total_requests": 3,
                "completed_requests": 3, "succeeded_requests": 2, "failed_requests": 1}  # fmt: skip

    def together(self, done: bool) -> dict[str, Any]:
        known = {"id": "tb_1", "input_file_id": "in_1", "endpoint": "/v1/chat/completions"}
        ended = {"status": "COMPLETED", "output_file_id": "out_1"}
        return {**known, **(ended if done else {"status": "IN_PROGRESS", "output_file_id": None})}


def config(upstream: Upstream) -> str:
    providers = "".join(
        f'[providers.{kind}]\nkind = "{kind}"\nbase_url = "{upstream.url}/{kind}"\napi_key = "sk-real"\n'
        for kind in MODELS
    )
    return f"""{providers}
{TEAMS}
[[keys]]
id = "small"
secret = "{SMALL_KEY}"
team = "ops"
workflow = "watch"
models = ["ministral-*"]
[[quotas]]
name = "model"
match = {{ model = "*" }}
per = ["team"]
usd = 100.0
window = "total"
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with Upstream(Provider()) as upstream, Gateway(tmp_path, config(upstream)) as running:
        yield running


def groq(gateway: Gateway, key: str = KEY) -> Groq:
    return Groq(api_key=key, base_url=f"{gateway.url}/groq", max_retries=0)


def mistral(gateway: Gateway, key: str = KEY) -> Mistral:
    return Mistral(api_key=key, server_url=f"{gateway.url}/mistral")


def charged(gateway: Gateway, kind: str, team: str = "research") -> dict[str, Any]:
    """The one record that costs anything, of the team that began the batch."""
    found = reported_again.charged(gateway)
    assert (found["team"], found["provider"], found["service_tier"]) == (team, kind, "batch")
    assert (found["usage"], found["cost_nanousd"]) == (EXACT, COSTS[kind])
    assert (found["model"], found["model_requested"]) == (MODELS[kind], MODELS[kind])
    return found


def test_the_file_of_a_batch_of_groqs_is_charged_to_those_who_began_it(gateway: Gateway) -> None:
    client, other = groq(gateway), groq(gateway, OTHER_KEY)
    made = client.batches.create(input_file_id="in_1", endpoint="/v1/chat/completions", completion_window="24h")
    assert client.batches.retrieve(made.id).status == "in_progress"
    # another looks and reads first
    assert other.batches.retrieve(made.id).output_file_id == "out_1"
    for one in (other, client, other):
        assert one.files.content("out_1").read() == as_file(MODELS["groq"])
    assert charged(gateway, "groq")["api"] == "download"


@pytest.mark.parametrize("inlined", [True, False])
def test_a_job_of_mistrals_is_charged_once_wherever_its_answers_are_read(gateway: Gateway, inlined: bool) -> None:
    client, other = mistral(gateway), mistral(gateway, OTHER_KEY)
    asked = {"custom_id": "a", "body": {"messages": [{"role": "user", "content": "2 + 2?"}]}}
    made = client.batch.jobs.create(endpoint="/v1/chat/completions", requests=[asked], model=MODELS["mistral"])
    assert client.batch.jobs.get(job_id=made.id).status == "RUNNING"
    for one in (other, client):
        assert len(one.batch.jobs.get(job_id=made.id, inline=inlined).outputs or []) == (3 if inlined else 0)
        assert one.files.download(file_id="out_1").read() == as_file(MODELS["mistral"])
    assert charged(gateway, "mistral")["api"] == ("batches" if inlined else "download")


def test_a_key_begins_no_job_of_a_model_that_it_may_not_use(gateway: Gateway) -> None:
    small = mistral(gateway, SMALL_KEY)
    body = {"messages": [{"role": "user", "content": "2 + 2?"}]}
    for model, more in ((MODELS["mistral"], {}), ("ministral-8b-latest", {"model": MODELS["mistral"]})):
        with pytest.raises(SDKError, match="may not use model"):
            small.batch.jobs.create(
                endpoint="/v1/chat/completions", requests=[{"custom_id": "a", "body": {**body, **more}}], model=model
            )
    asked = {"custom_id": "a", "body": body}
    small.batch.jobs.create(endpoint="/v1/chat/completions", requests=[asked], model="ministral-8b-latest")


def test_the_file_of_a_batch_of_togethers_is_charged_when_it_is_read_whole(gateway: Gateway) -> None:
    ask(gateway, "POST", "/together/v1/batches", {})
    for _ in range(2):
        ask(gateway, "GET", "/together/v1/batches/tb_1")
    assert ask(gateway, "GET", "/together/v1/files/out_1/content", key=OTHER_KEY, **{"x-break": "yes"})
    assert not any(one["cost_nanousd"] for one in gateway.records())
    for key in (OTHER_KEY, KEY):
        ask(gateway, "GET", "/together/v1/files/out_1/content", key=key)
    charged(gateway, "together")


def test_a_file_of_which_no_batch_is_known_is_charged_where_it_is_read(gateway: Gateway) -> None:
    ask(gateway, "GET", "/groq/openai/v1/files/in_1/content")
    for key in (OTHER_KEY, KEY):
        ask(gateway, "GET", "/groq/openai/v1/files/out_1/content", key=key)
    charged(gateway, "groq", team="ops")


def test_each_model_of_a_file_is_charged_at_its_own_price(gateway: Gateway) -> None:
    for key in (KEY, OTHER_KEY):
        ask(gateway, "GET", "/groq/openai/v1/files/mixed/content", key=key)
    charges = {one["model"]: (one["team"], one["cost_nanousd"]) for one in gateway.records() if one["cost_nanousd"]}
    both = {MODELS["groq"]: COSTS["groq"], MODELS["together"]: COSTS["together"] // 2}
    assert charges == {model: ("research", cost) for model, cost in both.items()}
    assert sum(bool(one["cost_nanousd"]) for one in gateway.records()) == 2
    assert " 0 differences" in gateway.cli("quotas", "verify").stdout
