"""Gemini and Vertex: native paths, interactions, embeddings, pictures, and the OpenAI-compatible paths."""

from __future__ import annotations

import json
from typing import Any

import pytest
from usages import JSON, SSE, ask, numbers, reading_of, sse

from gateway.wire import dialects

GEMINI = "/v1beta/models/gemini-2.5-flash"
VERTEX = "/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-flash"
PROMPT = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
META = {
    "promptTokenCount": 100,
    "toolUsePromptTokenCount": 20,
    "candidatesTokenCount": 30,
    "thoughtsTokenCount": 7,
    "cachedContentTokenCount": 64,
    "totalTokenCount": 157,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 60}, {"modality": "AUDIO", "tokenCount": 40}],
    "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 24}, {"modality": "TEXT", "tokenCount": 40}],
    "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 25}, {"modality": "TEXT", "tokenCount": 5}],
}
EXPECTED = {
    "input_tokens_total": 120,
    "output_tokens_total": 37,
    "reasoning_tokens": 7,
    "cache_read_tokens": 64,
    "cache_read_audio_tokens": 24,
    "input_audio_tokens": 40,
    "output_image_tokens": 25,
}
PLACES = [("gemini", GEMINI), ("vertex", VERTEX)]


def piece(meta: Any, reason: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": 'a } "usageMetadata"'}]}}
    if reason:
        candidate["finishReason"] = reason
    return {"candidates": [candidate], "usageMetadata": meta, "modelVersion": "gemini-2.5-flash"}


@pytest.mark.parametrize(("kind", "base"), PLACES)
def test_thoughts_and_tool_prompts_come_on_top_of_what_the_candidates_and_the_prompt_count(
    kind: str, base: str
) -> None:
    facts = ask(kind, base + ":generateContent", PROMPT)
    assert (facts.model, facts.stream, facts.billable) == ("gemini-2.5-flash", False, True)
    assert numbers(reading_of(kind, facts, piece(META, "STOP"))) == EXPECTED


@pytest.mark.parametrize(("kind", "base"), PLACES)
@pytest.mark.parametrize("form", ["sse", "array"])
def test_each_chunk_of_a_stream_holds_the_usage_so_far(kind: str, base: str, form: str) -> None:
    facts = ask(kind, base + ":streamGenerateContent", PROMPT)
    chunks = [piece({"promptTokenCount": 100, "candidatesTokenCount": 9}), piece(META, "STOP")]
    body = sse(*chunks) if form == "sse" else json.dumps(chunks, indent=2).encode()
    reading = reading_of(kind, facts, body, SSE if form == "sse" else JSON)
    assert numbers(reading) == EXPECTED
    assert reading.complete


def test_a_stream_of_several_candidates_is_complete_when_the_last_of_them_is() -> None:
    facts = ask("gemini", GEMINI + ":streamGenerateContent", {**PROMPT, "generationConfig": {"candidateCount": 2}})
    chunks = [piece(META), piece(META, "STOP"), piece(META), piece(META, "STOP"), piece(META, "STOP")]
    for chunk in chunks[2:4]:
        chunk["candidates"][0]["index"] = 1
    for count in range(1, 4):
        assert not reading_of("gemini", facts, sse(*chunks[:count]), SSE).complete
    assert not reading_of("gemini", facts, sse(chunks[1], chunks[4]), SSE).complete
    assert reading_of("gemini", facts, sse(*chunks[:4]), SSE).complete


def test_an_array_that_breaks_off_is_not_complete() -> None:
    facts = ask("gemini", GEMINI + ":streamGenerateContent", PROMPT)
    body = json.dumps([piece({"promptTokenCount": 100, "candidatesTokenCount": 9}), piece(META, "STOP")]).encode()
    reading = reading_of("gemini", facts, body[: len(body) // 2])
    assert numbers(reading) == {"input_tokens_total": 100, "output_tokens_total": 9}
    assert not reading.complete


def test_an_element_with_a_picture_of_many_megabytes_is_read() -> None:
    facts = ask("gemini", GEMINI + ":streamGenerateContent", PROMPT)
    chunk = piece(META, "STOP")
    chunk["candidates"][0]["content"]["parts"] = [{"inlineData": {"mimeType": "image/png", "data": "iVBO" * 300_000}}]
    for body, content_type in ((sse(chunk), SSE), (json.dumps([chunk]).encode(), JSON)):
        meter_bytes = numbers(reading_of_pieces(facts, body, content_type))
        assert meter_bytes == EXPECTED


def reading_of_pieces(facts: Any, body: bytes, content_type: str) -> Any:
    meter = dialects.get("gemini").meter(facts, 200, [(b"content-type", content_type.encode())])
    for at in range(0, len(body), 10_007):
        meter.feed(body[at : at + 10_007])
    meter.flush()
    return meter.reading()


def test_modalities_written_as_numbers_are_the_same_modalities() -> None:
    facts = ask("vertex", VERTEX + ":generateContent?%24alt=json%3Benum-encoding%3Dint", PROMPT)
    meta = {**META, "trafficType": 1}
    numbered = {"TEXT": 1, "IMAGE": 2, "AUDIO": 4}
    for key in ("promptTokensDetails", "cacheTokensDetails", "candidatesTokensDetails"):
        meta[key] = [{**item, "modality": numbered[item["modality"]]} for item in META[key]]  # type: ignore[index, attr-defined]
    assert numbers(reading_of("vertex", facts, piece(meta, 1))) == EXPECTED  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("meta", "tier"), [({"serviceTier": "flex"}, "flex"), ({"trafficType": "ON_DEMAND_PRIORITY"}, "on_demand_priority")]
)
def test_the_tier_is_the_one_that_the_answer_names(meta: dict[str, Any], tier: str) -> None:
    facts = ask("gemini", GEMINI + ":generateContent", PROMPT)
    assert reading_of("gemini", facts, piece({"promptTokenCount": 1, **meta})).service_tier == tier


@pytest.mark.parametrize("value", [-1, "many", 1.5, [], {}, 2**70, True])
def test_absurd_counts_are_as_if_absent(value: Any) -> None:
    facts = ask("gemini", GEMINI + ":generateContent", PROMPT)
    details = [{"modality": value, "tokenCount": 3}, {"modality": "AUDIO", "tokenCount": value}, value]
    meta = {"promptTokenCount": 5, "candidatesTokenCount": value, "promptTokensDetails": details}
    assert numbers(reading_of("gemini", facts, piece(meta))) == {"input_tokens_total": 5}


def test_a_blocked_prompt_is_still_charged() -> None:
    facts = ask("gemini", GEMINI + ":generateContent", PROMPT)
    answer = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 12}}
    assert numbers(reading_of("gemini", facts, answer)) == {"input_tokens_total": 12}


