"""Bedrock: Converse, InvokeModel of each family, and its OpenAI-compatible paths."""

from __future__ import annotations

from typing import Any

import pytest
from usages import EVENTS, SSE, ask, aws, numbers, reading_of, sse

from gateway.wire.framing.aws_eventstream import encode

CONVERSE = "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse"
USAGE = {
    "inputTokens": 10,
    "outputTokens": 20,
    "totalTokens": 135,
    "cacheReadInputTokens": 100,
    "cacheWriteInputTokens": 5,
}
EXPECTED = {"input_tokens_total": 115, "output_tokens_total": 20, "cache_read_tokens": 100, "cache_write_tokens": 5}
MESSAGES: dict[str, Any] = {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}


def test_converse_adds_cached_tokens_to_its_input() -> None:
    facts = ask("bedrock", CONVERSE, MESSAGES)
    assert (facts.api, facts.model) == ("converse", "anthropic.claude-sonnet-4-5-20250929-v1:0")
    details = [{"inputTokens": 3, "ttl": "1h"}, {"inputTokens": 2, "ttl": "5m"}]
    answer = {"output": {}, "usage": {**USAGE, "cacheDetails": details}}
    assert numbers(reading_of("bedrock", facts, answer)) == {**EXPECTED, "cache_write_1h_tokens": 3}


def test_a_converse_stream_reports_in_its_metadata() -> None:
    facts = ask("bedrock", CONVERSE + "-stream", MESSAGES)
    body = aws(
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"delta": {"text": 'says "usage"'}, "contentBlockIndex": 0}),
        ("messageStop", {"stopReason": "end_turn"}),
        ("metadata", {"usage": USAGE, "metrics": {"latencyMs": 1}}),
    )
    reading = reading_of("bedrock", facts, body, EVENTS)
    assert (numbers(reading), reading.complete) == (EXPECTED, True)


ROUTER = "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Adefault-prompt-router%2Fanthropic.claude%3A1/converse"
CHOSEN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-3-haiku-20240307-v1:0"


@pytest.mark.parametrize("filler", ["", "x" * 300_000])
def test_a_prompt_router_tells_the_model_that_it_chose(filler: str) -> None:
    trace = {"promptRouter": {"invokedModelId": CHOSEN}}
    answer = {"output": {"message": filler}, "trace": trace, "usage": USAGE}
    reading = reading_of("bedrock", ask("bedrock", ROUTER, MESSAGES), answer)
    assert (reading.model, numbers(reading)) == (CHOSEN, EXPECTED)
    body = aws(("messageStart", {"role": "assistant"}), ("metadata", {"usage": USAGE, "trace": trace}))
    reading = reading_of("bedrock", ask("bedrock", ROUTER + "-stream", MESSAGES), body, EVENTS)
    assert (reading.model, numbers(reading)) == (CHOSEN, EXPECTED)


HEADERS = {"x_amzn_bedrock_input_token_count": "11", "x_amzn_bedrock_output_token_count": "22"}
COUNTED = {"input_tokens_total": 11, "output_tokens_total": 22}
FAMILIES = [
    ("anthropic.claude-3-haiku", {"usage": {"input_tokens": 11, "output_tokens": 22}}, COUNTED, "response"),
    ("amazon.nova-lite-v1:0", {"usage": {"inputTokens": 11, "outputTokens": 22}}, COUNTED, "response"),
    ("mistral.pixtral", {"usage": {"prompt_tokens": 11, "completion_tokens": 22}}, COUNTED, "response"),
    ("openai.gpt-oss-20b", {"usage": {"prompt_tokens": 11, "completion_tokens": 22}}, COUNTED, "response"),
    ("meta.llama3", {"generation": "a", "prompt_token_count": 1, "generation_token_count": 2}, COUNTED, "headers"),
    ("amazon.titan-text", {"inputTextTokenCount": 1, "results": [{"tokenCount": 2}]}, COUNTED, "headers"),
    ("ai21.j2-ultra", {"completions": []}, COUNTED, "headers"),
    ("cohere.command-text", {"generations": []}, COUNTED, "headers"),
    ("mistral.mistral-7b", {"outputs": []}, COUNTED, "headers"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "answer", "expected", "source"), FAMILIES)
