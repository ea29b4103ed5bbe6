"""Searches of the web that are charged by the piece: as many as the provider reports, else as its answer shows."""

from __future__ import annotations

import json
from typing import Any

import corpus
import pytest
from usages import SSE, ask, numbers, reading_of, sse

RESPONSES = "/v1/responses"
USAGE = {"input_tokens": 8576, "output_tokens": 52}
READ = {"input_tokens_total": 8576, "output_tokens_total": 52}
TOOL = {"model": "gpt-5.6", "input": "Hi", "tools": [{"type": "web_search"}]}


def call(action: Any = None, status: str = "completed") -> dict[str, Any]:
    return {"type": "web_search_call", "id": "ws_1", "status": status, **({"action": action} if action else {})}


SEARCH = {"type": "search", "query": "tower", "queries": ["tower"]}
OPEN = {"type": "open_page", "url": "https://example.com"}
MESSAGE = {"type": "message", "content": [{"type": "output_text", "text": 'said "web_search_call"'}]}
ANSWERS: list[tuple[str, dict[str, Any], dict[str, int]]] = [
    ("reported", {"tool_usage": {"web_search": {"num_requests": 1}}, "output": [call(SEARCH), call(SEARCH)]},
     {"web_search_requests": 1}),
    ("reported as none", {"tool_usage": {"web_search": {"num_requests": 0}}, "output": [call(SEARCH)]}, {}),
    ("not reported", {"output": [call(SEARCH), MESSAGE, call(SEARCH)]}, {"web_searches_seen": 2}),
    ("before actions were told", {"output": [call()]}, {"web_searches_seen": 1}),
    ("pages that were opened", {"output": [call(OPEN), call({"type": "find_in_page"}), call(SEARCH)]},
     {"web_searches_seen": 1}),
    ("a search that failed", {"output": [call(SEARCH, "failed")]}, {}),
    ("no search", {"output": [MESSAGE]}, {}),
    ("no items", {"output": 'the "web_search_call"'}, {}),
    ("half a report", {"tool_usage": {"web_search": None}, "output": [call(SEARCH)]}, {"web_searches_seen": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "more"), [a[1:] for a in ANSWERS], ids=[a[0] for a in ANSWERS])
@pytest.mark.parametrize("kind", ["openai", "azure"])
def test_a_response_counts_its_searches_whole_and_streamed(
    kind: str, answer: dict[str, Any], more: dict[str, int]
) -> None:
    document = {"object": "response", "model": "gpt-5.6-sol", "usage": USAGE, **answer}
    whole = reading_of(kind, ask(kind, RESPONSES, TOOL), document)
    assert (numbers(whole), whole.source) == ({**READ, **more}, "response")
    created = {"type": "response.created", "response": {"model": "gpt-5.6-sol", "usage": None, "output": []}}
    item = {"type": "response.output_item.done", "item": call(SEARCH)}
    events = sse(created, item, {"type": "response.completed", "response": document})
    streamed = reading_of(kind, ask(kind, RESPONSES, {**TOOL, "stream": True}), events, SSE)
    assert numbers(streamed) == {**READ, **more}


def test_other_speakers_of_the_api_count_in_their_own_way() -> None:
    document = {"model": "m", "usage": USAGE, "output": [call(SEARCH)]}
    assert numbers(reading_of("groq", ask("groq", RESPONSES, TOOL), document)) == READ


CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("request_", "searches"),
    [
        ({"model": "gpt-4o-search-preview"}, 1),
        ({"model": "gpt-5-search-api"}, 1),
        ({"model": "m", "web_search_options": {}}, 1),
        ({"model": "gpt-4o"}, 0),
    ],
)
def test_a_search_model_of_chat_searches_once_an_answer(request_: dict[str, Any], searches: int) -> None:
    usage = {"prompt_tokens": 11, "completion_tokens": 17}
    facts = ask("openai", CHAT, {**request_, "messages": []})
    found = numbers(reading_of("openai", facts, {"model": request_["model"], "usage": usage}))
    assert found is not None
    assert found.get("web_searches_seen", 0) == searches
    assert facts.units_bound.get("web_search_requests", 0) == searches