def test_embeddings_report_in_three_ways() -> None:
    facts = ask("gemini", GEMINI + ":batchEmbedContents", {"requests": []})
    assert (facts.output_free, facts.billable) == (True, True)
    answer = {"embeddings": [{"values": [0.1]}], "usageMetadata": {"promptTokenCount": 261}}
    assert numbers(reading_of("gemini", facts, answer)) == {"input_tokens_total": 261}
    facts = ask("vertex", VERTEX + ":predict", {"instances": [{"content": "a"}, {"content": "b"}]})
    vectors = [{"embeddings": {"values": [0.1], "statistics": {"token_count": n, "truncated": False}}} for n in (4, 6)]
    assert numbers(reading_of("vertex", facts, {"predictions": vectors})) == {"input_tokens_total": 10}
    answer = {"predictions": [{"textEmbedding": [0.1], "imageEmbedding": [0.2]}]}
    assert numbers(reading_of("vertex", facts, answer)) is None


def test_pictures_are_counted_by_the_piece() -> None:
    facts = ask(
        "gemini", "/v1beta/models/imagen-4:predict", {"instances": [{"prompt": "a"}], "parameters": {"sampleCount": 2}}
    )
    assert facts.units_bound == {"output_images": 2}
    answer = {"predictions": [{"mimeType": "image/png", "bytesBase64Encoded": "aaaa"}] * 2}
    assert numbers(reading_of("gemini", facts, answer)) == {"output_images": 2}


USAGE = {
    "total_tokens": 260,
    "total_input_tokens": 9,
    "input_tokens_by_modality": [{"modality": "text", "tokens": 4}, {"modality": "audio", "tokens": 5}],
    "total_cached_tokens": 2,
    "total_output_tokens": 13,
    "total_tool_use_tokens": 18,
    "total_thought_tokens": 220,
}
INTERACTION = {"id": "v1_x", "status": "completed", "model": "gemini-2.5-flash", "service_tier": "flex", "usage": USAGE}
USED = {
    "input_tokens_total": 27,
    "input_audio_tokens": 5,
    "cache_read_tokens": 2,
    "output_tokens_total": 233,
    "reasoning_tokens": 220,
}


