"""What is counted in units beside tokens: pages, pictures, sound, characters, searches."""

from __future__ import annotations

from typing import Any

import pytest
from usages import SSE, ask, numbers, reading_of, sse

from gateway.wire import dialects


def test_pages_that_were_read_are_counted() -> None:
    facts = ask("mistral", "/v1/ocr", {"model": "mistral-ocr-latest", "document": {}})
    answer = {"model": "mistral-ocr-2505", "pages": [{}], "usage_info": {"pages_processed": 7, "doc_size_bytes": 12}}
    assert numbers(reading_of("mistral", facts, answer)) == {"pages": 7}


def test_pages_that_mistral_reads_on_vertex_are_counted() -> None:
    path = "/v1/projects/p/locations/l/publishers/mistralai/models/mistral-ocr-2505:rawPredict"
    facts = ask("vertex", path, {"model": "mistral-ocr-2505", "document": {}})
    assert (facts.output_free, facts.units_bound) == (True, {"pages": 30})
    answer = {"model": "mistral-ocr-2505", "pages": [{}], "usage_info": {"pages_processed": 7, "doc_size_bytes": 12}}
    assert numbers(reading_of("vertex", facts, answer)) == {"pages": 7}


COHERE = [
    ("/v2/rerank", {"meta": {"billed_units": {"search_units": 2}}}, {"search_units": 2}),
    ("/v1/rerank", {"meta": {"billed_units": {"search_units": 0}}}, {}),
    ("/v2/embed", {"meta": {"billed_units": {"input_tokens": 9, "image_tokens": 300}}},
     {"input_tokens_total": 309, "input_image_tokens": 300}),
    ("/v2/embed", {"meta": {"billed_units": {"image_tokens": 300}}},
     {"input_tokens_total": 300, "input_image_tokens": 300}),
    ("/v2/chat", {"usage": {"billed_units": {"input_tokens": 9, "output_tokens": 4},
                            "tokens": {"input_tokens": 76, "output_tokens": 5}}},
     {"input_tokens_total": 9, "output_tokens_total": 4}),
    ("/v1/generate", {"meta": {"billed_units": {"input_tokens": 9.0, "output_tokens": 4}}},
     {"input_tokens_total": 9, "output_tokens_total": 4}),
    ("/v1/classify", {"meta": {"billed_units": {"classifications": 3}}}, None),
]  # fmt: skip


@pytest.mark.parametrize(("path", "answer", "expected"), COHERE)
def test_coheres_billed_units_count_and_not_the_raw_tokens(
    path: str, answer: dict[str, Any], expected: dict[str, int] | None
) -> None:
    facts = ask("cohere", path, {"model": "m"})
    assert facts.billable
    assert numbers(reading_of("cohere", facts, answer)) == expected


SOUND = [
    ("tts-1", {"input_characters": 5}),
    ("gpt-4o-mini-tts", None),
]


@pytest.mark.parametrize(("model", "expected"), SOUND)
def test_speech_that_reports_nothing_is_billed_by_the_characters_of_the_request(
    model: str, expected: dict[str, int] | None
) -> None:
    facts = ask("openai", "/v1/audio/speech", {"model": model, "input": "Grüße", "voice": "alloy"})
    assert numbers(reading_of("openai", facts, b"\xff\xfb\x90\x00" * 9, "audio/mpeg")) == expected


