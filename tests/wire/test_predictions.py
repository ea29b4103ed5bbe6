"""Google's ``:predict``: embeddings by their tokens, pictures by the piece, whatever the answer's length."""

from __future__ import annotations

import json
from typing import Any

import pytest
from usages import ask, numbers, reading_of

from gateway.wire import dialects
from gateway.wire.facts import Facts
from gateway.wire.usage import Reading

MODELS = "/v1/projects/p/locations/us-central1/publishers/google/models/"
VECTOR = {"embeddings": {"statistics": {"truncated": False, "token_count": 7}, "values": [-0.031415926535] * 768}}
PICTURE = {"mimeType": "image/png", "bytesBase64Encoded": "iVBO" * 9}


def facts_of(model: str) -> Facts:
    return ask("vertex", f"{MODELS}{model}:predict", {"instances": [{"prompt": "a"}], "parameters": {"sampleCount": 2}})


def read_in_pieces(facts: Facts, answer: Any, size: int, spaces: int | None = None) -> Reading:
    body = json.dumps(answer, indent=spaces).encode()
    meter = dialects.get("vertex").meter(facts, 200, [(b"content-type", b"application/json; charset=UTF-8")])
    for at in range(0, len(body), size):
        piece = body[at : at + size]
        assert meter.feed(piece) == piece
    assert meter.flush() == b""
    return meter.reading()


@pytest.mark.parametrize("size", [1009, 65_536, 10_000_000])
@pytest.mark.parametrize("spaces", [None, 2])
def test_many_embeddings_are_counted_as_few_are(size: int, spaces: int | None) -> None:
    answer = {"metadata": {"billableCharacterCount": 900}, "predictions": [VECTOR] * 250, "deployedModelId": "1"}
    reading = read_in_pieces(facts_of("text-embedding-005"), answer, size, spaces)
    assert (numbers(reading), reading.source) == ({"input_tokens_total": 1750}, "response")
    assert reading.complete


@pytest.mark.parametrize("size", [4093, 65_536, 10_000_000])
def test_pictures_of_any_size_are_counted_by_the_piece(size: int) -> None:
    picture = {"mimeType": "image/png", "bytesBase64Encoded": "iVBO" * 300_000}
    reading = read_in_pieces(facts_of("imagen-4.0-generate-001"), {"predictions": [picture, picture]}, size)
    assert (numbers(reading), reading.complete) == ({"output_images": 2}, True)


@pytest.mark.parametrize(
    "beside",
    [
        {"raiFilteredReason": "Your current safety filter threshold filtered out 1 generated images."},
        {"contentType": "Positive Prompt", "safetyAttributes": {"categories": ["Violence"], "scores": [0.1]}},
    ],
)
def test_what_is_told_instead_of_a_picture_is_none(beside: dict[str, Any]) -> None:
    facts = facts_of("imagen-4.0-generate-001")
    assert numbers(reading_of("vertex", facts, {"predictions": [PICTURE, beside]})) == {"output_images": 1}


def test_pictures_in_a_bucket_are_counted() -> None:
    answer = {"predictions": [{"mimeType": "image/png", "gcsUri": "gs://bucket/1.png"}] * 2}
    assert numbers(reading_of("vertex", facts_of("imagen-4.0-generate-001"), answer)) == {"output_images": 2}


@pytest.mark.parametrize(
    "predictions",
    [
        [{"imageEmbedding": [0.1, 0.2]}],
        [{"videoEmbeddings": [{"startOffsetSec": 0, "embedding": [0.1]}]}],
        [{"textEmbedding": [0.1]}],
        ["a cat on a mat"],
        [[0.1, 0.9]],
        [{"classes": ["a"], "scores": [0.9]}],
        [],
    ],
)
def test_predictions_that_are_no_pictures_are_not_counted_as_pictures(predictions: list[Any]) -> None:
    reading = reading_of("vertex", facts_of("multimodalembedding@001"), {"predictions": predictions})
    assert numbers(reading) is None


def test_an_answer_that_breaks_off_reports_nothing() -> None:
    body = json.dumps({"predictions": [VECTOR, VECTOR]}).encode()[:-40]
    assert numbers(reading_of("vertex", facts_of("text-embedding-005"), body)) is None
