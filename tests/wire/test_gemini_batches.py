"""What batches of the Gemini API used is the sum of what their results tell, in whatever pieces these come."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from usages import ask, numbers, reading_of

from gateway.wire import dialects
from gateway.wire.facts import Facts, Other
from gateway.wire.framing.json_body import WHOLE_BYTES
from gateway.wire.usage import Reading

MODEL = "gemini-2.5-flash"
BEGIN = f"/v1beta/models/{MODEL}:batchGenerateContent"
LOOK = "/v1beta/batches/b1"
DOWNLOADS = [
    "/download/v1beta/files/batch-b1:download?alt=media",
    "/v1beta/files/batch-b1:download?alt=media",
    "/v1beta//files/batch%2Db1:download",
]
ONE = {"promptTokenCount": 100, "candidatesTokenCount": 30, "thoughtsTokenCount": 7, "cachedContentTokenCount": 64}
USED = {"input_tokens_total": 100, "output_tokens_total": 37, "reasoning_tokens": 7, "cache_read_tokens": 64}


def said(meta: Any, say: str = 'a ]} "response"') -> dict[str, Any]:
    candidate = {"content": {"parts": [{"text": say}], "role": "model"}, "finishReason": "STOP"}
    return {"response": {"candidates": [candidate], "usageMetadata": meta, "modelVersion": MODEL}}


FAILED = {"error": {"code": 8, "message": "it failed"}, "metadata": {"key": "k"}}


def output(items: list[Any], kind: str = "inlinedResponses") -> dict[str, Any]:
    return {kind: {"inlinedResponses": items}}


def operation(out: dict[str, Any], state: Any = "BATCH_STATE_SUCCEEDED", **more: Any) -> dict[str, Any]:
    """As Google answers it: the output stands in it twice."""
    batch = {"@type": "GenerateContentBatch", "model": f"models/{MODEL}", "name": "batches/b1", "state": state}
    return {"name": "batches/b1", "metadata": {**batch, "output": out}, "response": {"@type": "Output", **out}, **more}


def look(answer: Any) -> Reading:
    facts = ask("gemini", LOOK, b"", "GET")
    assert (facts.api, facts.fetches, facts.billable) == ("batches", True, False)
    return reading_of("gemini", facts, answer)


def times(number: int) -> dict[str, int]:
    return {name: number * tokens for name, tokens in USED.items()}


@pytest.mark.parametrize("state", ["BATCH_STATE_SUCCEEDED", "BATCH_STATE_CANCELLED", "JOB_STATE_EXPIRED"])
def test_inlined_answers_are_summed_once_although_they_are_told_twice(state: str) -> None:
    reading = look(operation(output([said(ONE), FAILED, said(ONE), {}, None, said(None)]), state))
    assert (numbers(reading), reading.source, reading.complete) == (times(2), "response", True)
    assert (reading.claim, reading.model, reading.service_tier) == ("batches/b1", MODEL, "batch")


@pytest.mark.parametrize("place", ["metadata", "response"])
def test_inlined_answers_count_wherever_they_stand(place: str) -> None:
    document = operation(output([said(ONE)]), None, done=True)
    if place == "response":
        del document["metadata"]["output"]
    else:
        del document["response"]
    assert numbers(look(document)) == USED


def test_a_member_that_comes_again_replaces_what_was_inlined_before() -> None:
    inlined = json.dumps(output([said(ONE)])).encode()
    document = b'{"name":"batches/b1","done":true,"response":%b,"response":{"inlinedResponses":%b}}'
    assert numbers(look(document % (inlined, json.dumps({"inlinedResponses": [said(ONE)] * 3}).encode()))) == times(3)
    assert look(document % (inlined, b"{}")).usage is None


@pytest.mark.parametrize("state", ["BATCH_STATE_PENDING", "BATCH_STATE_RUNNING", "", None, 7])
def test_what_a_batch_says_before_its_end_is_no_report(state: Any) -> None:
    reading = look(operation(output([said(ONE)]), state, done=False))
    assert (reading.usage, reading.claim) == (None, "batches/b1")


@pytest.mark.parametrize("out", [{"responsesFile": "files/batch-b1"}, output([]), output([FAILED]), {}])
def test_a_look_at_a_batch_that_tells_no_use_charges_nothing(out: dict[str, Any]) -> None:
    reading = look(operation(out))
    assert (reading.usage, reading.claim) == (None, "batches/b1")


def test_a_document_that_breaks_off_says_nothing() -> None:
    whole = json.dumps(operation(output([said(ONE)] * 3), done=True)).encode()
    for cut in (len(whole) - 1, len(whole) // 2, 1):
        assert look(whole[:cut]).usage is None


@pytest.mark.parametrize("kind", ["inlinedResponses", "inlinedEmbedContentResponses"])
def test_embeddings_state_their_tokens_in_two_ways(kind: str) -> None:
    vector = {"embedding": {"values": [0.25] * 20}}
    meta = {"promptTokenCount": 5, "promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 2}]}
    items = [{"response": {**vector, "tokenCount": "12"}}, {"response": {**vector, "usageMetadata": meta}}]
    reading = look(operation(output(items, kind)))
    assert (numbers(reading), reading.model) == ({"input_tokens_total": 17, "input_image_tokens": 2}, MODEL)
    assert look(operation(output([{"response": vector}], kind))).usage is None


def lines(*items: Any) -> bytes:
    return b"".join(json.dumps({"key": "k", **item}).encode() + b"\n" for item in items)


@pytest.mark.parametrize("path", DOWNLOADS)
def test_results_in_a_file_are_summed_and_claimed_by_their_batch(path: str) -> None:
    facts = ask("gemini", path, b"", "GET")
    assert (facts.api, facts.fetches, facts.billable) == ("batch_results", True, False)
    body = lines(said(ONE), FAILED, said(ONE))
    for answer, coding in ((body, {}), (body.rstrip(), {}), (gzip.compress(body), {"content_encoding": "gzip"})):
        reading = reading_of("gemini", facts, answer, "application/octet-stream", **coding)
        assert (numbers(reading), reading.source) == (times(2), "response")
        assert (reading.claim, reading.model, reading.service_tier) == ("batches/b1", MODEL, "batch")


def test_a_part_of_a_file_and_a_file_that_is_not_read_to_its_end_say_nothing() -> None:
    facts = ask("gemini", DOWNLOADS[0], b"", "GET")
    assert reading_of("gemini", facts, lines(said(ONE)), status=206).usage is None
    repeated = gzip.compress(lines(said(ONE)) * 2 + lines(said(ONE, " " * 40_000_000)))
    meter = dialects.get("gemini").meter(facts, 200, [(b"content-encoding", b"gzip")])
    meter.feed(repeated)
    meter.flush()
    assert meter.reading().usage is None


@pytest.mark.parametrize(
    ("name", "body", "content_type"),
    [
        ("video-1", lines(said(ONE)), "video/mp4"),
        ("video-1", b'\0\0\0 ftypisom\n{]}"response"\n', "application/octet-stream"),
        ("batch-b1", b'{"response": []}\n[1]\n"response"\n{"response": {"id": 1}}\n', "application/jsonl"),
    ],
)
def test_a_file_that_holds_no_results_is_not_charged(name: str, body: bytes, content_type: str) -> None:
    facts = ask("gemini", f"/v1beta/files/{name}:download?alt=media", b"", "GET")
    assert reading_of("gemini", facts, body, content_type).usage is None


def test_results_in_a_file_of_another_name_are_charged_too() -> None:
    facts = ask("gemini", "/v1beta/files/abc:download?alt=media", b"", "GET")
    reading = reading_of("gemini", facts, lines(said(ONE)), "application/jsonl")
    assert (numbers(reading), reading.claim) == (USED, "files/abc")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1beta/batches"),
        ("POST", "/v1beta/batches/b1:cancel"),
        ("DELETE", LOOK),
        ("GET", "/v1beta/files/batch-b1"),
        ("GET", "/v1beta/files"),
        ("PATCH", "/v1beta/batches/b1:updateGenerateContentBatch"),
    ],
)
def test_only_a_look_at_one_batch_and_a_download_are_charged(method: str, path: str) -> None:
    facts = ask("gemini", path, b"", method)
    assert (facts.fetches, facts.billable, facts.api) == (False, False, "other")


@pytest.mark.parametrize("path", [BEGIN, f"/v1beta/models/{MODEL}:asyncBatchEmbedContent"])
@pytest.mark.parametrize("config", ["inputConfig", "input_config"])
def test_the_call_that_begins_a_batch_tells_its_id_and_all_its_models(path: str, config: str) -> None:
    requests = [{"request": {"model": f"models/{model}", "contents": []}} for model in ("other", MODEL)]
    body = {"batch": {"model": "models/third", config: {"requests": {"requests": [*requests, {}, None]}}}}
    facts = ask("gemini", path, body)
    assert (facts.api, facts.model, facts.fetches, facts.billable) == ("batches", MODEL, False, False)
    assert facts.others == (Other("other"), Other("third"))
    begun = operation({}, "BATCH_STATE_PENDING")
    assert (look(begun).usage, reading_of("gemini", facts, begun).claim) == (None, "batches/b1")
    assert ask("gemini", path, {"batch": {config: {"fileName": "files/x"}}}).others == ()


def fed(facts: Facts, body: bytes, sizes: list[int]) -> Reading:
    meter = dialects.get("gemini").meter(facts, 200, [(b"content-type", b"application/json")])
    at = turn = 0
    while at < len(body):
        size = sizes[turn % len(sizes)]
        meter.feed(body[at : at + size])
        at, turn = at + size, turn + 1
    meter.flush()
    return meter.reading()


COUNTS = st.integers(0, 10_000)
METAS = st.fixed_dictionaries({"promptTokenCount": COUNTS, "candidatesTokenCount": COUNTS})
ITEMS = st.lists(st.one_of(st.just(FAILED), st.builds(said, METAS, st.text()), st.none()), max_size=8)


@given(
    ITEMS, st.lists(st.integers(1, 200), min_size=1), st.booleans(), st.permutations(["name", "metadata", "response"])
)
def test_any_pieces_give_the_same_sum(items: list[Any], sizes: list[int], spaced: bool, order: list[str]) -> None:
    metas = [item["response"]["usageMetadata"] for item in items if item and "response" in item]
    expected = (
        sum(meta["promptTokenCount"] for meta in metas),
        sum(meta["candidatesTokenCount"] for meta in metas),
    )
    whole = operation(output(items))
    raw = json.dumps({key: whole[key] for key in order}, indent=2 if spaced else None, ensure_ascii=spaced)
    for path, body in ((LOOK, raw.encode()), (DOWNLOADS[0], lines(*filter(None, items)))):
        reading = fed(ask("gemini", path, b"", "GET"), body, sizes)
        assert (reading.usage is None) == (not metas)
        if reading.usage is not None:
            assert (reading.usage.input_tokens_total, reading.usage.output_tokens_total) == expected


@pytest.mark.parametrize("path", [LOOK, DOWNLOADS[0]])
def test_answers_that_are_too_long_to_be_kept_are_summed(path: str) -> None:
    items = [said(ONE, 'x"\\' * WHOLE_BYTES), said(ONE), said(ONE, "y" * WHOLE_BYTES)]
    body = json.dumps(operation(output(items))).encode() if path == LOOK else lines(*items)
    reading = fed(ask("gemini", path, b"", "GET"), body, [65_536, 1, 7])
    assert (numbers(reading), reading.model) == (times(3), MODEL)