EVENTS = [
    ("/v1/audio/speech", {"type": "speech.audio.done", "usage": {"input_tokens": 14, "output_tokens": 101}},
     {"input_tokens_total": 14, "output_tokens_total": 101}),
    ("/v1/audio/transcriptions", {"type": "transcript.text.done", "text": "a",
                                  "usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 4}},
     {"input_tokens_total": 14, "output_tokens_total": 4}),
    ("/v1/images/generations", {"type": "image_generation.completed", "b64_json": "aaaa",
                                "usage": {"input_tokens": 14, "output_tokens": 1000}},
     {"input_tokens_total": 14, "output_tokens_total": 1000, "output_images": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "event", "expected"), EVENTS)
def test_sound_and_pictures_that_stream_report_in_their_last_event(
    path: str, event: dict[str, Any], expected: dict[str, int]
) -> None:
    facts = ask("openai", path, {"model": "gpt-4o-mini-tts", "stream": True, "input": "Hi"})
    reading = reading_of("openai", facts, sse({"type": "x.delta"}, event), SSE)
    assert (numbers(reading), reading.complete) == (expected, True)


PARTIAL = {"type": "image_generation.partial_image", "b64_json": "aaaa", "partial_image_index": 0}


@pytest.mark.parametrize("events", [(), (PARTIAL,), (PARTIAL, PARTIAL)])
def test_a_stream_that_ends_before_its_picture_is_no_report_of_one(events: tuple[dict[str, Any], ...]) -> None:
    facts = ask("openai", "/v1/images/generations", {"model": "gpt-image-1", "stream": True, "prompt": "a bird"})
    reading = reading_of("openai", facts, sse(*events), SSE)
    assert (numbers(reading), reading.partial, reading.complete) == ({"output_images": 1}, True, False)
    done = reading_of("openai", facts, {"data": [{"b64_json": "aaaa"}]})
    assert (numbers(done), done.partial) == ({"output_images": 1}, False)


@pytest.mark.parametrize(("answer", "whole"), [(b'{"data":[{"url":"a"}]}', True), (b'{"data":[{"url":"a', False)])
def test_a_picture_is_reported_by_an_answer_that_is_whole(answer: bytes, whole: bool) -> None:
    facts = ask("openai", "/v1/images/generations", {"model": "dall-e-3", "prompt": "a bird"})
    reading = reading_of("openai", facts, answer)
    assert (numbers(reading), reading.complete) == ({"output_images": 1}, whole)


def test_a_stability_picture_is_one_picture() -> None:
    for model in ("stability.stable-image-core-v1:1", "us.stability.stable-image-inpaint-v1:0"):
        facts = ask("bedrock", f"/model/{model}/invoke", {"prompt": "a bird"})
        answer = {"images": ["aaaa"], "seeds": [1], "finish_reasons": [None]}
        assert numbers(reading_of("bedrock", facts, answer)) == {"output_images": 1}


@pytest.mark.parametrize(
    ("asked", "model"),
    [({}, "search"), ({"search_type": "web"}, "search"), ({"search_type": "fast"}, "search_fast"),
     ({"search_type": 5}, "search")],
)  # fmt: skip
def test_a_raw_search_of_perplexitys_is_one_unit(asked: dict[str, Any], model: str) -> None:
    facts = ask("perplexity", "/search", {"query": ["a", "b"], "max_results": 5, **asked})
    assert (facts.api, facts.model, facts.billable, facts.units_bound) == ("search", model, True, {"search_units": 1})
    answer = {"results": [{"title": "t", "url": "u", "snippet": "s"}], "id": "1", "server_time": None}
    assert numbers(reading_of("perplexity", facts, answer)) == {"search_units": 1}
    assert numbers(reading_of("perplexity", facts, {"error": {}}, status=429)) is None


@pytest.mark.parametrize(
    ("kind", "body", "tier", "units"),
    [
        ("perplexity", b'{"stream":true,"web_search_options":{"search_type":"pro"}}', "pro_search_high", {}),
        ("perplexity", b'{"stream":true,"web_search_options":{"search\\u005ftype":"pro"}}', "pro_search_high", {}),
        ("perplexity", b'{"stream":true,"web_search_options":{"search_type":"auto"}}', "pro_search_high", {}),
        ("perplexity", b'{"stream":true,"service_tier":"search_low"}', "", {}),
        ("xai", b'{"search\\u005fparameters":{"mode":"on"}}', "", {"web_search_requests": 50}),
    ],
)
def test_what_a_search_may_cost_is_held_however_the_request_writes_it(
    kind: str, body: bytes, tier: str, units: dict[str, int]
) -> None:
    facts = dialects.get(kind).read(b"POST", b"/chat/completions", b"application/json", body)
    assert facts.service_tier == tier
    assert units.items() <= facts.units_bound.items()


def test_xais_voices_are_billed_by_characters_and_by_length() -> None:
    said = ask("xai", "/v1/tts", {"text": "Grüße", "language": "auto"})
    assert (said.api, said.model, said.billable, said.units_bound) == (
        "speech",
        "grok-tts",
        True,
        {"input_characters": 5},
    )
    assert numbers(reading_of("xai", said, b"\xff\xf3\xc4\xc4" * 9, "audio/mpeg")) == {"input_characters": 5}
    # the request chooses no price by a name that nothing reads
    assert ask("xai", "/v1/tts", {"text": "Hi", "model": "grok-4"}).model == "grok-tts"
    form = (
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ngrok-4\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        + b"RIFF" * 99
        + b"\r\n--b--\r\n"
    )
    heard = dialects.get("xai").read(b"POST", b"/v1/stt", b"multipart/form-data; boundary=b", form)
    assert (heard.api, heard.model, heard.billable) == ("transcriptions", "grok-stt", True)
    answer = {
        "text": "Ruby.",
        "language": "en",
        "duration": 3.7,
        "words": [{"text": "Ruby.", "start": 0.1, "end": 0.4}],
    }
    assert numbers(reading_of("xai", heard, answer)) == {"audio_milliseconds": 3700}
