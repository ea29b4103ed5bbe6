"""A call never uses more than was held for it: every recorded exchange, and all that may hide outside of a body."""

from __future__ import annotations

import json
from typing import Any

import corpus
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tokens.bounds import Bound, bound
from gateway.wire import dialects
from gateway.wire.facts import Facts
from pricing.catalogue import load
from pricing.models import load_models

MODELS = load_models((), load())
SHORTENED = "very very long system prompt"
"""Stands in requests whose text was cut before they were recorded: the usage is that of the longer one."""


def facts_of(kind: str, path: str, body: dict[str, Any]) -> Facts:
    return dialects.get(kind).read(b"POST", path.encode(), b"application/json", json.dumps(body).encode())


def bound_of(kind: str, facts: Facts) -> Bound:
    return bound(facts, MODELS.facts(dialects.get(kind).price_as, facts.model))


def recorded() -> list[Any]:
    found = [case for case in corpus.cases() if case.usage and SHORTENED.encode() not in case.request_body]
    return [pytest.param(case, id=case.id) for case in found] or [
        pytest.param(None, marks=pytest.mark.skip(reason="no recorded exchanges here"))
    ]


@pytest.mark.parametrize("case", recorded())
def test_what_a_recorded_exchange_used_is_within_its_bound(case: corpus.Case) -> None:
    facts = corpus.facts_of(case)
    assert facts.billable
    held, used = bound_of(case.kind, facts), case.usage or {}
    assert used.get("input_tokens_total", 0) <= held.input_tokens
    assert used.get("output_tokens_total", 0) <= held.output_tokens
    for unit in ("web_search_requests", "search_units"):
        assert used.get(unit, 0) <= held.units.get(unit, 0)


TALK = [{"role": "user", "content": "hi"}]
CHAT = "/v1/chat/completions"
GEMINI = "/v1beta/models/gemini-2.5-flash:generateContent"
CONVERSE = "/model/anthropic.claude-sonnet-4-5-20250929-v1:0/converse"
INVOKE = "/model/anthropic.claude-sonnet-4-5-20250929-v1:0/invoke"
CONTENTS = [{"role": "user", "parts": [{"text": "hi"}]}]