def test_interactions_are_metered_whole_and_streamed() -> None:
    request = {"model": "gemini-2.5-flash", "input": "Hi", "generation_config": {"max_output_tokens": 50}}
    facts = ask("gemini", "/v1beta/interactions", request)
    assert (facts.api, facts.model, facts.max_output, facts.billable) == ("interactions", "gemini-2.5-flash", 50, True)
    reading = reading_of("gemini", facts, INTERACTION)
    assert (numbers(reading), reading.service_tier, reading.complete) == (USED, "flex", True)
    facts = ask("gemini", "/v1beta/interactions", {**request, "stream": True})
    events = [
        {"event_type": "interaction.created", "interaction": {"id": "v1_x", "model": "gemini-2.5-flash"}},
        {"event_type": "step.delta", "index": 0, "delta": {"text": "said"}},
        {"event_type": "interaction.completed", "interaction": INTERACTION},
    ]
    reading = reading_of("gemini", facts, sse(*events, done=True), SSE)
    assert (numbers(reading), reading.model, reading.complete) == (USED, "gemini-2.5-flash", True)


def test_interactions_can_be_fetched_with_their_usage() -> None:
    made = ask("gemini", "/v1beta/interactions", {"agent": "deep-research-pro", "input": "Hi", "background": True})
    begun = reading_of("gemini", made, {"id": "v1_x", "status": "in_progress", "agent": "deep-research-pro"})
    assert (numbers(begun), begun.claim, made.fetches) == (None, "v1_x", False)
    path = "/v1beta/interactions/v1_x"
    facts = ask("gemini", path, b"", "GET")
    assert (facts.api, facts.fetches, facts.billable, facts.stream) == ("interactions", True, False, False)
    running = {**INTERACTION, "status": "in_progress"}
    assert numbers(reading_of("gemini", facts, running)) is None
    done = reading_of("gemini", facts, INTERACTION)
    assert (numbers(done), done.claim, done.model) == (USED, "v1_x", "gemini-2.5-flash")
    again = ask("gemini", path + "?stream=true", b"", "GET")
    assert (again.stream, again.fetches) == (True, True)
    assert ask("gemini", path + "/cancel", {}).fetches
    for method, other in (("DELETE", path), ("GET", "/v1beta/interactions"), ("GET", "/v1beta/interactions/live")):
        assert not ask("gemini", other, b"", method).fetches


@pytest.mark.parametrize(
    ("kind", "path", "usage", "expected"),
    [
        ("gemini", "/v1beta/decisions", USAGE, USED),
        ("openai", "/v1/decisions",
         {"input_tokens": 900, "input_tokens_details": {"cached_tokens": 700, "cache_write_tokens": 20},
          "output_tokens": 30, "output_tokens_details": {"reasoning_tokens": 8}, "total_tokens": 930},
         {"input_tokens_total": 900, "cache_read_tokens": 700, "cache_write_tokens": 20, "output_tokens_total": 30,
          "reasoning_tokens": 8}),
    ],
)  # fmt: skip
def test_decisions_are_metered(kind: str, path: str, usage: dict[str, Any], expected: dict[str, int]) -> None:
    request = {"model": "models/m-1" if kind == "gemini" else "m-1", "input": "Hi", "questions": {"a": {}}}
    facts = ask(kind, path, request)
    assert (facts.api, facts.model, facts.billable) == ("decisions", "m-1", True)
    assert numbers(reading_of(kind, facts, {"answers": {}, "usage": usage})) == expected


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("gemini", "/v1beta/openai/chat/completions"),
        ("vertex", "/v1/projects/p/locations/l/endpoints/openapi/chat/completions"),
    ],
)
def test_on_openais_paths_thoughts_stand_in_the_total_alone(kind: str, path: str) -> None:
    facts = ask(kind, path, {"model": "google/gemini-2.5-pro", "messages": []})
    answer = {"model": "gemini-2.5-pro", "usage": {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109}}
    assert numbers(reading_of(kind, facts, answer)) == {
        "input_tokens_total": 35,
        "output_tokens_total": 74,
        "reasoning_tokens": 62,
    }


