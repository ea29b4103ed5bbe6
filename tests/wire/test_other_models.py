"""What other models used for the same answer is read apart: an advisor's tokens, those of a model that declined, a
picture's."""

from __future__ import annotations

import json
from typing import Any

import corpus
import pytest
from usages import SSE, ask, numbers, reading_of, sse

from gateway.wire import dialects
from gateway.wire.usage import Beside, Reading, Usage

MESSAGES = "/v1/messages"
TURN = {"type": "message", "input_tokens": 1128, "output_tokens": 110}
ADVICE = {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 2518, "output_tokens": 22,
          "cache_read_input_tokens": 100, "cache_creation_input_tokens": 7,
          "cache_creation": {"ephemeral_1h_input_tokens": 5}}  # fmt: skip
USAGE = {"input_tokens": 2390, "output_tokens": 121, "iterations": [TURN, ADVICE, TURN, ADVICE]}
ADVISED = Beside(
    "advisor",
    "claude-opus-4-8",
    Usage(input_tokens_total=5250, output_tokens_total=44, cache_read_tokens=200, cache_write_tokens=14,
          cache_write_1h_tokens=10),
)  # fmt: skip
OWN = {"input_tokens_total": 2390, "output_tokens_total": 121}
OWN_TOKENS = {"input_tokens": 2390, "output_tokens": 121}
KINDS = {
    "anthropic": MESSAGES,
    "vertex": "/v1/projects/p/locations/l/publishers/anthropic/models/claude-sonnet-5:rawPredict",
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_advisors_tokens_stand_beside_those_of_the_message(kind: str) -> None:
    reading = reading_of(kind, ask(kind, KINDS[kind], {"model": "m", "messages": []}), {"model": "m", "usage": USAGE})
    assert (numbers(reading), reading.beside) == (OWN, (ADVISED,))


def test_the_last_report_of_a_stream_says_what_advisors_used() -> None:
    start = {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 9, "iterations": [TURN]}}}
    half = {"type": "message_delta", "usage": {**USAGE, "iterations": [TURN, ADVICE]}}
    last = {"type": "message_delta", "usage": USAGE}
    facts = ask("anthropic", MESSAGES, {"model": "m", "messages": [], "stream": True})
    reading = reading_of("anthropic", facts, sse(start, half, last, {"type": "message_stop"}), SSE)
    assert (numbers(reading), reading.beside) == (OWN, (ADVISED,))


@pytest.mark.parametrize("iterations", [None, [], 5, [None, 7, "advisor_message"], [TURN]])
def test_no_advice_is_nothing_beside(iterations: Any) -> None:
    answer = {"model": "m", "usage": {**USAGE, "iterations": iterations}}
    assert reading_of("anthropic", ask("anthropic", MESSAGES, {"model": "m", "messages": []}), answer).beside == ()


DECLINED = {"type": "message", "model": "claude-fable-5", "input_tokens": 2, "output_tokens": 578,
            "cache_creation_input_tokens": 10_421, "cache_read_input_tokens": 72_769,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 10_421}}  # fmt: skip
ANSWERED = {"type": "fallback_message", "model": "claude-opus-4-8", "input_tokens": 2, "output_tokens": 13_658,
            "cache_creation_input_tokens": 0, "cache_read_input_tokens": 79_214}  # fmt: skip
TOTALS = {name: value for name, value in ANSWERED.items() if name.endswith("tokens")}
FELL_BACK = {**TOTALS, "iterations": [DECLINED, ANSWERED]}
BY_FALLBACK = {"input_tokens_total": 79_216, "output_tokens_total": 13_658, "cache_read_tokens": 79_214}
BY_DECLINED = Beside(
    "declined",
    "claude-fable-5",
    Usage(input_tokens_total=83_192, output_tokens_total=578, cache_read_tokens=72_769, cache_write_tokens=10_421,
          cache_write_1h_tokens=10_421),
)  # fmt: skip


def test_a_model_that_declined_in_the_middle_of_its_answer_stands_beside_the_one_that_took_over() -> None:
    facts = ask("anthropic", MESSAGES, {"model": "claude-fable-5", "messages": []})
    reading = reading_of("anthropic", facts, {"model": "claude-opus-4-8", "usage": FELL_BACK})
    assert (numbers(reading), reading.beside, reading.model) == (BY_FALLBACK, (BY_DECLINED,), "claude-opus-4-8")


def test_a_stream_that_another_model_ends_is_that_models() -> None:
    begun = {name: DECLINED[name] for name in DECLINED if name not in ("type", "model")}
    start = {"type": "message_start", "message": {"model": "claude-fable-5", "usage": {**begun, "output_tokens": 1}}}
    last = {"type": "message_delta", "usage": FELL_BACK}
    facts = ask("anthropic", MESSAGES, {"model": "claude-fable-5", "messages": [], "stream": True})
    reading = reading_of("anthropic", facts, sse(start, last, {"type": "message_stop"}), SSE)
    assert (numbers(reading), reading.beside, reading.model) == (BY_FALLBACK, (BY_DECLINED,), "claude-opus-4-8")


def test_a_model_that_declined_before_it_said_anything_costs_nothing() -> None:
    declined = {**DECLINED, "output_tokens": 0}
    own = {**DECLINED, "model": "claude-opus-4-8"}
    usage = {**TOTALS, "iterations": [declined, own, ANSWERED]}
    facts = ask("anthropic", MESSAGES, {"model": "claude-fable-5", "messages": []})
    assert reading_of("anthropic", facts, {"model": "claude-opus-4-8", "usage": usage}).beside == ()