def test_invoke_reads_the_familys_own_report_else_the_headers(
    model: str, answer: dict[str, Any], expected: dict[str, int], source: str
) -> None:
    facts = ask("bedrock", f"/model/{model}/invoke", {"prompt": "Hi"})
    reading = reading_of("bedrock", facts, answer, **HEADERS)
    assert (numbers(reading), reading.source) == (expected, source)


BESIDE = [
    ("meta.llama3", {"prompt_token_count": 11, "generation_token_count": 22}),
    ("amazon.titan-text", {"inputTextTokenCount": 11, "results": [{"tokenCount": 10}, {"tokenCount": 12}]}),
]


@pytest.mark.parametrize(("model", "answer"), BESIDE)
def test_where_there_are_no_headers_what_stands_beside_the_answer_counts(model: str, answer: dict[str, Any]) -> None:
    facts = ask("bedrock", f"/model/{model}/invoke", {"prompt": "Hi"})
    reading = reading_of("bedrock", facts, answer)
    assert (numbers(reading), reading.source) == (COUNTED, "response")


def test_nova_embeddings_state_their_input_in_the_body_too() -> None:
    facts = ask("bedrock", "/model/amazon.nova-2-multimodal-embeddings-v1:0/invoke", {"taskType": "SINGLE_EMBEDDING"})
    answer = {"embeddings": [{"embeddingType": "TEXT", "embedding": [0.1]}], "inputTokenCount": 7}
    assert numbers(reading_of("bedrock", facts, answer)) == {"input_tokens_total": 7}
    reading = reading_of("bedrock", facts, answer, x_amzn_bedrock_input_token_count="7")
    assert (numbers(reading), reading.source) == ({"input_tokens_total": 7}, "headers")


RERANKED = [
    ("cohere.rerank-v3-5:0", {"query": "q", "documents": ["a"] * 100}, 1),
    ("amazon.rerank-v1:0", {"query": "q", "documents": ["a"] * 101}, 2),
    ("us.cohere.rerank-v3-5:0", {"query": "q", "documents": ["word " * 100_000]}, 3),
    ("arn:aws:bedrock:us-west-2::foundation-model%2Famazon.rerank-v1:0", {"query": "q", "documents": []}, 1),
]


@pytest.mark.parametrize(("model", "request_", "units"), RERANKED)
def test_a_reranking_is_charged_by_queries_of_a_hundred_chunks(model: str, request_: Any, units: int) -> None:
    facts = ask("bedrock", f"/model/{model}/invoke", request_)
    assert (facts.billable, facts.output_free, facts.units_bound) == (True, True, {"search_units": units})
    answer = {"results": [{"index": 0, "relevance_score": 0.9}]}
    reading = reading_of("bedrock", facts, answer)
    assert (numbers(reading), reading.source) == ({"search_units": units}, "response")
    counted = reading_of("bedrock", facts, answer, **HEADERS)
    assert numbers(counted) == {**COUNTED, "search_units": units}
    assert numbers(reading_of("bedrock", facts, {"message": "no"}, status=400)) is None


def test_the_tier_is_the_one_that_bedrock_confirms() -> None:
    facts = ask("bedrock", CONVERSE, {**MESSAGES, "serviceTier": {"type": "flex"}})
    answer = {"output": {}, "usage": USAGE, "serviceTier": {"type": "priority"}}
    assert (facts.service_tier, reading_of("bedrock", facts, answer).service_tier) == ("flex", "priority")
    assert ask("bedrock", CONVERSE, MESSAGES).service_tier == ""
    stream = aws(("metadata", {"usage": USAGE, "serviceTier": {"type": "flex"}}))
    streamed = reading_of("bedrock", ask("bedrock", CONVERSE + "-stream", MESSAGES), stream, EVENTS)
    assert streamed.service_tier == "flex"
    invoked = ask("bedrock", "/model/openai.gpt-oss-20b-1:0/invoke", {"messages": []})
    answer = {"usage": {"prompt_tokens": 11, "completion_tokens": 22}}
    assert reading_of("bedrock", invoked, answer, x_amzn_bedrock_service_tier="flex").service_tier == "flex"


