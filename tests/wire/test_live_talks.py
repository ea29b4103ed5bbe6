"""What is read of a session of Gemini's Live API, in any chunking: its model, and the use of each turn."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from decoders import cut
from hypothesis import given
from hypothesis import strategies as st
from test_websocket_frames import frame
from usages import numbers

from gateway.wire.facts import Facts
from gateway.wire.gemini_live import SETUP_BYTES, LiveTalk, Setup

FACTS = Facts(api="live", model="gemini-3.8-live", stream=True, billable=True, input_open=True)
HEARS = {"serverContent": {"inputTranscription": {"text": "hello"}}}
SAYS = {"serverContent": {"modelTurn": {"parts": [{"text": 'so "usageMetadata" goes'}]}}}
DONE = {"serverContent": {"turnComplete": True}, "usageMetadata": {"promptTokenCount": 9, "responseTokenCount": 4}}
APART = {"usageMetadata": {"promptTokenCount": 20, "responseTokenCount": 5, "toolUsePromptTokenCount": 3}}


def talk(*messages: Any, seed: int = 1) -> tuple[list[dict[str, int] | None], LiveTalk]:
    raw = b"".join(frame(json.dumps(one).encode(), rank % 2 + 1) for rank, one in enumerate(messages))
    found = LiveTalk(FACTS)
    ended = [one for piece in cut(raw, random.Random(seed)) for one in found.feed(piece, 7)]
    assert all(one.reading.complete and one.began_ns == 7 for one in ended)
    return [numbers(one.reading) for one in ended], found


@pytest.mark.parametrize("seed", range(5))
def test_each_report_is_a_turns(seed: int) -> None:
    found, rest = talk({"setupComplete": {}}, HEARS, SAYS, DONE, SAYS, {"serverContent": {"turnComplete": True}}, APART,
                       {"goAway": {}}, {"usageMetadata": {}}, {"usageMetadata": 5}, seed=seed)  # fmt: skip
    assert found == [
        {"input_tokens_total": 9, "output_tokens_total": 4},
        {"input_tokens_total": 23, "output_tokens_total": 5},
    ]
    assert rest.unfinished() is None


def test_a_turn_without_a_report_leaves_its_text_for_an_estimate() -> None:
    found, rest = talk(DONE, HEARS, SAYS)
    assert len(found) == 1
    unfinished = rest.unfinished()
    assert unfinished is not None
    assert b"goes" in unfinished.reading.sample
    assert rest.unfinished() is None


def masked(payload: bytes) -> bytes:
    plain = frame(payload)
    head = plain[: len(plain) - len(payload)]
    return bytes([head[0], head[1] | 0x80]) + head[2:] + bytes(4) + payload


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("models/gemini-3.8-live", "gemini-3.8-live"),
        ("projects/p/locations/l/publishers/google/models/gemini-live-2.5-flash", "gemini-live-2.5-flash"),
        ("gemini-3.8-live", "gemini-3.8-live"),
        (None, ""),
    ],
)
def test_the_first_message_names_the_model(model: str | None, found: str) -> None:
    raw = masked(json.dumps({"setup": {"model": model, "systemInstruction": {"parts": []}}}).encode())
    setup = Setup()
    told = [setup.feed(raw[at : at + 1]) for at in range(len(raw))]
    assert told == [None] * (len(raw) - 1) + [found]
    assert (setup.failed, setup.held()) == (False, raw)


@pytest.mark.parametrize("first", [masked(b"{}"), masked(b"no JSON"), frame(b'{"setup":{}}'), bytes(SETUP_BYTES + 1)])
def test_a_session_that_begins_with_something_else_fails(first: bytes) -> None:
    setup = Setup()
    setup.feed(first)
    assert setup.failed


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_bytes_that_no_server_sends_make_nothing_fail(pieces: list[bytes]) -> None:
    found, setup = LiveTalk(FACTS), Setup()
    for piece in pieces:
        found.feed(piece, 7)
        setup.feed(piece)
    found.unfinished()


def test_what_a_session_sees_is_told_from_what_it_hears_and_reads() -> None:
    seen = [{"modality": "IMAGE", "tokenCount": 258}, {"modality": "VIDEO", "tokenCount": 900},
            {"modality": "AUDIO", "tokenCount": 50}, {"modality": "TEXT", "tokenCount": 10}]  # fmt: skip
    meta = {"promptTokenCount": 1218, "responseTokenCount": 4, "promptTokensDetails": seen}
    ended, _ = talk({"usageMetadata": meta})
    assert ended == [
        {
            "input_tokens_total": 1218,
            "output_tokens_total": 4,
            "input_audio_tokens": 50,
            "input_image_tokens": 258,
            "input_video_tokens": 900,
        }
    ]