def test_turns_of_one_model_are_its_own_however_they_name_it() -> None:
    turn = {**TURN, "model": "claude-sonnet-4-5"}
    answer = {"model": "claude-sonnet-4-5-20250929", "usage": {**OWN_TOKENS, "iterations": [turn, turn]}}
    reading = reading_of("anthropic", ask("anthropic", MESSAGES, {"model": "m", "messages": []}), answer)
    assert (numbers(reading), reading.beside, reading.model) == (OWN, (), "claude-sonnet-4-5-20250929")


def test_the_results_of_a_batch_add_up_what_advisors_used() -> None:
    line = {"result": {"type": "succeeded", "message": {"model": "m", "usage": USAGE}}}
    body = (json.dumps(line) + "\n").encode()
    facts = ask("anthropic", "/v1/messages/batches/b/results", b"", "GET")
    reading = reading_of("anthropic", facts, body * 2, "application/x-jsonl")
    assert numbers(reading) == {name: 2 * number for name, number in OWN.items()}
    assert [(one.model, one.usage.input_tokens_total) for one in reading.beside] == [("claude-opus-4-8", 10_500)]


@pytest.mark.parametrize("case", corpus.of("anthropic", "vertex", "bedrock"))
def test_recorded_answers_name_their_advisors(case: corpus.Case) -> None:
    reading, _ = corpus.read(case, [case.response_body])
    advised = case.id == "anthropic-messages-j-8b6dce6a0b"
    expected = Beside("advisor", "claude-opus-4-8", Usage(input_tokens_total=2518, output_tokens_total=22))
    assert reading.beside == ((expected,) if advised else ())


def made(tools: Any, image_gen: Any) -> Reading:
    document = {"model": "gpt-5.6-sol", "tools": tools, "output": [], "usage": {"input_tokens": 9, "output_tokens": 4},
                "tool_usage": {"image_gen": image_gen, "web_search": {"num_requests": 0}}}  # fmt: skip
    whole = reading_of("openai", ask("openai", "/v1/responses", {"model": "m", "input": "Hi"}), document)
    events = sse({"type": "response.completed", "response": document})
    facts = ask("openai", "/v1/responses", {"model": "m", "input": "Hi", "stream": True})
    streamed = reading_of("openai", facts, events, SSE)
    assert whole.beside == streamed.beside
    # the picture itself makes the document longer than what is kept of it
    long = {**document, "output": [{"type": "image_generation_call", "result": "iVBO" * 300_000}]}
    asked = ask("openai", "/v1/responses", {"model": "m", "input": "Hi"})
    meter = dialects.get("openai").meter(asked, 200, [(b"content-type", b"application/json")])
    meter.feed(json.dumps(long).encode())
    meter.flush()
    assert meter.reading().beside == whole.beside
    return whole


MADE = {"input_tokens": 50, "input_tokens_details": {"image_tokens": 40, "text_tokens": 10}, "output_tokens": 4160,
        "output_tokens_details": {"image_tokens": 4160, "text_tokens": 0}, "total_tokens": 4210}  # fmt: skip
NONE = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}


@pytest.mark.parametrize(
    ("tools", "model"),
    [
        ([{"type": "web_search"}, {"type": "image_generation", "model": "gpt-image-2"}], "gpt-image-2"),
        ([{"type": "image_generation"}], "gpt-image-1"),
        ("none", "gpt-image-1"),
    ],
)
def test_pictures_of_a_response_are_the_image_models(tools: Any, model: str) -> None:
    usage = Usage(input_tokens_total=50, input_image_tokens=40, output_tokens_total=4160, output_image_tokens=4160)
    assert made(tools, MADE).beside == (Beside("image_generation", model, usage),)
    assert made(tools, NONE).beside == ()
    assert made(tools, "many").beside == ()


def test_of_what_an_image_model_read_from_its_cache_pictures_stand_apart() -> None:
    cached = {"cached_tokens": 30, "cached_tokens_details": {"cached_image_tokens": 25, "cached_text_tokens": 5}}
    (beside,) = made([{"type": "image_generation", "model": "gpt-image-2"}], {**MADE, **cached}).beside
    assert (beside.usage.cache_read_tokens, beside.usage.cache_read_image_tokens) == (30, 25)


def test_the_model_that_writes_a_picture_as_svg_stands_beside_the_one_that_made_it() -> None:
    facts = ask("openai", "/v1/images/generations", {"model": "gpt-image-2", "prompt": "a", "output_format": "svg"})
    usage = {"input_tokens": 50, "output_tokens": 4160, "total_tokens": 4210}
    svg = {
        "model": "gpt-5.5",
        "input_tokens": 900,
        "output_tokens": 3000,
        "reasoning_tokens": 640,
        "total_tokens": 3900,
    }
    reading = reading_of("openai", facts, {"created": 1, "data": [{}], "usage": usage, "svg_usage": svg})
    written = Usage(input_tokens_total=900, output_tokens_total=3000, reasoning_tokens=640)
    assert reading.beside == (Beside("svg_authoring", "gpt-5.5", written),)
    assert numbers(reading) == {"input_tokens_total": 50, "output_tokens_total": 4160, "output_images": 1}