def test_an_invocation_of_anthropics_that_breaks_off_says_so() -> None:
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 11, "output_tokens": 1}}}
    said = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Once upon"}}
    fault = encode({":message-type": "exception", ":exception-type": "throttlingException"}, b"{}")
    facts = ask("bedrock", "/model/anthropic.claude-3-haiku/invoke-with-response-stream", {"max_tokens": 99})
    reading = reading_of("bedrock", facts, aws(("chunk", start), ("chunk", said)) + fault, EVENTS)
    assert (reading.complete, reading.partial, reading.failed) == (False, True, True)
    assert reading.sample


METRICS = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 11, "outputTokenCount": 22, "invocationLatency": 5}}
STREAMS = [
    ("meta.llama3", [{"generation": "a", "prompt_token_count": 11, "generation_token_count": 1},
                     {"generation": "b", "generation_token_count": 22, **METRICS}]),
    ("mistral.mistral-7b", [{"outputs": [{"text": "a"}]}, {"outputs": [], **METRICS}]),
    ("amazon.nova-lite-v1:0", [{"contentBlockDelta": {"delta": {"text": "a"}}},
                               {"metadata": {"usage": {}}, "usage": {"inputTokens": 11, "outputTokens": 22}}]),
    ("anthropic.claude-3-haiku", [{"type": "message_start",
                                   "message": {"usage": {"input_tokens": 11, "output_tokens": 1}}},
                                  {"type": "message_delta", "usage": {"output_tokens": 22}},
                                  {"type": "message_stop", **METRICS}]),
    ("deepseek.r1", [{"choices": [{"text": "a"}]}, {"choices": [], **METRICS}]),
]  # fmt: skip


@pytest.mark.parametrize(("model", "events"), STREAMS)
def test_invoke_streams_report_in_the_familys_events_or_in_the_last_ones_metrics(
    model: str, events: list[dict[str, Any]]
) -> None:
    facts = ask("bedrock", f"/model/{model}/invoke-with-response-stream", {"prompt": "Hi"})
    assert facts.stream
    body = aws(*(("chunk", event) for event in events))
    assert numbers(reading_of("bedrock", facts, body, EVENTS)) == COUNTED


def test_pictures_are_billed_by_the_piece() -> None:
    request = {"taskType": "TEXT_IMAGE", "imageGenerationConfig": {"numberOfImages": 3}}
    facts = ask("bedrock", "/model/amazon.nova-canvas-v1:0/invoke", request)
    assert numbers(reading_of("bedrock", facts, {"images": ["aaaa"] * 3})) == {"output_images": 3}
    assert numbers(reading_of("bedrock", facts, {"message": "no"}, status=400)) is None


def test_an_exception_in_a_stream_is_a_failure() -> None:
    from gateway.wire.framing.aws_eventstream import encode

    facts = ask("bedrock", CONVERSE + "-stream", MESSAGES)
    body = aws(("messageStart", {"role": "assistant"})) + encode(
        {":message-type": "exception", ":exception-type": "throttlingException"}, b'{"message":"slow down"}'
    )
    reading = reading_of("bedrock", facts, body, EVENTS)
    assert (reading.failed, reading.complete, reading.usage) == (True, False, None)


@pytest.mark.parametrize("path", ["/openai/v1/chat/completions", "/v1/chat/completions"])
def test_its_openai_paths_are_metered_and_asked_for_their_usage(path: str) -> None:
    facts = ask("bedrock", path, {"model": "openai.gpt-oss-20b", "messages": [], "stream": True})
    assert (facts.api, facts.billable, facts.asks_usage) == ("chat", True, False)
    facts.asks_usage = True
    chunk = {"model": "openai.gpt-oss-20b", "choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 22}}
    assert numbers(reading_of("bedrock", facts, sse(chunk, done=True), SSE)) == COUNTED
