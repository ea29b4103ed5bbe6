"""What is read of a realtime session, in any chunking: responses, and what was heard."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from decoders import cut
from test_websocket_frames import frame
from usages import numbers

from gateway.wire import dialects
from gateway.wire.facts import Facts
from gateway.wire.sockets import Ended, Talk

FACTS = Facts(api="realtime", model="", stream=True, billable=True, input_open=True)
CREATED = {"type": "response.created", "response": {"id": "r", "usage": None}}
DELTA = {"type": "response.output_text.delta", "delta": "so it goes"}
USAGE = {"input_tokens": 13, "output_tokens": 113, "output_token_details": {"text_tokens": 8, "audio_tokens": 105}}
HEARD = "conversation.item.input_audio_transcription.completed"


def talk(kind: str, *events: dict[str, Any], seed: int = 1) -> tuple[list[Ended], Talk]:
    raw = b"".join(frame(json.dumps(event).encode()) for event in events)
    found = Talk(FACTS, dialects.get(kind))
    rng = random.Random(seed)
    return [ended for piece in cut(raw, rng) for ended in found.feed(piece, 7)], found


def test_pictures_that_were_cached_are_told_from_text_and_sound() -> None:
    details = {"text_tokens": 40, "audio_tokens": 60, "image_tokens": 900, "cached_tokens": 850,
               "cached_tokens_details": {"text_tokens": 20, "audio_tokens": 30, "image_tokens": 800}}  # fmt: skip
    usage = {"input_tokens": 1000, "output_tokens": 5, "input_token_details": details}
    ended, _ = talk("openai", CREATED, {"type": "response.done", "response": {"usage": usage}})
    assert numbers(ended[0].reading) == {
        "input_tokens_total": 1000,
        "output_tokens_total": 5,
        "cache_read_tokens": 850,
        "input_audio_tokens": 60,
        "input_image_tokens": 900,
        "cache_read_audio_tokens": 30,
        "cache_read_image_tokens": 800,
    }


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("kind", "done", "more"),
    [
        ("openai", {"response": {"status": "completed", "usage": USAGE}}, {}),
        ("azure", {"response": {"status": "cancelled", "usage": USAGE}}, {}),
        ("xai", {"response": {"usage": {}}, "usage": {**USAGE, "billable_audio_seconds": 1}},
         {"audio_milliseconds": 1000}),
    ],
)  # fmt: skip
def test_a_response_that_is_done_has_its_own_report(
    kind: str, done: dict[str, Any], more: dict[str, int], seed: int
) -> None:
    session = {"type": "session.created", "session": {"model": "voice-1"}}
    ended, rest = talk(kind, session, CREATED, DELTA, {"type": "response.done", **done}, CREATED, DELTA, seed=seed)
    assert len(ended) == 1
    assert numbers(ended[0].reading) == {
        "input_tokens_total": 13,
        "output_tokens_total": 113,
        "output_audio_tokens": 105,
        **more,
    }
    assert (ended[0].reading.model, ended[0].began_ns) == ("voice-1", 7)
    unfinished = rest.unfinished()
    assert unfinished is not None
    assert b"so it goes" in unfinished.reading.sample
    assert rest.unfinished() is None


@pytest.mark.parametrize(
    "session",
    [
        {"audio": {"input": {"transcription": {"model": "hears-1"}}}},
        {"input_audio_transcription": {"model": "hears-1"}},
    ],
)
def test_what_was_heard_is_reported_by_tokens_or_by_its_length(session: dict[str, Any]) -> None:
    events = [
        {"type": "session.updated", "session": session},
        {"type": HEARD, "transcript": "hi", "usage": {"type": "duration", "seconds": 3}},
        {"type": HEARD, "transcript": "hi", "usage": {"type": "tokens", "input_tokens": 26, "output_tokens": 9}},
        {"type": HEARD, "transcript": "hi"},
    ]
    ended, rest = talk("openai", *events)
    assert [numbers(one.reading) for one in ended] == [
        {"audio_milliseconds": 3000},
        {"input_tokens_total": 26, "output_tokens_total": 9},
    ]
    assert {one.reading.model for one in ended} == {"hears-1"}
    assert rest.unfinished() is None


def test_a_response_that_reports_nothing_leaves_its_text_for_an_estimate() -> None:
    ended, _ = talk("openai", CREATED, DELTA, {"type": "response.done", "response": {"status": "failed"}})
    assert ended[0].reading.usage is None
    assert b"so it goes" in ended[0].reading.sample


def test_words_that_look_like_events_are_words() -> None:
    said = {"type": "response.output_text.delta", "delta": json.dumps({"type": "response.done", "usage": USAGE})}
    ended, _ = talk("openai", CREATED, said)
    assert ended == []


@pytest.mark.parametrize("word", ["response.done", "response.created", HEARD, "session.updated", "response.failed"])
def test_words_that_are_an_events_name_are_words_too(word: str) -> None:
    said = {"type": "conversation.item.added", "item": {"content": [{"type": "text", "text": word}], "model": "no"}}
    session = {"type": "session.created", "session": {"model": "voice-1"}}
    ended, rest = talk("openai", session, CREATED, DELTA, said, {"type": "response.output_text.done", "text": word})
    assert ended == []
    unfinished = rest.unfinished()
    assert unfinished is not None
    assert b"so it goes" in unfinished.reading.sample
