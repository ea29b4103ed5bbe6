"""Streams in OpenAI's shape: what the gateway adds goes out again, and nothing else changes."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import dialects
from gateway.wire.dialect import Header, Meter
from gateway.wire.facts import Facts

SSE: list[Header] = [(b"content-type", b"text/event-stream; charset=utf-8")]
USAGE = {"prompt_tokens": 14, "completion_tokens": 8, "total_tokens": 22}


def meter(kind: str = "openai", *, asked: bool, headers: list[Header] = SSE, api: str = "chat") -> Meter:
    facts = Facts(api=api, model="asked", stream=True, billable=True, asks_usage=asked)
    return dialects.get(kind).meter(facts, 200, headers)


def run(made: Meter, pieces: list[bytes]) -> bytes:
    return b"".join([*(made.feed(piece) for piece in pieces), made.flush()])


def cut(raw: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    while raw:
        size = sizes[len(raw) % len(sizes)]
        pieces.append(raw[:size])
        raw = raw[size:]
    return pieces


def chunk(content: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": None}],
        **more,
    }


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A stream as the provider sends it when it was asked for usage, and the same without what the option adds."""
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    separators = draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    place = draw(st.sampled_from(["first", "middle", "last"]))
    texts = draw(
        st.lists(st.text() | st.sampled_from([',"usage":null}', '"usage":null', "data: [DONE]\n\n", '}"}']), max_size=6)
    )
    asked, plain = [], []
    for text in texts:
        body = chunk(text, obfuscation=draw(st.sampled_from(["", "abc", "}"])))
        body["nested"] = {"usage": None, "b": [{"usage": None}]}
        with_null: dict[str, Any]
        if place == "first":
            with_null = {"usage": None, **body}
        elif place == "last":
            with_null = {**body, "usage": None}
        else:
            with_null = {"id": body["id"], "usage": None, **body}
        note = draw(st.sampled_from(["", f": note{end}", f"event: chunk{end}"]))
        for out, document in ((asked, with_null), (plain, body)):
            out.append(f"{note}data: {json.dumps(document, separators=separators)}{end}{end}")
    report = {**chunk("", usage=USAGE), "choices": []}
    asked.append(f"data: {json.dumps(report, separators=separators)}{end}{end}")
    done = f"data: [DONE]{end}{end}"
    return "".join([*asked, done]).encode(), "".join([*plain, done]).encode()


@given(streams(), st.lists(st.integers(1, 300), min_size=1, max_size=4))
def test_what_the_option_adds_is_taken_out_exactly_in_any_chunking(
    stream: tuple[bytes, bytes], sizes: list[int]
) -> None:
    asked, plain = stream
    made = meter(asked=False)
    assert made.rewrites
    assert run(made, cut(asked, sizes)) == plain
    reading = made.reading()
    assert reading.usage is not None
    assert (reading.usage.input_tokens_total, reading.usage.output_tokens_total) == (14, 8)
    assert reading.complete
    assert made.terminal


@given(streams(), st.lists(st.integers(1, 300), min_size=1, max_size=4))
def test_a_client_that_asked_itself_gets_every_byte_as_it_came(stream: tuple[bytes, bytes], sizes: list[int]) -> None:
    made = meter(asked=True)
    assert not made.rewrites
    pieces = cut(stream[0], sizes)
    assert [made.feed(piece) for piece in pieces] == pieces
    assert made.flush() == b""
    assert made.reading().usage is not None


def test_a_piece_of_whole_events_is_answered_with_the_same_object() -> None:
    made = meter(asked=True)
    event = f"data: {json.dumps(chunk('x'))}\n\n".encode()
    made.feed(event)
    assert made.feed(event) is event


def test_an_event_is_passed_on_as_soon_as_it_is_whole() -> None:
    made = meter(asked=False)
    event = f"data: {json.dumps(chunk('x'), separators=(',', ':'))}\n\n".encode()
    assert made.feed(event) == event
    assert made.feed(event[:20]) == b""
    assert made.feed(event[20:]) == event


def test_a_stream_that_breaks_off_in_an_event_still_passes_on_what_came() -> None:
    made = meter(asked=False)
    event = f"data: {json.dumps(chunk('x'))}\n\n".encode()
    assert run(made, [event, event[:30]]) == event + event[:30]
    assert not made.reading().complete


def test_a_report_that_shares_its_chunk_with_an_answer_stays() -> None:
    event = f"data: {json.dumps(chunk('x', usage=USAGE))}\n\n".encode()
    made = meter(asked=False)
    assert run(made, [event]) == event
    assert made.reading().usage is not None


def test_a_coded_stream_is_decoded_where_something_is_taken_out() -> None:
    raw = f"data: {json.dumps(chunk('x', usage=None))}\n\ndata: [DONE]\n\n".encode()
    made = meter(asked=False, headers=[*SSE, (b"Content-Encoding", b"gzip")])
    assert made.undo_encoding
    assert run(made, cut(gzip.compress(raw), [7])) == raw.replace(b', "usage": null', b"")


def test_a_coded_stream_passes_as_it_came_where_nothing_is_taken_out() -> None:
    raw = f"data: {json.dumps(chunk('x', usage=USAGE))}\n\ndata: [DONE]\n\n".encode()
    coded = gzip.compress(raw)
    made = meter(asked=True, headers=[*SSE, (b"Content-Encoding", b"gzip")])
    assert not made.undo_encoding
    assert run(made, cut(coded, [7])) == coded
    assert made.reading().usage is not None


