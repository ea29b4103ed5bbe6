"""Batches of the Gemini API, through Google's own SDK: charged once, to those who began them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import reported_again
from google import genai
from google.genai import errors, types
from httpx2 import RemoteProtocolError
from reported_again import KEY, OTHER_KEY, TEAMS
from support.gateway import Gateway
from support.upstream import CLOSE, Seen, Step, Upstream, answer, chunk, chunked_head

SMALL_KEY = "sk-test-batch-small"
MODEL = "gemini-2.5-flash"
META = {"promptTokenCount": 1500, "candidatesTokenCount": 836, "thoughtsTokenCount": 64, "totalTokenCount": 2400}
EXACT = {"input_tokens_total": 3000, "output_tokens_total": 1800, "reasoning_tokens": 128}
COST = (3000 * 300 + 1800 * 2500) // 2
"""Two requests; Gemini 2.5 Flash: 0.3 and 2.5 dollars a million tokens, in nanodollars; a batch costs half."""
EMBED_COST = 40 * 75
CANDIDATE = {"content": {"role": "model", "parts": [{"text": "2 + 2 = 4"}]}, "finishReason": "STOP"}
ANSWERED = {"response": {"candidates": [CANDIDATE], "usageMetadata": META, "modelVersion": MODEL}}
FAILED = {"error": {"code": 8, "message": "it failed"}}
ITEMS = [ANSWERED, FAILED, ANSWERED]
LINES = b"".join(json.dumps({"key": "k", **item}).encode() + b"\n" for item in ITEMS)
EMBEDDED = [{"response": {"embedding": {"values": [0.5]}, "tokenCount": "20"}}] * 2


class Provider:
    """Has batches that are done at the second look: inlined, embedded, or in a file, as their ids say."""

    def __init__(self) -> None:
        self.looks: dict[str, int] = {}

    def __call__(self, seen: Seen) -> Iterator[Step]:
        path = seen.target.partition("?")[0]
        if path.endswith(":download"):
            if seen.header("x-break"):
                yield chunked_head("application/octet-stream") + chunk(LINES[: LINES.index(b"\n") + 1])
                yield CLOSE
            elif "batch-" in path:
                yield answer(LINES, "application/octet-stream")
            else:
                yield answer(b"\0\0\0 ftypisom" * 1000, "video/mp4")
        elif seen.method == "POST":
            inlined = b'"requests"' in seen.body
            name = "vectors" if "asyncBatchEmbedContent" in path else "inlined" if inlined else "file"
            yield answer(json.dumps(self.batch(name, path, done=False)).encode())
        else:
            name = path.rpartition("/")[2]
            looks = self.looks[name] = self.looks.get(name, 0) + 1
            yield answer(json.dumps(self.batch(name, path, done=looks > 1)).encode())

    def batch(self, name: str, path: str, *, done: bool) -> dict[str, Any]:
        model = "gemini-embedding-001" if name == "vectors" else MODEL
        batch: dict[str, Any] = {"model": f"models/{model}", "displayName": "b", "name": f"batches/{name}"}
        if not done:
            return {"name": f"batches/{name}", "metadata": {**batch, "state": "BATCH_STATE_RUNNING"}}
        items = EMBEDDED if name == "vectors" else ITEMS
        inlined = {"inlinedResponses": {"inlinedResponses": items}}
        output = {"responsesFile": f"files/batch-{name}"} if name == "file" else inlined
        metadata = {**batch, "state": "BATCH_STATE_SUCCEEDED", "output": output}
        return {"name": f"batches/{name}", "done": True, "metadata": metadata, "response": output}


def config(upstream: Upstream) -> str:
    return f"""
[providers.gemini]
kind = "gemini"
base_url = "{upstream.url}"
api_key = "sk-real"
{TEAMS}
[[keys]]
id = "small"
secret = "{SMALL_KEY}"
team = "ops"
workflow = "watch"
models = ["gemini-2.0-*"]
[[quotas]]
name = "model"
match = {{ model = "gemini-*" }}
per = ["team"]
usd = 100.0
window = "total"
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with Upstream(Provider()) as upstream, Gateway(tmp_path, config(upstream)) as running:
        yield running


