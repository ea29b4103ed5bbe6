"""What is begun by one call and fetched by another: chat completions and videos."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reported_again import KEY, OTHER_KEY, TEAMS, ask, counted, spent
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, answer

LIMITS = """
[[quotas]]
name = "all"
usd = 100.0
window = "total"
[[quotas]]
name = "tight"
match = { team = "ops" }
usd = 0.01
window = "total"
"""
ASKED = {"model": "sonar-deep-research", "messages": [{"role": "user", "content": "What is new?"}], "max_tokens": 900}
USAGE = {"prompt_tokens": 10, "completion_tokens": 1000, "total_tokens": 1010, "citation_tokens": 490,
         "num_search_queries": 3, "reasoning_tokens": 2000, "cost": {"total_cost": 0.03}}  # fmt: skip
RESEARCH = {"input_tokens_total": 500, "output_tokens_total": 3000, "reasoning_tokens": 2000, "web_search_requests": 3}
DEFERRED = {"model": "grok-4", "messages": [{"role": "user", "content": "Hi"}], "deferred": True}
GROK = {"input_tokens_total": 100, "output_tokens_total": 140, "reasoning_tokens": 100}
GROK_COST = 100 * 3000 + 140 * 15_000
RESEARCH_COST = 500 * 2000 + 1000 * 8000 + 2000 * 3000 + 3 * 5_000_000


class Provider:
    """Done at the second look."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self, seen: Seen) -> Iterator[Step]:
        if seen.method == "GET":
            self.looks += 1
        if "/videos" in seen.target:
            told = self.video() if seen.target.startswith("/api/") else self.groks_video(seen)
            yield answer(json.dumps(told).encode(), status=202 if seen.method == "POST" else 200)
        elif "deferred" in seen.target or b"deferred" in seen.body:
            yield self.grok(seen)
        else:
            yield answer(json.dumps(self.research(seen)).encode())

    def groks_video(self, seen: Seen) -> dict[str, Any]:
        if seen.method == "POST":
            return {"request_id": "job-1"}
        if self.looks < 2:
            return {"status": "pending", "progress": 40}
        return {"status": "done", "video": {"url": "u", "duration": 1}, "model": "grok-imagine-video",
                "usage": {"cost_in_usd_ticks": 5_000_000_000}, "progress": 100}  # fmt: skip

    def video(self) -> dict[str, Any]:
        told: dict[str, Any] = {"id": "job-1", "polling_url": "/api/v1/videos/job-1", "status": "pending"}
        if self.looks > 1:
            told |= {"status": "completed", "usage": {"cost": 0.5, "is_byok": False}, "unsigned_urls": ["u"]}
        return told

    def grok(self, seen: Seen) -> Step:
        if seen.method == "POST":
            return answer(b'{"request_id":"r-1"}')
        if self.looks < 2:
            return answer(b"", status=202)
        usage = {"prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 240,
                 "completion_tokens_details": {"reasoning_tokens": 100}}  # fmt: skip
        said = {"id": "c-9", "object": "chat.completion", "model": "grok-4-0709", "choices": [], "usage": usage}
        return answer(json.dumps(said).encode())

    def research(self, seen: Seen) -> dict[str, Any]:
        states = ["CREATED", "IN_PROGRESS", "FAILED" if "fail" in seen.target else "COMPLETED"]
        done = self.looks > 1
        model = "sonar-deep-research"
        said = {"id": "c-1", "model": model, "object": "chat.completion", "choices": [], "usage": USAGE}
        state = states[min(self.looks, 2)]
        return {"id": "a-1", "model": model, "created_at": 1, "status": state, "error_message": None,
                "response": said if done and state == "COMPLETED" else None}  # fmt: skip


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with Upstream(Provider()) as upstream:
        providers = "".join(
            f'[providers.{kind}]\nkind = "{kind}"\nbase_url = "{upstream.url}"\napi_key = "sk-real"\n'
            for kind in ("perplexity", "xai", "openrouter")
        )
        with Gateway(tmp_path, providers + TEAMS + LIMITS) as running:
            yield running


