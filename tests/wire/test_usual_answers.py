"""A usual answer of a chat completion is read in one typed pass, which says what reading it by its members says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.dialects.openai import OpenAI
from gateway.wire.facts import Facts
from gateway.wire.openai_answer import usual_answer
from gateway.wire.usage import Reading, Usage

SAID: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 19,
        "completion_tokens": 10,
        "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 0, "rejected_prediction_tokens": 0},
    },
    "service_tier": "default",
    "system_fingerprint": "fp_1",
}

READ = (
    "usage", "source", "model", "service_tier", "region", "reported_cost_nanousd", "claim", "beside", "waived",
    "complete", "partial", "failed", "frames",
)  # fmt: skip


class ByMembers(OpenAI):
    """Has a meaning of its own for usage, so that answers are read by their members."""

    __slots__ = ()

    def take_usage(self, usage: dict[str, Any], document: dict[str, Any], into: Usage, reading: Reading) -> bool:
        return super().take_usage(usage, document, into, reading)


def said(dialect: OpenAI, *documents: bytes, **facts: Any) -> dict[str, Any]:
    """What a dialect reads in the frames of one answer."""
    reader = dialect.reader(Facts(api="chat", **facts), 200, ())
    for document in documents:
        reader.frame(document)
    reader.done()
    return {name: getattr(reader.reading, name) for name in READ} | {"terminal": reader.terminal}


def both(*documents: bytes, **facts: Any) -> dict[str, Any]:
    """What is read either way, which is the same."""
    usual = said(OpenAI(), *documents, **facts)
    assert usual == said(ByMembers(), *documents, **facts)
    return usual


def test_a_usual_answer_is_read_in_one_pass() -> None:
    data = json.dumps(SAID).encode()
    assert usual_answer(data) is not None
    read = both(data, model="gpt-4o-mini")
    assert read["usage"] == Usage(
        input_tokens_total=19, output_tokens_total=10, cache_read_tokens=8, reasoning_tokens=3
    )
    assert (read["model"], read["service_tier"], read["source"]) == ("gpt-4o-mini-2024-07-18", "default", "response")
    assert read["complete"]


@pytest.mark.parametrize(
    "change",
    [
        {"error": {"message": "no"}}, {"background": True}, {"type": "response.completed"}, {"duration": 3.5},
        {"response": {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}}, {"model": None}, {"usage": None},
        {"usage": {"total_tokens": 7}}, {"usage": {"prompt_tokens": 5}}, {"usage": {"completion_tokens": "5"}},
        {"usage": {**SAID["usage"], "cached_tokens": 4}}, {"usage": {**SAID["usage"], "seconds": 2}},
        {"usage": {**SAID["usage"], "input_tokens_details": {"cached_tokens": 2}}},
        {"usage": {"prompt_tokens": -1, "completion_tokens": 2}},
        {"usage": {"prompt_tokens": 1e3, "completion_tokens": 2}},
        {"usage": {"prompt_tokens": 1 << 32, "completion_tokens": True}},
    ],
)  # fmt: skip
def test_any_other_answer_is_read_by_its_members(change: dict[str, Any]) -> None:
    both(json.dumps({**SAID, **change}).encode(), model="gpt-4o-mini")


ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2**33), st.floats(allow_nan=False), st.text(max_size=4),
    st.just("12"), st.just([]), st.just({}),
)  # fmt: skip
NUMBER = st.one_of(st.integers(0, 2**32), ODD)


def members(*names: str, of: st.SearchStrategy[Any] = NUMBER) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(names), of)


DETAILS = members(
    "cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens", "video_tokens", "reasoning_tokens",
    "text_tokens", "cached_tokens_details", of=st.one_of(NUMBER, members("audio_tokens", "image_tokens")),
)  # fmt: skip
REPORT = st.tuples(
    members("prompt_tokens", "completion_tokens", of=st.integers(0, 2**31)),
    members("input_tokens", "output_tokens", "total_tokens", "cached_tokens", "seconds", "cost"),
    members(
        "prompt_tokens_details", "completion_tokens_details", "input_tokens_details", "output_tokens_details",
        of=st.one_of(DETAILS, ODD),
    ),
).map(lambda parts: {**parts[0], **parts[1], **parts[2]})  # fmt: skip
ANSWER = st.tuples(
    members("usage", of=st.one_of(REPORT, REPORT, ODD)),
    members("model", "service_tier", "id", of=st.one_of(st.text(max_size=8), ODD)),
    members("error", "type", "duration", "background", "svg_usage", "response", of=st.one_of(st.none(), ODD)),
).map(lambda parts: {**parts[0], **parts[1], **parts[2]})


@given(st.lists(ANSWER, min_size=1, max_size=3), st.sampled_from(["gpt-4o", "gpt-4o-search-preview"]), st.booleans())
def test_whatever_an_answer_holds_both_ways_read_the_same(answers: list[Any], model: str, stream: bool) -> None:
    bound = {"web_search_requests": 1} if "search" in model else {}
    both(*(json.dumps(one).encode() for one in answers), model=model, stream=stream, units_bound=bound)