def client(gateway: Gateway, key: str = KEY) -> genai.Client:
    options = types.HttpOptions(base_url=f"{gateway.url}/gemini", api_version="v1beta")
    return genai.Client(api_key=key, http_options=options, vertexai=False)


def look(gateway: Gateway, name: str | None, *keys: str) -> types.BatchJobDestination:
    """What the last of these looks at a batch tells of its results."""
    for key in keys:
        google = client(gateway, key)
        found = google.batches.get(name=name or "")
    assert found.state == types.JobState.JOB_STATE_SUCCEEDED
    assert found.dest is not None
    return found.dest


def inlined() -> list[Any]:
    return [types.InlinedRequest(contents=[types.Content(role="user", parts=[types.Part(text="2 + 2?")])])] * 3


def charged(gateway: Gateway) -> dict[str, Any]:
    """The one record that costs anything, of those who began the batch."""
    found = reported_again.charged(gateway)
    assert (found["team"], found["key_id"], found["service_tier"]) == ("research", "once", "batch")
    return found


def test_inlined_answers_are_charged_when_they_are_first_looked_at(gateway: Gateway) -> None:
    google = client(gateway)
    made = google.batches.create(model=MODEL, src=inlined())
    assert len(look(gateway, made.name, KEY, OTHER_KEY, KEY, OTHER_KEY).inlined_responses or []) == 3
    record = charged(gateway)
    assert (record["api"], record["model"], record["model_requested"]) == ("batches", MODEL, MODEL)
    assert (record["usage"], record["cost_nanousd"]) == (EXACT, COST)


def test_results_in_a_file_are_charged_to_those_who_began_the_batch(gateway: Gateway) -> None:
    google, others = client(gateway), client(gateway, OTHER_KEY)
    made = google.batches.create(model=MODEL, src="files/requests")
    results = look(gateway, made.name, KEY, KEY).file_name
    assert results == "files/batch-file"
    for one in (others, google, others):
        assert one.files.download(file=results) == LINES
    record = charged(gateway)
    assert (record["api"], record["model"], record["model_requested"]) == ("batch_results", MODEL, MODEL)
    assert (record["usage"], record["cost_nanousd"]) == (EXACT, COST)


@pytest.mark.filterwarnings("ignore:batches.create_embeddings")
def test_embeddings_are_charged_as_the_model_that_their_batch_names(gateway: Gateway) -> None:
    source = types.EmbeddingsBatchJobSource(inlined_requests=types.EmbedContentBatch(contents=["a", "b"]))
    google = client(gateway)
    made = google.batches.create_embeddings(model="gemini-embedding-001", src=source)
    look(gateway, made.name, KEY, KEY, KEY)
    record = charged(gateway)
    assert (record["model"], record["usage"]) == ("gemini-embedding-001", {"input_tokens_total": 40})
    assert record["cost_nanousd"] == EMBED_COST


def test_a_file_that_broke_off_is_charged_when_it_is_read_whole(gateway: Gateway) -> None:
    google, others = client(gateway), client(gateway, OTHER_KEY)
    google.batches.create(model=MODEL, src="files/requests")
    with pytest.raises(RemoteProtocolError):
        others.files.download(file="files/batch-file", config={"http_options": {"headers": {"x-break": "yes"}}})
    assert not any(one["cost_nanousd"] for one in gateway.records())
    others.files.download(file="files/batch-file")
    record = charged(gateway)
    assert (record["usage"], record["cost_nanousd"]) == (EXACT, COST)


def test_a_file_that_holds_no_results_costs_nothing(gateway: Gateway) -> None:
    google = client(gateway)
    assert len(google.files.download(file="files/video") or b"") == 12_000
    assert [(one["cost_nanousd"], one["usage_source"]) for one in gateway.records()] == [(0, "none")]


def test_a_key_begins_no_batch_of_a_model_that_it_may_not_use(gateway: Gateway) -> None:
    small = client(gateway, SMALL_KEY)
    mixed = [types.InlinedRequest(model=MODEL, contents=[types.Content(parts=[types.Part(text="Hi")])])]
    for model, source in ((MODEL, inlined()), ("gemini-2.0-flash", mixed)):
        with pytest.raises(errors.ClientError, match="may not use model"):
            small.batches.create(model=model, src=source)
    assert small.batches.create(model="gemini-2.0-flash", src=inlined()).name == "batches/inlined"
