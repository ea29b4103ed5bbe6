"""Answers whose content type says nothing, or something else than what came."""

from __future__ import annotations

import json

import pytest
from usages import JSON, SSE, ask, aws, numbers, reading_of, sse

from gateway.wire import dialects

CHAT = {"model": "m", "stream": True, "stream_options": {"include_usage": True}, "messages": []}
COUNTED = {"input_tokens_total": 11, "output_tokens_total": 22}
OPENAI = {"model": "m", "choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 22}}
ANTHROPIC = {"type": "message_delta", "usage": {"input_tokens": 11, "output_tokens": 22}}
GEMINI = {"candidates": [], "usageMetadata": {"promptTokenCount": 11, "candidatesTokenCount": 22}}
COHERE = {"type": "message-end", "delta": {"usage": {"billed_units": {"input_tokens": 11, "output_tokens": 22}}}}
INTERACTION = {"event_type": "interaction.completed",
               "interaction": {"usage": {"total_input_tokens": 11, "total_output_tokens": 22}}}  # fmt: skip
OLLAMA = json.dumps({"done": True, "prompt_eval_count": 11, "eval_count": 22}).encode() + b"\n"
COHERE_LINE = json.dumps({"is_finished": True, "response": {"meta": {"billed_units": {"input_tokens": 11,
                         "output_tokens": 22}}}}).encode()  # fmt: skip
STREAMS = [
    ("openai", "/v1/chat/completions", sse(OPENAI, done=True)),
    ("groq", "/openai/v1/chat/completions", sse(OPENAI, done=True)),
    ("anthropic", "/v1/messages", sse(ANTHROPIC)),
    ("gemini", "/v1beta/models/m:streamGenerateContent", sse(GEMINI)),
    ("gemini", "/v1beta/models/m:streamGenerateContent", json.dumps([GEMINI], indent=1).encode()),
    ("gemini", "/v1beta/interactions", sse(INTERACTION)),
    ("cohere", "/v2/chat", sse(COHERE)),
    ("cohere", "/v1/chat", COHERE_LINE),
    ("ollama", "/api/chat", OLLAMA),
]


@pytest.mark.parametrize("content_type", ["", JSON])
@pytest.mark.parametrize(("kind", "path", "body"), STREAMS)
def test_a_stream_is_told_by_its_first_byte_where_the_content_type_does_not_say_it(
    kind: str, path: str, body: bytes, content_type: str
) -> None:
    facts = ask(kind, path, CHAT)
    assert facts.stream
    for before in (b"", b"\xef\xbb\xbf", b"\r\n\n"):
        assert numbers(reading_of(kind, facts, before + body, content_type)) == COUNTED


@pytest.mark.parametrize("content_type", ["", JSON])
def test_a_bedrock_stream_is_told_by_its_first_byte_too(content_type: str) -> None:
    facts = ask("bedrock", "/model/amazon.nova-lite-v1:0/converse-stream", {"messages": []})
    body = aws(("metadata", {"usage": {"inputTokens": 11, "outputTokens": 22}}))
    assert numbers(reading_of("bedrock", facts, body, content_type)) == COUNTED
    error = {"message": "no"}
    assert reading_of("bedrock", facts, error, content_type, status=400).usage is None


@pytest.mark.parametrize("kind", ["openai", "anthropic", "gemini", "cohere"])
def test_one_document_that_answers_a_wish_for_a_stream_is_read_too(kind: str) -> None:
    path, answer = {
        "openai": ("/v1/chat/completions", OPENAI),
        "anthropic": ("/v1/messages", {"type": "message", "usage": ANTHROPIC["usage"]}),
        "gemini": ("/v1beta/models/m:streamGenerateContent", [GEMINI]),
        "cohere": ("/v2/chat", COHERE["delta"]),
    }[kind]
    assert numbers(reading_of(kind, ask(kind, path, CHAT), answer, JSON)) == COUNTED


@pytest.mark.parametrize("body", [b"", b"\n" * 9, b"\n" * 9000, b"x", b"{", b"[", b":"])
def test_an_answer_that_is_nothing_reports_nothing(body: bytes) -> None:
    assert reading_of("openai", ask("openai", "/v1/chat/completions", CHAT), body, "").usage is None


@pytest.mark.parametrize(
    ("path", "model", "added"),
    [
        ("/v1/chat/completions", "deepseek-ai/DeepSeek-R1", True),
        ("/v1/chat/completions", "deepseek-ai/DeepSeek-R1:nebius", True),
        ("/v1/chat/completions", "deepseek-ai/DeepSeek-R1:together", False),
        ("/together/v1/chat/completions", "deepseek-ai/DeepSeek-R1", False),
        ("/novita/v3/openai/chat/completions", "deepseek/deepseek-r1", False),
        ("/nebius/v1/chat/completions", "deepseek-ai/DeepSeek-R1", True),
    ],
)
def test_a_router_is_asked_for_usage_where_the_provider_behind_it_does_not_report_it_anyway(
    path: str, model: str, added: bool
) -> None:
    facts = ask("huggingface", path, {"model": model, "stream": True, "messages": []})
    assert facts.asks_usage is not added
    null = b'data: {"choices":[{"delta":{"content":"a"}}],"usage":null}\n\n'
    meter = dialects.get("huggingface").meter(facts, 200, [(b"content-type", b"text/event-stream")])
    assert (meter.feed(null) + meter.flush() == null) is not added


def test_nothing_is_added_to_a_stream_of_azures_model_inference_which_refuses_what_it_does_not_know() -> None:
    asked = {"model": "Llama-3.3-70B-Instruct", "stream": True, "messages": []}
    facts = ask("azure", "/models/chat/completions?api-version=2024-05-01-preview", asked)
    assert (facts.api, facts.billable, facts.asks_usage) == ("chat", True, True)
    last = {"model": "Llama-3.3-70B-Instruct", "choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 22}}
    assert numbers(reading_of("azure", facts, sse(last, done=True), SSE)) == COUNTED


VLLM = b'data: {"id":"c","choices":[{"index":0,"text":"a","logprobs":null,"stop_reason":null}],"usage":null}\n\n'
PLAIN = b'data: {"id":"c","choices":[{"index":0,"text":"a","logprobs":null}],"usage":null}\n\n'
REPORT = b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":11,"completion_tokens":22}}\n\n'
END = b"data: [DONE]\n\n"


@pytest.mark.parametrize("size", [1, 50, 10_000])
@pytest.mark.parametrize(
    ("stream", "left"),
    [
        (VLLM * 30 + REPORT + END, VLLM * 30 + END),
        (PLAIN * 30 + REPORT + END, PLAIN.replace(b',"usage":null', b"") * 30 + END),
    ],
    ids=["a server that always holds a null", "a server that holds one where asked"],
)
def test_of_a_completion_what_the_server_says_anyway_stays(stream: bytes, left: bytes, size: int) -> None:
    facts = ask("openai-compatible", "/v1/completions", {"model": "m", "stream": True, "prompt": "Hi"})
    assert not facts.asks_usage
    meter = dialects.get("openai-compatible").meter(facts, 200, [(b"content-type", b"text/event-stream")])
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert b"".join([*(meter.feed(piece) for piece in pieces), meter.flush()]) == left
    assert numbers(meter.reading()) == COUNTED
