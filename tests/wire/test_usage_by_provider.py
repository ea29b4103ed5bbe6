"""Providers in OpenAI's shape, and those beside it: where each departs from the others in what it counts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from usages import JSON, SSE, ask, numbers, reading_of, sse

CHAT = "/v1/chat/completions"
PLAIN = {"prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 140}
PLAIN_READ = {"input_tokens_total": 100, "output_tokens_total": 40}
SPEAKERS = [
    ("openai", CHAT), ("azure", "/openai/deployments/d/chat/completions?api-version=2024-10-21"),
    ("azure", "/openai/v1/chat/completions"), ("anthropic", CHAT), ("cerebras", CHAT), ("crusoe", CHAT),
    ("deepseek", CHAT), ("fireworks", "/inference/v1/chat/completions"), ("groq", "/openai/v1/chat/completions"),
    ("huggingface", CHAT), ("mistral", CHAT), ("mistral", "/v1/fim/completions"), ("ollama", CHAT),
    ("openai-compatible", CHAT), ("openrouter", "/api/v1/chat/completions"), ("perplexity", "/chat/completions"),
    ("snowflake", "/api/v2/cortex/v1/chat/completions"), ("together", CHAT), ("writer", "/v1/chat"), ("xai", CHAT),
    ("zai", "/api/paas/v4/chat/completions"), ("cohere", "/compatibility/v1/chat/completions"),
    ("gemini", "/v1beta/openai/chat/completions"),
    ("vertex", "/v1/projects/p/locations/l/endpoints/openapi/chat/completions"),
    ("bedrock", "/openai/v1/chat/completions"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "path"), SPEAKERS)
def test_whoever_speaks_openais_shape_is_read_whole_and_streamed(kind: str, path: str) -> None:
    usage = {
        **PLAIN,
        "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 0},
    }
    expected = {**PLAIN_READ, "cache_read_tokens": 64, "input_audio_tokens": 8, "reasoning_tokens": 30}
    answer = {"model": "m-1", "choices": [{"message": {"content": "a"}}], "usage": usage}
    whole = reading_of(kind, ask(kind, path, {"model": "m", "messages": []}), answer)
    assert (numbers(whole), whole.source, whole.model, whole.complete) == (expected, "response", "m-1", True)
    asking = {"model": "m", "messages": [], "stream": True, "stream_options": {"include_usage": True}}
    chunk = {"model": "m-1", "choices": [{"delta": {"content": "a"}}], "usage": None}
    stream = sse(chunk, chunk, {"model": "m-1", "choices": [], "usage": usage}, done=True)
    streamed = reading_of(kind, ask(kind, path, asking), stream, SSE)
    assert (numbers(streamed), streamed.source, streamed.complete) == (expected, "response", True)


DEPARTURES: list[tuple[str, str, str, dict[str, Any], dict[str, int]]] = [
    ("a cache that was made", "openai-compatible", CHAT,
     {**PLAIN, "prompt_tokens_details": {"cached_tokens": 10, "cache_creation_input_tokens": 50,
                                         "cache_creation": {"ephemeral_5m_input_tokens": 50}}},
     {**PLAIN_READ, "cache_read_tokens": 10, "cache_write_tokens": 50}),
    ("hits and misses", "deepseek", CHAT,
     {**PLAIN, "prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36}, {**PLAIN_READ, "cache_read_tokens": 64}),
    ("cached tokens beside the totals", "together", CHAT,
     {**PLAIN, "cached_tokens": 64}, {**PLAIN_READ, "cache_read_tokens": 64}),
    ("details in the singular", "writer", "/v1/chat",
     {**PLAIN, "prompt_token_details": {"cached_tokens": 64}, "completion_token_details": {"reasoning_tokens": 9}},
     {**PLAIN_READ, "cache_read_tokens": 64, "reasoning_tokens": 9}),
    ("reasoning beside the completion", "xai", CHAT,
     {**PLAIN, "total_tokens": 200, "completion_tokens_details": {"reasoning_tokens": 60}},
     {**PLAIN_READ, "output_tokens_total": 100, "reasoning_tokens": 60}),
    ("reasoning beside the completion of a model of xAI's on Azure", "azure", "/models/chat/completions?api-version=x",
     {**PLAIN, "total_tokens": 200, "completion_tokens_details": {"reasoning_tokens": 60}},
     {**PLAIN_READ, "output_tokens_total": 100, "reasoning_tokens": 60}),
    ("reasoning inside, as the total says", "xai", "/v1/responses",
     {"input_tokens": 100, "output_tokens": 40, "total_tokens": 140, "output_tokens_details": {"reasoning_tokens": 9},
      "num_sources_used": 3},
     {**PLAIN_READ, "reasoning_tokens": 9, "web_search_requests": 3}),
    ("searches", "perplexity", "/chat/completions",
     {**PLAIN, "num_search_queries": 2}, {**PLAIN_READ, "web_search_requests": 2}),
    ("sound by its length", "mistral", "/v1/audio/transcriptions",
     {**PLAIN, "prompt_audio_seconds": 36, "prompt_tokens_details": {"audio_tokens": 90}},
     {**PLAIN_READ, "audio_milliseconds": 36_000}),
    ("what connectors brought", "mistral", "/v1/conversations",
     {**PLAIN, "total_tokens": 7140, "connector_tokens": 7000, "connectors": {"web_search": 1}},
     {**PLAIN_READ, "input_tokens_total": 7100, "web_search_requests": 1}),
    ("what connectors brought is in the prompt", "mistral", "/v1/conversations/conv_1",
     {**PLAIN, "connector_tokens": 70}, PLAIN_READ),
    ("no connectors", "mistral", "/v1/conversations/conv_1/restart", {**PLAIN, "connectors": None}, PLAIN_READ),
    ("a written cache", "openrouter", "/api/v1/chat/completions",
     {**PLAIN, "prompt_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 50}},
     {**PLAIN_READ, "cache_read_tokens": 10, "cache_write_tokens": 50}),
    ("units of a reranking", "openrouter", "/api/v1/rerank", {"search_units": 2, "cost": 0.004}, {"search_units": 2}),
    ("units of a reranking beside its tokens", "openrouter", "/api/v1/rerank",
     {"search_units": 1, "total_tokens": 150}, {"search_units": 1, "input_tokens_total": 150}),
    ("decisions", "openrouter", "/api/alpha/decisions", {"input_tokens": 100, "output_tokens": 40, "cost": 0.001},
     PLAIN_READ),
    ("a document that was read", "zai", "/api/paas/v4/layout_parsing", PLAIN, PLAIN_READ),
    ("pictures in and out", "openai", "/v1/images/generations",
     {"input_tokens": 50, "output_tokens": 4160, "total_tokens": 4210,
      "input_tokens_details": {"image_tokens": 40, "text_tokens": 10}},
     {"input_tokens_total": 50, "input_image_tokens": 40, "output_tokens_total": 4160, "output_images": 1}),
    ("sound as tokens", "openai", "/v1/audio/transcriptions",
     {"type": "tokens", "input_tokens": 14, "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
      "output_tokens": 45, "total_tokens": 59},
     {"input_tokens_total": 14, "input_audio_tokens": 14, "output_tokens_total": 45}),
    ("sound as seconds", "openai", "/v1/audio/transcriptions", {"type": "duration", "seconds": 9.5},
     {"audio_milliseconds": 9500}),
    ("a total alone", "voyageai", "/v1/rerank", {"total_tokens": 77}, {"input_tokens_total": 77}),
    ("pictures to embed", "voyageai", "/v1/multimodalembeddings",
     {"text_tokens": 5, "image_pixels": 2_000_000, "total_tokens": 3576}, {"input_tokens_total": 3576}),
    ("an answer that was cut", "openai", "/v1/responses/compact",
     {"input_tokens": 100, "output_tokens": 40, "input_tokens_details": {"cached_tokens": 64}},
     {**PLAIN_READ, "cache_read_tokens": 64}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "path", "usage", "expected"), [d[1:] for d in DEPARTURES], ids=[d[0] for d in DEPARTURES]
)
def test_what_a_provider_states_in_its_own_way_has_the_common_meaning(
    kind: str, path: str, usage: dict[str, Any], expected: dict[str, int]
) -> None:
    facts = ask(kind, path, {"model": "m", "messages": []})
    assert (facts.billable, facts.api != "other") == (True, True)
    assert numbers(reading_of(kind, facts, {"model": "m", "usage": usage})) == expected


def test_deep_research_reads_its_sources_as_input_and_reasons_as_output() -> None:
    usage = {"prompt_tokens": 33, "completion_tokens": 7163, "total_tokens": 7196, "citation_tokens": 20_016,
             "num_search_queries": 18, "reasoning_tokens": 73_997, "cost": {"total_cost": 0.450034}}  # fmt: skip
    facts = ask("perplexity", "/chat/completions", {"model": "sonar-deep-research", "messages": []})
    reading = reading_of("perplexity", facts, {"model": "sonar-deep-research", "usage": usage})
    assert numbers(reading) == {
        "input_tokens_total": 33 + 20_016,
        "output_tokens_total": 7163 + 73_997,
        "reasoning_tokens": 73_997,
        "web_search_requests": 18,
    }
    assert reading.reported_cost_nanousd == 450_034_000


COSTS = [
    ("openrouter", {**PLAIN, "cost": 0.00095}, 950_000),
    ("openrouter", {**PLAIN, "cost": 0.00005, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.001}},
     1_050_000),
    ("openrouter", {**PLAIN, "cost": 0}, 0),
    ("openrouter", {**PLAIN, "cost": -1}, None),
    ("openrouter", {**PLAIN, "cost": "NaN"}, None),
    ("xai", {**PLAIN, "cost_in_usd_ticks": 1_466_250}, 146_625),
    ("perplexity", {**PLAIN, "cost": {"input_tokens_cost": 0.1, "total_cost": 0.0061}}, 6_100_000),
    ("perplexity", {**PLAIN, "cost": 5}, None),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "usage", "nanousd"), COSTS)
def test_what_a_provider_says_a_call_cost_is_kept(kind: str, usage: dict[str, Any], nanousd: int | None) -> None:
    reading = reading_of(kind, ask(kind, CHAT, {"model": "m", "messages": []}), {"model": "m", "usage": usage})
    assert (numbers(reading), reading.reported_cost_nanousd) == (PLAIN_READ, nanousd)


MESSAGE = {"input_tokens": 34, "output_tokens": 13, "cache_read_input_tokens": 192, "cache_creation_input_tokens": None,
           "cost": 0.00015472, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.00015472}}  # fmt: skip
MESSAGES = [
    (MESSAGE, 154_720),
    ({**MESSAGE, "cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.000088}}, 88_000),
]


@pytest.mark.parametrize(("usage", "nanousd"), MESSAGES)
def test_openrouter_says_what_a_message_cost_too(usage: dict[str, Any], nanousd: int) -> None:
    expected = {"input_tokens_total": 226, "cache_read_tokens": 192, "output_tokens_total": 13}
    path = "/api/v1/messages"
    whole = reading_of("openrouter", ask("openrouter", path, {"model": "m", "max_tokens": 9}), {"usage": usage})
    assert (numbers(whole), whole.reported_cost_nanousd) == (expected, nanousd)
    start = {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 34, "output_tokens": 1}}}
    stream = sse(start, {"type": "message_delta", "delta": {}, "usage": usage}, {"type": "message_stop"})
    facts = ask("openrouter", path, {"model": "m", "max_tokens": 9, "stream": True})
    streamed = reading_of("openrouter", facts, stream, SSE)
    assert (numbers(streamed), streamed.reported_cost_nanousd) == (expected, nanousd)


AGENT = {"input_tokens": 1200, "output_tokens": 40, "total_tokens": 1240,
         "input_tokens_details": {"cache_read_input_tokens": 1000, "cache_creation_input_tokens": 50},
         "tool_calls_details": {"web_search": {"invocation": 3}, "fetch_url": {"invocation": 1}},
         "cost": {"currency": "USD", "input_cost": 0.01, "output_cost": 0.01, "total_cost": 0.03037}}  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/agent", "/v1/responses"])
def test_perplexitys_agents_are_metered_under_both_their_names(path: str) -> None:
    facts = ask("perplexity", path, {"preset": "pro-search", "input": "Hi"})
    assert (facts.api, facts.billable, facts.input_open, bool(facts.unbounded)) == ("responses", True, True, True)
    answer = {"id": "r", "model": "openai/gpt-5.5", "status": "completed", "usage": AGENT}
    expected = {"input_tokens_total": 1200, "output_tokens_total": 40, "cache_read_tokens": 1000,
                "cache_write_tokens": 50, "web_search_requests": 3}  # fmt: skip
    whole = reading_of("perplexity", facts, answer)
    assert (numbers(whole), whole.model, whole.reported_cost_nanousd) == (expected, "openai/gpt-5.5", 30_370_000)
    last = {"type": "response.completed", "response": answer}
    facts = ask("perplexity", path, {"preset": "pro-search", "input": "Hi", "stream": True})
    streamed = reading_of("perplexity", facts, sse({"type": "response.created", "response": {}}, last), SSE)
    assert (numbers(streamed), streamed.complete, streamed.reported_cost_nanousd) == (expected, True, 30_370_000)
    fetched = ask("perplexity", path + "/resp_1", b"", "GET")
    assert (fetched.api, fetched.fetches) == ("responses", True)
    later = reading_of("perplexity", fetched, {**answer, "id": "resp_1", "background": True})
    assert (numbers(later), later.claim) == (expected, "resp_1")


def test_groq_reports_beside_its_last_chunk_unasked() -> None:
    facts = ask("groq", "/openai/v1/chat/completions", {"model": "m", "stream": True, "messages": []})
    assert facts.asks_usage
    last = {"choices": [{"delta": {}, "finish_reason": "stop"}], "x_groq": {"id": "r", "usage": PLAIN}}
    chunks = sse({"model": "m", "choices": [], "x_groq": {"id": "r"}}, last, done=True)
    assert numbers(reading_of("groq", facts, chunks, SSE)) == PLAIN_READ


@pytest.mark.parametrize("kind", ["perplexity", "xai"])
def test_where_every_chunk_has_the_usage_so_far_the_last_one_counts(kind: str) -> None:
    facts = ask(kind, CHAT, {"model": "m", "stream": True, "messages": []})
    chunks = [
        {"model": "m", "choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": n}} for n in (1, 9, 40)
    ]
    assert numbers(reading_of(kind, facts, sse(*chunks, done=True), SSE)) == PLAIN_READ


def test_nothing_is_added_to_a_stream_of_mistrals_on_vertex_which_refuses_options() -> None:
    path = "/v1/projects/p/locations/l/publishers/mistralai/models/mistral-medium-3:streamRawPredict"
    facts = ask("vertex", path, {"model": "mistral-medium-3", "messages": [], "stream": True})
    assert (facts.api, facts.stream, facts.asks_usage) == ("chat", True, True)
    said = {"model": "mistral-medium-3", "choices": [{"delta": {"content": "a"}}]}
    last = {**said, "choices": [{"delta": {}, "finish_reason": "stop"}], "usage": PLAIN}
    reading = reading_of("vertex", facts, sse(said, last, done=True), SSE)
    assert (numbers(reading), reading.complete) == (PLAIN_READ, True)


def test_a_conversation_of_mistrals_streams_its_report_in_its_last_event() -> None:
    facts = ask("mistral", "/v1/conversations/conv_1", {"inputs": "Hi", "stream": True})
    assert (facts.api, facts.billable, facts.stream) == ("conversations", True, True)
    events = sse({"type": "conversation.response.started"}, {"type": "conversation.response.done", "usage": PLAIN})
    reading = reading_of("mistral", facts, events, SSE)
    assert (numbers(reading), reading.complete) == (PLAIN_READ, True)


@pytest.mark.parametrize("path", ["/v1/conversations/conv_1/history", "/v1/conversations/conv_1"])
def test_reading_a_conversation_is_free(path: str) -> None:
    assert not ask("mistral", path, b"", "GET").billable


OLLAMA = [
    ("/api/chat", True, [{"message": {}}, {"done": True, "prompt_eval_count": 26, "eval_count": 298}],
     {"input_tokens_total": 26, "output_tokens_total": 298}),
    ("/api/generate", False, [{"done": True, "eval_count": 298}], {"output_tokens_total": 298}),
    ("/api/chat", True,
     [{"message": {}}, {"done": True, "prompt_eval_count": 38, "prompt_eval_cached_count": 37, "eval_count": 3}],
     {"input_tokens_total": 38, "cache_read_tokens": 37, "output_tokens_total": 3}),
    ("/api/generate", False, [{"done": True, "prompt_eval_count": 9, "prompt_eval_cached_count": 0, "eval_count": 1}],
     {"input_tokens_total": 9, "output_tokens_total": 1}),
    ("/api/embed", False, [{"embeddings": [], "prompt_eval_count": 8}], {"input_tokens_total": 8}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "stream", "lines", "expected"), OLLAMA)
def test_ollamas_last_line_counts(path: str, stream: bool, lines: list[Any], expected: dict[str, int]) -> None:
    facts = ask("ollama", path, {"model": "m", "stream": stream})
    body = "\n".join(json.dumps({"model": "m", **line}) for line in lines).encode()
    assert numbers(reading_of("ollama", facts, body, "application/x-ndjson" if stream else JSON)) == expected


def test_llama_cpp_says_by_its_timings_what_its_usage_does_not() -> None:
    facts = ask("openai-compatible", CHAT, {"model": "m", "messages": []})
    timings = {"cache_n": 60, "prompt_n": 40, "predicted_n": 40, "predicted_ms": 3.5}
    expected = {**PLAIN_READ, "cache_read_tokens": 60}
    assert numbers(reading_of("openai-compatible", facts, {"model": "m", "timings": timings})) == expected
    both = {"model": "m", "timings": timings, "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
    assert numbers(reading_of("openai-compatible", facts, both)) == {"input_tokens_total": 1, "output_tokens_total": 2}


def test_moonshot_reports_in_the_choice_that_ends_a_stream() -> None:
    facts = ask("openai-compatible", CHAT, {"model": "kimi-k3", "messages": [], "stream": True})
    facts.asks_usage = True  # as with ``usage_unasked``
    said = {"model": "kimi-k3", "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]}
    last = {"model": "kimi-k3", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop",
                                             "usage": {**PLAIN, "cached_tokens": 64}}]}  # fmt: skip
    reading = reading_of("openai-compatible", facts, sse(said, last, done=True), SSE)
    assert (numbers(reading), reading.complete) == ({**PLAIN_READ, "cache_read_tokens": 64}, True)


@pytest.mark.parametrize("asked", ["auto", "flex", ""])
def test_the_tier_is_the_one_that_the_answer_confirms(asked: str) -> None:
    request = {"model": "m", "messages": [], **({"service_tier": asked} if asked else {})}
    facts = ask("openai", CHAT, request)
    reading = reading_of("openai", facts, {"model": "m", "service_tier": "priority", "usage": PLAIN})
    assert (facts.service_tier, reading.service_tier) == (asked, "priority")
    last = {"type": "response.incomplete", "response": {"service_tier": "flex", "usage": {"input_tokens": 1}}}
    stream = reading_of("openai", ask("openai", "/v1/responses", {**request, "stream": True}), sse(last), SSE)
    assert stream.service_tier == "flex"


@pytest.mark.parametrize(("said", "tier"), [("standard", "standard"), ("priority", "priority"), (None, ""), (7, "")])
def test_mistrals_usage_names_the_tier_that_served(said: Any, tier: str) -> None:
    facts = ask("mistral", CHAT, {"model": "m", "messages": [], "service_tier": "priority"})
    reading = reading_of("mistral", facts, {"model": "m", "usage": {**PLAIN, "service_tier": said}})
    assert (facts.service_tier, reading.service_tier) == ("priority", tier)


@pytest.mark.parametrize("path", ["chat/completions", "responses", "messages"])
def test_what_becomes_a_preset_of_openrouters_is_answered_by_no_model(path: str) -> None:
    facts = ask("openrouter", f"/api/v1/presets/mine/{path}", {"model": "openai/gpt-5.4", "messages": []})
    assert (facts.billable, facts.model) == (False, "openai/gpt-5.4")


@pytest.mark.parametrize(("documents", "units"), [(["a"], 1), (["a"] * 90, 1), (["a"] * 101, 2), (None, 1)])
def test_the_units_of_a_reranking_at_openrouters_are_held(documents: Any, units: int) -> None:
    facts = ask("openrouter", "/api/v1/rerank", {"model": "cohere/rerank-v3.5", "query": "q", "documents": documents})
    assert facts.units_bound == {"search_units": units}


@pytest.mark.parametrize("path", ["/v1/moderations", "/v1/responses/input_tokens"])
def test_what_is_free_is_free_whatever_it_reports(path: str) -> None:
    assert not ask("openai", path, {"model": "m"}).billable


@pytest.mark.parametrize(
    ("kind", "path", "model"),
    [
        ("vertex", "/v1/projects/p/locations/l/endpoints/123:generateContent", "123"),
        ("gemini", "/v1beta/tunedModels/mine-1:generateContent", "mine-1"),
        ("vertex", "/v1/publishers/google/models/gemini-2.5-flash:generateContent", "gemini-2.5-flash"),
    ],
)
def test_tuned_models_of_google_are_metered(kind: str, path: str, model: str) -> None:
    facts = ask(kind, path, {"contents": []})
    assert (facts.api, facts.billable, facts.model) == ("generate_content", True, model)
    answer = {"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4}}
    assert numbers(reading_of(kind, facts, answer)) == {"input_tokens_total": 3, "output_tokens_total": 4}