def test_a_coding_that_nobody_knows_is_never_broken() -> None:
    made = meter(asked=False, headers=[*SSE, (b"Content-Encoding", b"snappy")])
    assert not made.undo_encoding
    assert not made.rewrites
    assert run(made, [b"\x00\x01", b"\x02"]) == b"\x00\x01\x02"
    assert made.reading().usage is None


def test_an_event_of_many_megabytes_passes_and_is_read() -> None:
    item = {"type": "image_generation_call", "result": "A" * 3_000_000, "usage": {"input_tokens": 1}}
    response = {"id": "r", "model": "gpt-5", "output": [item], "usage": {"input_tokens": 7, "output_tokens": 9}}
    event = {"type": "response.completed", "response": response}
    raw = f"event: response.completed\ndata: {json.dumps(event)}\n\n".encode()
    for asked in (True, False):
        made = meter(asked=asked, api="responses")
        assert run(made, cut(raw, [65_000])) == raw
        reading = made.reading()
        assert reading.usage is not None
        assert (reading.usage.input_tokens_total, reading.usage.output_tokens_total) == (7, 9)
        assert (reading.model, reading.complete) == ("gpt-5", True)


@pytest.mark.parametrize(
    ("kind", "failed"),
    [("response.completed", False), ("response.incomplete", False), ("response.failed", True)],
)
def test_a_responses_stream_ends_with_its_last_event(kind: str, failed: bool) -> None:
    response = {"model": "gpt-5", "usage": {"input_tokens": 7, "output_tokens": 9}}
    raw = f"event: {kind}\ndata: {json.dumps({'type': kind, 'response': response})}\n\n".encode()
    made = meter(asked=True, api="responses")
    run(made, [raw])
    assert made.terminal
    assert (made.reading().complete, made.reading().failed) == (True, failed)


def test_an_error_inside_a_successful_stream_is_seen() -> None:
    raw = f"data: {json.dumps(chunk('x'))}\n\ndata: {json.dumps({'error': {'message': 'overloaded'}})}\n\n".encode()
    made = meter(asked=True)
    run(made, [raw])
    assert made.reading().failed
    assert not made.reading().complete


def test_later_reports_replace_earlier_ones_field_by_field() -> None:
    first = {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 4}}
    second = {"completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 0}}
    raw = "".join(f"data: {json.dumps(chunk('x', usage=usage))}\n\n" for usage in (first, second)).encode()
    made = meter("xai", asked=True)
    run(made, cut(raw, [50]))
    usage = made.reading().usage
    assert usage is not None
    assert (usage.input_tokens_total, usage.output_tokens_total, usage.cache_read_tokens) == (5, 9, 0)


ABSURD = [
    -1,
    "x",
    1.5,
    1e300,
    2**32,
    2**53,
    2**200,
    None,
    True,
    [],
    {},
    [1],
    {"prompt_tokens": 3},
    "-3",
    "1e3",
    "\ud800",
]


@pytest.mark.parametrize("value", ABSURD, ids=repr)
@pytest.mark.parametrize("kind", ["openai", "mistral", "groq", "openrouter", "deepseek", "xai", "perplexity", "writer"])
def test_absurd_numbers_are_as_if_absent(kind: str, value: Any) -> None:
    details = {"cached_tokens": value, "reasoning_tokens": value, "audio_tokens": value}
    usage = {
        "prompt_tokens": value,
        "completion_tokens": 3,
        "total_tokens": value,
        "prompt_tokens_details": details,
        "completion_tokens_details": details,
        "prompt_cache_hit_tokens": value,
        "cost": value,
        "connectors": value,
        "num_search_queries": value,
    }
    raw = f"data: {json.dumps(chunk('x', usage=usage, service_tier=value))}\n\n".encode()
    made = meter(kind, asked=True)
    assert run(made, [raw]) == raw
    found = made.reading().usage
    assert found is not None
    assert (found.input_tokens_total, found.cache_read_tokens, found.output_tokens_total) == (0, 0, 3)


@pytest.mark.parametrize("usage", [None, 3, "x", [], [1], {}, {"usage": {}}, {"prompt_tokens": {}}], ids=repr)
def test_a_report_of_another_form_is_none(usage: Any) -> None:
    made = meter(asked=True)
    run(made, [f"data: {json.dumps(chunk('x', usage=usage))}\n\n".encode()])
    assert made.reading().usage is None


def test_an_integer_in_quotes_counts() -> None:
    made = meter(asked=True)
    run(made, [f"data: {json.dumps(chunk('x', usage={'prompt_tokens': '12', 'completion_tokens': 0}))}\n\n".encode()])
    usage = made.reading().usage
    assert usage is not None
    assert (usage.input_tokens_total, usage.output_tokens_total) == (12, 0)


def test_half_a_surrogate_pair_in_an_answer_does_not_hide_its_usage() -> None:
    raw = (
        rb'{"model":"m","choices":[{"message":{"content":"\ud83d"}}],"usage":{"prompt_tokens":3,"completion_tokens":4}}'
    )
    made = meter(asked=True, headers=[(b"content-type", b"application/json")])
    assert run(made, cut(raw, [9])) == raw
    usage = made.reading().usage
    assert usage is not None
    assert usage.output_tokens_total == 4