def grounded(*queries: Any) -> dict[str, Any]:
    return {"content": {}, "groundingMetadata": {"webSearchQueries": list(queries), "groundingChunks": []}}


META = {"promptTokenCount": 417, "thoughtsTokenCount": 71, "candidatesTokenCount": 9}
GEMINI: list[tuple[str, list[list[Any]], int]] = [
    ("gemini-3-flash-preview", [["", "largest city in Mexico"]], 1),
    ("gemini-3-flash-preview", [["a", "b", "a", ""], ["b", "c"]], 3),
    ("gemini-3.8-flash", [[]], 0),
    ("gemini-4-argon", [["a", 5, None]], 1),
    ("gemini-2.5-flash", [["a", "b"], ["c"]], 1),
    ("gemini-2.5-flash", [[""]], 0),
    ("gemini-2.0-flash-001", [["a", "b"]], 1),
    ("gemini-live-2.5-flash", [["a", "b"]], 1),
]  # fmt: skip


@pytest.mark.parametrize(("model", "chunks", "searches"), GEMINI)
@pytest.mark.parametrize("kind", ["gemini", "vertex"])
def test_gemini_counts_queries_and_earlier_models_grounded_prompts(
    kind: str, model: str, chunks: list[list[Any]], searches: int
) -> None:
    base = "/v1beta/models" if kind == "gemini" else "/v1/projects/p/locations/l/publishers/google/models"
    request = {"contents": [], "tools": [{"googleSearch": {}}]}
    documents = [{"candidates": [grounded(*queries)], "modelVersion": model} for queries in chunks]
    documents.append({"candidates": [{"finishReason": "STOP"}], "usageMetadata": META, "modelVersion": model})
    facts = ask(kind, f"{base}/{model}:streamGenerateContent?alt=sse", request)
    found = numbers(reading_of(kind, facts, sse(*documents), SSE))
    assert found is not None
    assert found.pop("web_searches_seen", 0) == searches
    assert found == {"input_tokens_total": 417, "output_tokens_total": 80, "reasoning_tokens": 71}
    assert facts.units_bound["web_search_requests"] == (1 if "2." in model else 30)


def test_an_interaction_reports_its_searches() -> None:
    request = {"model": "gemini-3.8-flash", "input": "Hi", "tools": [{"type": "google_search"}]}
    usage = {"total_input_tokens": 5, "total_output_tokens": 7,
             "grounding_tool_count": [{"type": "google_maps", "count": 9}, {"type": "google_search", "count": 2},
                                      {"count": 7}]}  # fmt: skip
    facts = ask("gemini", "/v1beta/interactions", request)
    assert facts.units_bound == {"web_search_requests": 30}
    found = numbers(reading_of("gemini", facts, {"model": "gemini-3.8-flash", "usage": usage}))
    assert found == {"input_tokens_total": 5, "output_tokens_total": 7, "web_search_requests": 2}


@pytest.mark.parametrize(
    ("tools", "limit", "bound"),
    [
        ([{"type": "web_search"}], {}, 30),
        ([{"type": "web_search_preview_2025_03_11"}], {"max_tool_calls": 3}, 3),
        ([{"type": "function", "name": "web_search"}], {}, 0),
        ("web_search", {}, 0),
    ],
)
def test_a_response_holds_as_many_searches_as_it_may_make(tools: Any, limit: dict[str, int], bound: int) -> None:
    facts = ask("openai", RESPONSES, {"model": "m", "input": "Hi", "tools": tools, **limit})
    assert facts.units_bound.get("web_search_requests", 0) == bound


RECORDED = {
    "openai-responses-j-8302868ecc": 2,
    "google-generate_content-j-44dfab5a96": 1,
    "openrouter-chat-s-a96981154e": 1,
}


@pytest.mark.parametrize("case", corpus.of("openai", "gemini", "openrouter", "azure", "vertex"))
def test_recorded_answers_count_the_searches_that_they_show(case: corpus.Case) -> None:
    reading, _ = corpus.read(case, [case.response_body])
    seen = reading.usage.web_searches_seen if reading.usage else 0
    assert seen == RECORDED.get(case.id, 0), json.dumps(case.request_body.decode()[:200])
