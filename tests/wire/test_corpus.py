"""Every recorded exchange is read exactly, however its bytes are cut."""

from __future__ import annotations

import random

import corpus
import pytest

from gateway.wire import dialects

CASES = corpus.of(*dialects.kinds())


@pytest.mark.parametrize("case", CASES)
def test_a_whole_response_reads_as_expected(case: corpus.Case) -> None:
    reading, out = corpus.read(case, [case.response_body])
    assert out == case.response_body
    corpus.check(case, reading)


@pytest.mark.parametrize("case", CASES)
def test_a_response_in_single_bytes_reads_the_same(case: corpus.Case) -> None:
    body = case.response_body[:200_000]
    if body != case.response_body:
        pytest.skip("too large to be fed byte by byte")
    reading, out = corpus.read(case, [body[i : i + 1] for i in range(len(body))])
    assert out == body
    corpus.check(case, reading)


@pytest.mark.parametrize("case", CASES)
def test_a_response_in_random_pieces_reads_the_same(case: corpus.Case) -> None:
    rng = random.Random(case.id)
    for size in (3, 17, 120, 1000):
        body, pieces = case.response_body, []
        while body:
            cut = rng.randint(1, size)
            pieces.append(body[:cut])
            body = body[cut:]
        reading, out = corpus.read(case, pieces)
        assert out == case.response_body
        corpus.check(case, reading)