SEEN = [{"modality": "TEXT", "tokenCount": 10}, {"modality": "IMAGE", "tokenCount": 258},
        {"modality": "DOCUMENT", "tokenCount": 100}, {"modality": "VIDEO", "tokenCount": 900}]  # fmt: skip
EMBED = "/v1beta/models/gemini-embedding-2:embedContent"


@pytest.mark.parametrize(
    ("path", "pictures"),
    [(EMBED, {"input_image_tokens": 358}), ("/v1beta/models/gemini-3.8-flash:generateContent", {})],
)
def test_video_is_a_part_of_the_prompt_and_pictures_where_they_have_a_price(
    path: str, pictures: dict[str, int]
) -> None:
    meta = {"promptTokenCount": 1268, "promptTokensDetails": SEEN}
    found = numbers(reading_of("gemini", ask("gemini", path, {"contents": []}), {"usageMetadata": meta}))
    assert found == {"input_tokens_total": 1268, "input_video_tokens": 900, **pictures}


@pytest.mark.parametrize(
    ("operation", "details"), [("embedContent", "promptTokensDetails"), ("batchEmbedContents", "promptTokenDetails")]
)
def test_what_was_heard_and_seen_has_its_own_price_in_embeddings_of_either_spelling(
    operation: str, details: str
) -> None:
    heard = [*SEEN, {"modality": "AUDIO", "tokenCount": 320}]
    answer = {"embeddings": [{"values": [0.1]}], "usageMetadata": {"promptTokenCount": 1588, details: heard}}
    facts = ask("gemini", f"/v1beta/models/gemini-embedding-2:{operation}", {"requests": []})
    assert numbers(reading_of("gemini", facts, answer)) == {
        "input_tokens_total": 1588,
        "input_audio_tokens": 320,
        "input_video_tokens": 900,
        "input_image_tokens": 358,
    }


@pytest.mark.parametrize("base", ["/v1beta1/projects/p/locations/us-central1/", "/v1/projects/p/locations/global/"])
def test_interactions_are_metered_on_vertex_too(base: str) -> None:
    request = {"model": "gemini-2.5-flash", "input": "Hi", "generation_config": {"max_output_tokens": 50}}
    facts = ask("vertex", base + "interactions", request)
    assert (facts.api, facts.model, facts.max_output, facts.billable) == ("interactions", "gemini-2.5-flash", 50, True)
    assert facts.region == base.split("/")[-2]
    assert numbers(reading_of("vertex", facts, INTERACTION)) == USED
    streamed = ask("vertex", base + "interactions", {**request, "stream": True})
    ends = {"event_type": "interaction.completed", "interaction": INTERACTION}
    reading = reading_of("vertex", streamed, sse(ends, done=True), SSE)
    assert (numbers(reading), reading.claim, reading.complete) == (USED, "v1_x", True)
    fetched = ask("vertex", base + "interactions/v1_x", b"", "GET")
    assert (fetched.api, fetched.fetches, fetched.region) == ("interactions", True, facts.region)
    assert numbers(reading_of("vertex", fetched, INTERACTION)) == USED
    assert ask("vertex", base + "interactions/v1_x/cancel", {}).fetches
    assert not ask("vertex", base + "interactions/v1_x", b"", "DELETE").fetches
    body, dialect = json.dumps(request).encode(), dialects.get("vertex")
    clamped = dialect.clamp(facts, body, 7)
    assert clamped is not None
    assert json.loads(clamped)["generation_config"] == {"max_output_tokens": 7}
    target, renamed = dialect.rename_model(facts, (base + "interactions").encode(), body, "gemini-3-pro")
    assert (target.decode(), json.loads(renamed)["model"]) == (base + "interactions", "gemini-3-pro")


CREATE_STREAM = "/v1beta1/projects/p/locations/global/interactions:createStream"
ASKED = {
    "interaction": {
        "modelInteraction": {"model": "gemini-2.5-flash", "generationConfig": {"maxOutputTokens": 50}},
        "stringContent": "Hi",
        "serviceTier": "FLEX",
        "tools": [{"function": {"name": "look"}}],
    }
}
ANSWERED = {
    "id": "v1_x",
    "status": "COMPLETED",
    "modelInteraction": {"model": "gemini-2.5-flash"},
    "serviceTier": "FLEX",
    "usage": {
        "totalInputTokens": 9,
        "inputTokensByModality": [{"modality": "TEXT", "tokens": 4}, {"modality": "AUDIO", "tokens": 5}],
        "totalCachedTokens": 2,
        "totalOutputTokens": 13,
        "totalToolUseTokens": 18,
        "totalThoughtTokens": 220,
        "groundingToolCount": [{"type": "GOOGLE_SEARCH", "count": 3}],
    },
}


