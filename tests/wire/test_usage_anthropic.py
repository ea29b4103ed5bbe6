"""Anthropic's messages, wherever they are spoken: what is counted inside what."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from usages import SSE, ask, numbers, reading_of, sse

from gateway.wire import dialects

REQUEST = {"model": "claude-sonnet-4-6", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}
PLACES = [
    ("anthropic", "/v1/messages"),
    ("vertex", "/v1/projects/p/locations/l/publishers/anthropic/models/claude-sonnet-4-6:streamRawPredict"),
    ("azure", "/anthropic/v1/messages"),
    ("bedrock", "/anthropic/v1/messages"),
    ("openrouter", "/api/v1/messages"),
    ("deepseek", "/anthropic/v1/messages"),
    ("zai", "/api/anthropic/v1/messages"),
    ("ollama", "/v1/messages"),
    ("openai-compatible", "/v1/messages"),
]
START = {
    "input_tokens": 10,
    "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 50,
    "cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 20},
    "output_tokens": 1,
    "service_tier": "standard",
    "inference_geo": "us",
}


def message(usage: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "model": "claude-sonnet-4-6", "content": [], "usage": usage}


def stream(*reports: dict[str, Any], stop: bool = True) -> bytes:
    """A stream whose first report stands in message_start and whose others stand in message_delta."""
    first, *rest = reports
    events: list[dict[str, Any]] = [{"type": "message_start", "message": message(first)}]
    events.append({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": '"usage"'}})
    events += [{"type": "message_delta", "delta": {}, "usage": usage} for usage in rest]
    return sse(*events, *([{"type": "message_stop"}] if stop else []))


@pytest.mark.parametrize(("kind", "path"), PLACES)
def test_cached_tokens_are_added_to_the_input_and_later_reports_replace_earlier_ones(kind: str, path: str) -> None:
    facts = ask(kind, path, {**REQUEST, "stream": True})
    assert (facts.api, facts.billable, facts.max_output, facts.asks_usage) == ("messages", True, 100, True)
    reading = reading_of(kind, facts, stream(START, {"output_tokens": 40}, {"output_tokens": 77}), SSE)
    assert numbers(reading) == {
        "input_tokens_total": 160,
        "cache_read_tokens": 100,
        "cache_write_tokens": 50,
        "cache_write_1h_tokens": 20,
        "output_tokens_total": 77,
    }
    assert (reading.complete, reading.partial, reading.service_tier) == (True, False, "standard")


@pytest.mark.parametrize(("kind", "path"), PLACES)
def test_counting_tokens_is_free_wherever_messages_are_spoken(kind: str, path: str) -> None:
    if kind == "vertex":
        path = "/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict"
    else:
        path += "/count_tokens"
    facts = ask(kind, path, REQUEST)
    assert (facts.api, facts.billable) == ("count_tokens", False)
    assert numbers(reading_of(kind, facts, {"input_tokens": 14})) is None


def test_what_is_counted_later_in_a_stream_replaces_what_was_counted_first() -> None:
    facts = ask("anthropic", "/v1/messages", {**REQUEST, "stream": True})
    later = {
        "input_tokens": 300,
        "cache_read_input_tokens": 0,
        "output_tokens": 5,
        "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 1},
        "output_tokens_details": {"thinking_tokens": 2},
    }
    found = numbers(reading_of("anthropic", facts, stream(START, later), SSE))
    assert found == {
        "input_tokens_total": 350,
        "cache_write_tokens": 50,
        "cache_write_1h_tokens": 20,
        "output_tokens_total": 5,
        "reasoning_tokens": 2,
        "web_search_requests": 3,
    }


def test_what_compaction_used_comes_on_top_and_an_advisor_does_not() -> None:
    iterations = [
        {"type": "compaction", "input_tokens": 7, "output_tokens": 30, "cache_read_input_tokens": 0,
         "cache_creation_input_tokens": 5000, "cache_creation": {"ephemeral_1h_input_tokens": 5000}},
        {"type": "message", "input_tokens": 20, "output_tokens": 9},
        {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 900, "output_tokens": 90},
    ]  # fmt: skip
    usage = {"input_tokens": 20, "output_tokens": 9, "iterations": iterations}
    expected = {
        "input_tokens_total": 5027,
        "cache_write_tokens": 5000,
        "cache_write_1h_tokens": 5000,
        "output_tokens_total": 39,
    }
    facts = ask("anthropic", "/v1/messages", REQUEST)
    assert numbers(reading_of("anthropic", facts, message(usage))) == expected
    facts = ask("anthropic", "/v1/messages", {**REQUEST, "stream": True})
    assert (
        numbers(reading_of("anthropic", facts, stream({"input_tokens": 7, "output_tokens": 1}, usage), SSE)) == expected
    )


def test_a_stream_that_ends_before_its_last_report_says_so() -> None:
    facts = ask("anthropic", "/v1/messages", {**REQUEST, "stream": True})
    for body in (stream(START, stop=False), stream(START, stop=False) + sse({"type": "error", "error": {"type": "x"}})):
        reading = reading_of("anthropic", facts, body, SSE)
        assert (reading.complete, reading.partial) == (False, True)
        assert reading.sample


WAIVED = "waived: refused before any output"
REFUSALS = [
    ("anthropic", "/v1/messages", 0, "refusal", WAIVED),
    ("anthropic", "/v1/messages", 9, "refusal", ""),
    ("anthropic", "/v1/messages", 0, "end_turn", ""),
    ("bedrock", "/anthropic/v1/messages", 0, "refusal", ""),
]


@pytest.mark.parametrize(("kind", "path", "said", "stop", "waived"), REFUSALS)
def test_a_refusal_before_any_output_is_reported_and_not_charged(
    kind: str, path: str, said: int, stop: str, waived: str
) -> None:
    usage = {"input_tokens": 400, "output_tokens": said}
    expected = {"input_tokens_total": 400, **({"output_tokens_total": said} if said else {})}
    whole = reading_of(kind, ask(kind, path, REQUEST), {**message(usage), "stop_reason": stop})
    assert (numbers(whole), whole.source, whole.waived) == (expected, "response", waived)
    events = [
        {"type": "message_start", "message": message({"input_tokens": 400, "output_tokens": 1})},
        {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": said}},
        {"type": "message_stop"},
    ]
    streamed = reading_of(kind, ask(kind, path, {**REQUEST, "stream": True}), sse(*events), SSE)
    assert (numbers(streamed), streamed.complete, streamed.waived) == (expected, True, waived)


def test_refusals_of_a_batch_that_said_nothing_are_not_in_its_sum() -> None:
    facts = ask("anthropic", "/v1/messages/batches/msgbatch_1/results", b"", "GET")
    refused = {**message({"input_tokens": 400, "output_tokens": 0}), "stop_reason": "refusal"}
    answered = message({"input_tokens": 10, "output_tokens": 2})
    body = batch(*({"type": "succeeded", "message": one} for one in (refused, answered)))
    found = numbers(reading_of("anthropic", facts, body, "application/x-jsonl"))
    assert found == {"input_tokens_total": 10, "output_tokens_total": 2}


@pytest.mark.parametrize("value", [-5, "x", None, 1.5, [], {}, True, 2**60])
def test_absurd_counts_are_as_if_absent(value: Any) -> None:
    facts = ask("anthropic", "/v1/messages", REQUEST)
    usage = {
        "input_tokens": 4,
        "output_tokens": value,
        "cache_read_input_tokens": value,
        "cache_creation": value,
        "iterations": [value, {"type": "compaction", "input_tokens": value}],
        "server_tool_use": value,
    }
    assert numbers(reading_of("anthropic", facts, message(usage))) == {"input_tokens_total": 4}


def test_a_tier_a_speed_and_a_region_are_those_that_the_answer_confirms() -> None:
    facts = ask("anthropic", "/v1/messages", {**REQUEST, "speed": "fast"})
    assert facts.service_tier == "fast"
    usage = {"input_tokens": 1, "output_tokens": 1, "speed": "fast", "inference_geo": "us", "service_tier": "standard"}
    reading = reading_of("anthropic", facts, message(usage))
    assert (reading.service_tier, reading.region) == ("fast", "us")


def batch(*lines: dict[str, Any]) -> bytes:
    return "".join(json.dumps({"custom_id": "a", "result": line}) + "\n" for line in lines).encode()


def test_the_results_of_a_batch_are_summed_over_their_lines() -> None:
    facts = ask("anthropic", "/v1/messages/batches/msgbatch_1/results", b"", "GET")
    assert (facts.api, facts.billable) == ("batch_results", True)
    ok = {"type": "succeeded", "message": message(START)}
    body = batch(ok, {"type": "errored", "error": {"type": "error"}}, ok, {"type": "expired"})
    reading = reading_of("anthropic", facts, body, "application/x-jsonl")
    assert numbers(reading) == {
        "input_tokens_total": 320,
        "cache_read_tokens": 200,
        "cache_write_tokens": 100,
        "cache_write_1h_tokens": 40,
        "output_tokens_total": 2,
    }
    assert (reading.service_tier, reading.complete, reading.model) == ("batch", True, "claude-sonnet-4-6")


def test_results_whose_coding_is_not_undone_to_the_end_are_no_report() -> None:
    facts = ask("anthropic", "/v1/messages/batches/msgbatch_1/results", b"", "GET")
    lines = batch({"type": "succeeded", "message": message(START)})
    meter = dialects.get("anthropic").meter(facts, 200, [(b"content-encoding", b"gzip")])
    meter.feed(gzip.compress(lines + b" " * 40_000_000 + b"\n" + lines))
    meter.flush()
    assert (meter.reading().usage, meter.reading().claim) == (None, "msgbatch_1")


def test_a_batch_that_failed_as_a_whole_used_nothing() -> None:
    facts = ask("anthropic", "/v1/messages/batches/msgbatch_1/results", b"", "GET")
    reading = reading_of("anthropic", facts, batch({"type": "canceled"}, {"type": "expired"}), "application/x-jsonl")
    assert (numbers(reading), reading.complete) == ({}, True)


def test_the_messages_of_a_thread_are_stored_and_not_answered() -> None:
    assert ask("openai", "/v1/threads/thread_1/messages", {"role": "user", "content": "Hi"}).billable is False