@pytest.mark.parametrize(
    ("begin", "asked", "fetch", "usage", "cost"),
    [
        ("/perplexity/async/chat/completions", {"request": ASKED}, "/perplexity/async/chat/completions/a-1",
         RESEARCH, RESEARCH_COST),
        ("/perplexity/v1/async/sonar", {"request": ASKED}, "/perplexity/v1/async/sonar/a-1", RESEARCH, RESEARCH_COST),
        ("/xai/v1/chat/completions", DEFERRED, "/xai/v1/chat/deferred-completion/r-1", GROK, GROK_COST),
    ],
    ids=["Perplexity", "Perplexity, by its newer path", "xAI"],
)  # fmt: skip
def test_what_was_begun_is_charged_once_by_what_the_fetched_answer_reports(
    gateway: Gateway, begin: str, asked: dict[str, Any], fetch: str, usage: dict[str, int], cost: int
) -> None:
    ask(gateway, "POST", begin, asked)
    (began,) = gateway.records()
    model = asked.get("request", asked)["model"]
    assert (began["model_requested"], began["usage_source"]) == (model, "estimated")
    assert counted(gateway, "all") == began["reserved_nanousd"] > cost
    for key in (KEY, OTHER_KEY, KEY):
        ask(gateway, "GET", fetch, key=key)
    (charged,) = [one for one in gateway.records() if one["usage_source"] == "response"]
    assert (charged["usage"], charged["cost_nanousd"], charged["team"]) == (usage, cost, "research")
    assert (charged["model_requested"], spent(gateway), counted(gateway, "all")) == (model, cost, cost)
    assert " 0 differences" in gateway.cli("quotas", "verify").stdout
    assert "agrees with itself" in gateway.cli("ledger", "verify").stdout


@pytest.mark.parametrize(
    ("begin", "model", "fetch"),
    [
        ("/openrouter/api/v1/videos", "google/veo-3.1", "/openrouter/api/v1/videos/job-1"),
        ("/xai/v1/videos/generations", "grok-imagine-video", "/xai/v1/videos/job-1"),
    ],
)
def test_a_video_costs_what_its_provider_says_once(gateway: Gateway, begin: str, model: str, fetch: str) -> None:
    ask(gateway, "POST", begin, {"model": model, "prompt": "a bird"})
    (began,) = gateway.records()
    assert (began["api"], began["model_requested"], began["priced"]) == ("videos", model, False)
    for key in (OTHER_KEY, KEY, OTHER_KEY, KEY):
        ask(gateway, "GET", fetch, key=key)
    (charged,) = [one for one in gateway.records() if one["usage_source"] == "response"]
    assert (charged["usage"], charged["cost_nanousd"], charged["team"]) == ({}, 500_000_000, "research")
    assert (charged["model_requested"], charged["price"]) == (model, "reported by the provider")
    assert spent(gateway) == counted(gateway, "all") == 500_000_000
    assert " 0 differences" in gateway.cli("quotas", "verify").stdout
    assert "agrees with itself" in gateway.cli("ledger", "verify").stdout


def test_a_list_of_what_makes_videos_is_no_video(gateway: Gateway) -> None:
    ask(gateway, "GET", "/openrouter/api/v1/videos/models")
    assert [one["api"] for one in gateway.records()] == ["other"]


def test_one_that_failed_costs_nothing_and_holds_nothing(gateway: Gateway) -> None:
    ask(gateway, "POST", "/perplexity/async/chat/completions", {"request": ASKED})
    for _ in range(2):
        told = ask(gateway, "GET", "/perplexity/async/chat/completions/a-1?fail")
    assert b"FAILED" in told
    assert (spent(gateway), counted(gateway, "all")) == (0, 0)


@pytest.mark.parametrize("path", ["/perplexity/async/chat/completions", "/perplexity/v1/async/sonar"])
def test_what_it_may_cost_is_held_before_it_begins(gateway: Gateway, path: str) -> None:
    assert b"no room for this call" in ask(gateway, "POST", path, {"request": ASKED}, key=OTHER_KEY)
    assert [one["outcome"] for one in gateway.records()] == ["rejected"]