@pytest.mark.parametrize("form", ["sse", "array", "long array", "document"])
def test_interactions_in_protocol_buffers_json_are_metered(form: str) -> None:
    facts = ask("vertex", CREATE_STREAM, ASKED)
    assert (facts.api, facts.model, facts.max_output, facts.billable) == ("interactions", "gemini-2.5-flash", 50, True)
    assert (facts.stream, facts.unbounded, facts.service_tier) == (True, "", "flex")
    events = [
        {"interactionCreatedEvent": {"interaction": {"id": "v1_x", "modelInteraction": {"model": "gemini-2.5-flash"}}}},
        {"stepDelta": {"index": 0, "delta": {"text": 'said "usage"'}}},
        {"interactionCompletedEvent": {"interaction": ANSWERED}},
    ]
    if form == "long array":
        events[2]["interactionCompletedEvent"] = {"interaction": {"steps": ["x" * 300_000], **ANSWERED}}
    answer = {"sse": sse(*events), "document": json.dumps(ANSWERED).encode()}.get(form, json.dumps(events).encode())
    reading = reading_of("vertex", facts, answer, SSE if form == "sse" else JSON)
    assert numbers(reading) == {**USED, "web_search_requests": 3}
    assert (reading.model, reading.claim, reading.service_tier) == ("gemini-2.5-flash", "v1_x", "flex")
    assert reading.complete == (form != "document")


def test_interactions_in_protocol_buffers_json_are_held_by_their_model_and_its_limit() -> None:
    dialect, body = dialects.get("vertex"), json.dumps(ASKED).encode()
    facts = ask("vertex", CREATE_STREAM, ASKED)
    clamped = dialect.clamp(facts, body, 7)
    assert clamped is not None
    assert json.loads(clamped)["interaction"]["modelInteraction"]["generationConfig"] == {"maxOutputTokens": 7}
    _, renamed = dialect.rename_model(facts, CREATE_STREAM.encode(), body, "gemini-3-pro")
    assert json.loads(renamed)["interaction"]["modelInteraction"]["model"] == "gemini-3-pro"
    snake = {"interaction": {"model_interaction": {"model": "m", "generation_config": {"max_output_tokens": 9}}}}
    facts = ask("vertex", CREATE_STREAM, snake)
    assert (facts.model, facts.max_output) == ("m", 9)
    clamped = dialect.clamp(facts, json.dumps(snake).encode(), 7)
    assert clamped is not None
    assert json.loads(clamped)["interaction"]["model_interaction"]["generation_config"] == {"max_output_tokens": 7}
    agent = {"interaction": {"agentInteraction": {"agent": "deep-research-pro"}, "stringContent": "Hi"}}
    facts = ask("vertex", CREATE_STREAM, agent)
    assert (facts.model, facts.input_open, bool(facts.unbounded)) == ("deep-research-pro", True, True)
    assert dialect.clamp(facts, json.dumps(agent).encode(), 7) is None
    searching = {"interaction": {"modelInteraction": {"model": "gemini-3-pro"}, "tools": [{"googleSearch": {}}]}}
    facts = ask("vertex", CREATE_STREAM, searching)
    assert (facts.input_open, bool(facts.unbounded), facts.units_bound["web_search_requests"] > 0) == (True, True, True)


def test_an_interaction_that_was_made_in_protocol_buffers_json_can_be_fetched() -> None:
    facts = ask("vertex", "/v1/projects/p/locations/global/interactions/v1_x", b"", "GET")
    reading = reading_of("vertex", facts, ANSWERED)
    assert (numbers(reading), reading.claim) == ({**USED, "web_search_requests": 3}, "v1_x")
    assert numbers(reading_of("vertex", facts, {**ANSWERED, "status": "IN_PROGRESS"})) is None
    failed = reading_of("vertex", ask("vertex", CREATE_STREAM, ASKED), sse({"errorEvent": {"error": {"code": 8}}}), SSE)
    assert (failed.failed, failed.usage) == (True, None)