def claude(**more: Any) -> tuple[str, str, dict[str, Any]]:
    return "anthropic", "/v1/messages", {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": TALK, **more}


def gemini(**more: Any) -> tuple[str, str, dict[str, Any]]:
    return "gemini", GEMINI, {"contents": CONTENTS, **more}


OUTSIDE: list[tuple[str, str, dict[str, Any]]] = [
    claude(tools=[{"type": "web_search_20250305", "name": "web_search"}]),
    claude(tools=[{"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-4-8"}]),
    claude(tools=[{"type": "a_tool_that_is_not_yet_made", "name": "x"}]),
    claude(mcp_servers=[{"type": "url", "url": "https://example.com"}]),
    claude(messages=[{"role": "user", "content": [{"type": "image", "source": {"type": "url"}}]}]),
    claude(messages=[{"role": "user", "content": [{"type": "document", "source": {"type": "file"}}]}]),
    claude(container="c_1"),
    ("bedrock", INVOKE, {"max_tokens": 9, "messages": TALK, "tools": [{"type": "tool_search_regex", "name": "x"}]}),
    ("bedrock", CONVERSE, {"messages": [{"role": "user", "content": [{"image": {"format": "png"}}]}]}),
    ("bedrock", CONVERSE, {"toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}]}}),
    gemini(tools=[{"googleSearch": {}}]),
    gemini(tools=[{"google_maps": {}}]),
    gemini(tools=[{"functionDeclarations": []}, {"enterpriseWebSearch": {}}]),
    gemini(tools=[{"aToolThatIsNotYetMade": {}}]),
    gemini(contents=[{"parts": [{"inlineData": {"mimeType": "audio/wav", "data": ""}}]}]),
    gemini(cachedContent="cachedContents/1"),
    (
        "gemini",
        "/v1beta/openai/chat/completions",
        {
            "model": "gemini-2.5-flash",
            "messages": TALK,
            "extra_body": {"google": {"cached_content": "cachedContents/1"}},
        },
    ),
    ("bedrock", "/model/arn:aws:bedrock:us-east-1:1:prompt%2FABC:1/converse", {"promptVariables": {}}),
    ("openai", CHAT, {"model": "gpt-4o", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
    ("openai", "/v1/responses", {"model": "gpt-4o", "input": "hi", "previous_response_id": "resp_1"}),
    ("openai", "/v1/responses", {"model": "gpt-4o", "input": "hi", "tools": [{"type": "web_search"}]}),
    ("openai", "/v1/responses", {"model": "gpt-4o", "input": "hi", "tools": [{"type": "not_yet_made"}]}),
    ("openai", "/v1/responses", {"model": "gpt-4o", "prompt": {"id": "pmpt_1"}}),
    ("cohere", "/v1/chat", {"model": "command-r", "message": "hi", "connectors": [{"id": "web-search"}]}),
    ("mistral", "/v1/conversations", {"model": "mistral-large-latest", "inputs": "hi"}),
    ("openrouter", CHAT, {"model": "openai/gpt-4o:online", "messages": TALK}),
    ("openrouter", CHAT, {"model": "openai/gpt-4o", "messages": TALK, "plugins": [{"id": "web"}]}),
    ("xai", CHAT, {"model": "grok-3", "messages": TALK, "search_parameters": {"mode": "on"}}),
    ("perplexity", "/chat/completions", {"model": "sonar-deep-research", "messages": TALK}),
    ("groq", CHAT, {"model": "groq/compound", "messages": TALK}),
    ("ollama", "/api/generate", {"model": "llava", "prompt": "hi", "images": ["aGk="]}),
]


@pytest.mark.parametrize(("kind", "path", "body"), OUTSIDE)
def test_input_that_lies_outside_of_the_body_is_held_at_the_context_window(
    kind: str, path: str, body: dict[str, Any]
) -> None:
    facts = facts_of(kind, path, body)
    window = MODELS.facts(dialects.get(kind).price_as, facts.model).context_window
    assert bound_of(kind, facts).input_tokens == window
    assert window > 10_000


OWN = {"name": "add", "input_schema": {"type": "object"}}
WITHIN: list[tuple[str, str, dict[str, Any], int]] = [
    (*claude(), 1024),
    (*claude(tools=[OWN, {"type": "custom", **OWN}, {"type": None, **OWN}]), 1024),
    (*claude(tools=[OWN, {"type": "bash_20250124", "name": "bash"}]), 2048),
    (*claude(tools=[{"type": "text_editor_20250728", "name": "e"}, {"type": "memory_20250818", "name": "m"}]), 3072),
    (*gemini(tools=[{"functionDeclarations": [{"name": "add"}]}, {"function_declarations": []}]), 64),
    ("bedrock", CONVERSE, {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}, 1024),
    ("openai", CHAT, {"model": "gpt-4o", "messages": TALK, "tools": [{"type": "function", "function": OWN}]}, 1296),
]


@pytest.mark.parametrize(("kind", "path", "body", "overhead"), WITHIN)
def test_text_and_the_callers_own_tools_are_held_at_their_bytes(
    kind: str, path: str, body: dict[str, Any], overhead: int
) -> None:
    facts = facts_of(kind, path, body)
    assert bound_of(kind, facts).input_tokens == len(json.dumps(body)) + overhead


@pytest.mark.parametrize(
    ("asked", "kind", "searches"),
    [
        (claude(tools=[{"type": "web_search_20250305", "name": "w", "max_uses": 5}]), "anthropic", 5),
        (claude(tools=[{"type": "web_search_20250305", "name": "w"}]), "anthropic", 30),
        (claude(tools=[{"type": "web_search_20250305", "name": "w", "max_uses": None}]), "anthropic", 30),
        (claude(tools=[OWN]), "anthropic", 0),
        (("perplexity", "/chat/completions", {"model": "sonar-deep-research", "messages": TALK}), "perplexity", 100),
        (("perplexity", "/chat/completions", {"model": "sonar", "messages": TALK}), "perplexity", 0),
    ],
)
def test_searches_that_are_charged_by_the_piece_are_held_too(
    asked: tuple[str, str, dict[str, Any]], kind: str, searches: int
) -> None:
    assert bound_of(kind, facts_of(*asked)).units.get("web_search_requests", 0) == searches


def test_a_limit_that_is_said_in_two_spellings_is_held_at_the_larger_and_clamped_in_both() -> None:
    body = gemini(generationConfig={"maxOutputTokens": 1}, generation_config={"max_output_tokens": 8000})[2]
    raw = json.dumps(body).encode()
    dialect = dialects.get("gemini")
    facts = dialect.read(b"POST", GEMINI.encode(), b"application/json", raw)
    assert bound_of("gemini", facts).output_tokens == 8000
    clamped = dialect.clamp(facts, raw, 20)
    assert clamped == raw.replace(b": 8000", b": 20").replace(b": 1}", b": 20}")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(["anthropic", "gemini", "bedrock", "openai"]), VALUES, st.booleans())
def test_tools_of_any_shape_are_read_without_an_error(kind: str, tools: Any, odd: bool) -> None:
    paths = {"anthropic": "/v1/messages", "gemini": GEMINI, "bedrock": INVOKE, "openai": CHAT}
    body = json.dumps({"model": "m", "messages": TALK, "max_tokens": 9, "tools": tools})
    if odd:
        # half a surrogate pair: read by the slower parser
        body = body[:-1] + ', "user": "\\ud800"}'
    facts = dialects.get(kind).read(b"POST", paths[kind].encode(), b"application/json", body.encode())
    assert facts.billable
    assert bound_of(kind, facts).input_tokens > 0


@pytest.mark.parametrize(
    ("kind", "path", "body"),
    [
        ("openai-compatible", CHAT, {"max_output_tokens": 1}),
        ("openai-compatible", "/v1/completions", {"max_completion_tokens": 1, "prompt": "hi"}),
        ("openai-compatible", "/v1/responses", {"max_tokens": 1, "input": "hi"}),
        ("deepseek", CHAT, {"max_completion_tokens": 1}),
        ("ollama", CHAT, {"max_completion_tokens": 1}),
        ("openai-compatible", CHAT, {"max_tokens": 0}),
        ("ollama", "/api/chat", {"options": {"num_predict": 0}}),
        ("gemini", GEMINI, {"generationConfig": {"maxOutputTokens": 0}}),
    ],
)
def test_what_an_operation_does_not_know_as_a_limit_bounds_nothing(kind: str, path: str, body: dict[str, Any]) -> None:
    facts = facts_of(kind, path, {"model": "m", "messages": TALK, **body})
    limits = MODELS.facts(dialects.get(kind).price_as, facts.model)
    assert bound_of(kind, facts).output_tokens == limits.max_output > 1000


def test_a_clamp_of_a_server_that_does_not_know_the_limit_of_the_request_sets_the_one_it_knows() -> None:
    raw = b'{"model":"m","messages":[],"max_completion_tokens":9000}'
    dialect = dialects.get("deepseek")
    facts = dialect.read(b"POST", CHAT.encode(), b"application/json", raw)
    assert json.loads(dialect.clamp(facts, raw, 20) or b"{}")["max_tokens"] == 20


@pytest.mark.parametrize(("n", "choices"), [(3, 3), ("3", 3), (3.0, 3), (None, 1), (0, 1), (" 3", 128), ("+3", 128)])
def test_choices_that_another_parser_may_read_are_held(n: Any, choices: int) -> None:
    facts = facts_of("openai-compatible", CHAT, {"model": "m", "messages": TALK, "max_tokens": 10, "n": n})
    assert bound_of("openai-compatible", facts).output_tokens == 10 * choices


TITLE = "/model/ai21.jamba-1-5-large-v1:0/invoke"


@pytest.mark.parametrize("body", [
    {"max_tokens": 100, "n": 5}, {"max_tokens": 100, "num_generations": 5}, {"maxTokens": 100, "numResults": 5},
    {"max_tokens": 1, "max_completion_tokens": 500}, {"max_tokens": 1, "inferenceConfig": {"max_new_tokens": 500}},
    {"inferenceConfig": {"maxTokens": 1, "max_new_tokens": 500}},
])  # fmt: skip
def test_what_an_invocation_may_answer_is_held_whatever_its_family_reads(body: dict[str, Any]) -> None:
    assert bound_of("bedrock", facts_of("bedrock", TITLE, {"prompt": "hi", **body})).output_tokens == 500


def test_a_clamp_lowers_every_limit_that_an_invocation_names_or_none() -> None:
    dialect = dialects.get("bedrock")
    facts = facts_of("bedrock", TITLE, {"max_tokens": 100})
    both = b'{"max_tokens":100,"max_completion_tokens":500}'
    assert dialect.clamp(facts, both, 9) == b'{"max_tokens":9,"max_completion_tokens":9}'
    assert dialect.clamp(facts, b'{"max_tokens":100,"inferenceConfig":{"maxTokens":500}}', 9) is None


def test_an_invocations_tier_is_not_read_from_its_body() -> None:
    asked = {"serviceTier": {"type": "flex"}, "max_tokens": 9}
    assert facts_of("bedrock", TITLE, asked).service_tier == ""
    assert facts_of("bedrock", CONVERSE, asked).service_tier == "flex"


@pytest.mark.parametrize(("query", "document", "documents"), [("q", 501, 1000), ("q" * 400, 200, 1000), ("q", 10, 1)])
def test_documents_that_are_split_with_their_query_are_held_as_search_units(
    query: str, document: int, documents: int
) -> None:
    asked = {"model": "rerank-v3.5", "query": query, "documents": ["d" * document] * documents}
    pieces = documents * -(-(document + len(query)) // 500)
    assert facts_of("cohere", "/v2/rerank", asked).units_bound["search_units"] >= -(-pieces // 100)


def test_pictures_that_are_embedded_are_held_for_each_input() -> None:
    picture = {"inlineData": {"mimeType": "image/png", "data": ""}}
    requests = [{"content": {"parts": [picture]}}] * 3
    path = "/v1beta/models/gemini-embedding-001:batchEmbedContents"
    window = MODELS.facts("gemini", "gemini-embedding-001").context_window
    assert bound_of("gemini", facts_of("gemini", path, {"requests": requests})).input_tokens == 3 * window
    seen = {"inputs": [{"content": [{"type": "image_url", "image_url": "https://example.com/a.png"}]}]}
    facts = facts_of("voyageai", "/v1/multimodalembeddings", {"model": "voyage-multimodal-3", **seen})
    assert bound_of("voyageai", facts).input_tokens >= 320_000


@pytest.mark.parametrize(("more", "endless"), [
    ({"agent": "deep-research-pro-preview-12-2025"}, True), ({"model": "m", "tools": [{"type": "url_context"}]}, True),
    ({"model": "m", "tools": [{"type": "function", "name": "add"}]}, False), ({"model": "m"}, False),
])  # fmt: skip
def test_an_interaction_whose_tools_google_runs_has_no_bound(more: dict[str, Any], endless: bool) -> None:
    facts = facts_of("gemini", "/v1beta/interactions", {"input": "hi", **more})
    assert bool(facts.unbounded) == endless
    assert facts.units_bound.get("web_search_requests", 0) == (200 if "agent" in more else 0)
