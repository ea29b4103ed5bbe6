"""Whatever a provider or a client sends: nothing raises, the client's bytes stay, memory is bounded."""

from __future__ import annotations

import gzip
import os
import random
import resource
import signal
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import brotli
import corpus
import pytest
import zstandard
from decoders import DECODERS, EXACT, cut
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import dialects
from gateway.wire.dialect import Dialect, Header
from gateway.wire.facts import Facts
from gateway.wire.framing.aws_eventstream import encode

KINDS = st.sampled_from(dialects.kinds())
PATHS = st.sampled_from([
    b"/v1/chat/completions", b"/v1/responses", b"/v1/completions", b"/v1/embeddings", b"/v1/images/generations",
    b"/v1/audio/speech", b"/v1/audio/transcriptions", b"/v1/messages", b"/v1/messages/count_tokens", b"/v2/chat",
    b"/v1/rerank", b"/v1beta/models/gemini-2.0-flash:generateContent", b"/api/chat", b"/v1/ocr", b"/model/a.b/converse",
    b"/v1beta/models/gemini-2.0-flash:streamGenerateContent?alt=sse", b"/model/x/invoke-with-response-stream",
    b"/v1/projects/p/locations/l/publishers/google/models/m:generateContent", b"/%2e%2e/%ff?a=%00", b"", b"*", b"//",
    b"/v1beta/models/gemini-2.0-flash:batchGenerateContent",
])  # fmt: skip
FETCHED = (b"/v1beta/batches/b", b"/v1beta/files/batch-b:download", b"/v1/messages/batches/b/results")
ANY = PATHS | st.sampled_from(FETCHED)
WORDS = [
    b'"usage"', b'"usage":null', b'{"usage":{', b'"prompt_tokens":', b'"completion_tokens":', b"12", b"-1", b"1e999",
    b'"model":"m"', b"data: ", b"data:", b"event: x\n", b"\n", b"\n\n", b"\r\n\r\n", b"\r", b"[DONE]", b"{", b"}", b"[",
    b"]", b",", b":", b'"', b"\\", b"null", b"true", b"\xff", b"\xed\xa0\x80", b"\\ud800", b"\x00",
    b'"type":"response.completed"',
    b'"inlinedResponses":{"inlinedResponses":[', b'"done":true',
    b'"response":{', b'"choices":[]', b'"error":{', b'"usageMetadata":{', b'"message":{', b'"meta":',
    b'"billed_units":', b"message_start",
    b"9" * 30, b'"input_tokens":', b'"output_tokens":', b'"content":', b'"messages":[', b'"input":',
    b'"tools":[', b'"stream":true', b'"n":', b'"max_tokens":', b'"prompt":', b"\x00\x00\x00\x10\x00\x00\x00\x00",
]  # fmt: skip
SOUP = st.lists(st.sampled_from(WORDS) | st.binary(max_size=6), max_size=60).map(b"".join)
CONTENT_TYPES = [
    b"application/json",
    b"text/event-stream",
    b"application/x-ndjson",
    b"application/vnd.amazon.eventstream",
    b"audio/mpeg",
    b"",
    b"application/stream+json",
    b"\xff",
]
CODERS: dict[bytes, Callable[[bytes], bytes]] = {
    b"gzip": gzip.compress,
    b"deflate": zlib.compress,
    b"br": lambda body: brotli.compress(body, quality=1),
    b"zstd": zstandard.compress,
}
CODINGS = [b"", b"", b"", b"gzip", b"br", b"zstd", b"deflate", b"gzip, br", b"unheard"]


def head(content_type: bytes, coding: bytes) -> list[Header]:
    headers = [(b"content-type", content_type), (b"X-Amzn-Bedrock-Input-Token-Count", b"-3")]
    return [*headers, (b"content-encoding", coding)] if coding else headers


def feed(dialect: Dialect, facts: Facts, status: int, headers: list[Header], body: bytes, rng: random.Random) -> None:
    """The response through a meter: no exception, and the client's bytes where nothing is taken out."""
    meter = dialect.meter(facts, status, headers)
    out = []
    for piece in cut(body, rng):
        out.append(meter.feed(piece))
        assert isinstance(meter.terminal, bool)
    out.append(meter.flush())
    reading = meter.reading()
    if not meter.rewrites and not meter.undo_encoding:
        assert b"".join(out) == body
    elif not meter.undo_encoding:
        assert len(b"".join(out)) <= len(body)
    assert len(reading.sample) <= 32_768
    if reading.usage is not None:
        fields = reading.usage.__struct_fields__
        assert all(type(value) is int and value >= 0 for value in (getattr(reading.usage, name) for name in fields))


@given(
    KINDS, PATHS, SOUP, st.sampled_from([b"application/json", b"multipart/form-data; boundary=x", b"text/plain", b""])
)
def test_no_request_makes_a_dialect_raise(kind: str, path: bytes, body: bytes, content_type: bytes) -> None:
    facts = dialects.get(kind).read(b"POST", path, content_type, body)
    assert facts.input_bytes >= 0
    assert facts.choices >= 1


@given(KINDS, ANY, SOUP, st.booleans(), st.sampled_from(CONTENT_TYPES), st.sampled_from(CODINGS), st.randoms())
def test_no_answer_makes_a_meter_raise_or_changes_what_the_client_gets(
    kind: str, path: bytes, body: bytes, asked: bool, content_type: bytes, coding: bytes, rng: random.Random
) -> None:
    dialect = dialects.get(kind)
    method = b"GET" if path in FETCHED else b"POST"
    facts = dialect.read(method, path, b"application/json", b'{"model":"m","stream":true}')
    facts.asks_usage = asked
    for status in (200, 500):
        feed(dialect, facts, status, head(content_type, coding), body, rng)


def mutated(body: bytes, rng: random.Random) -> bytes:
    """A recorded answer, spoiled in a few places."""
    raw = bytearray(body)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(raw) + 1)
        match rng.randrange(4):
            case 0:
                raw[at : at + rng.randint(0, 20)] = b""
            case 1:
                raw[at:at] = rng.choice(WORDS)
            case 2:
                raw[at : at + 1] = bytes([rng.randrange(256)])
            case _:
                raw[at:at] = raw[at : at + rng.randint(0, 200)]
    return bytes(raw)


def spoil(case: corpus.Case, rng: random.Random) -> None:
    dialect = dialects.get(case.kind)
    facts = corpus.facts_of(case)
    facts.asks_usage = rng.random() < 0.5
    feed(dialect, facts, case.status, corpus.headers_of(case), mutated(case.response_body, rng), rng)
    target, content_type = case.path.encode(), case.request_headers.get("content-type", "application/json").encode()
    dialect.read(case.method.encode(), target, content_type, mutated(case.request_body, rng))


@pytest.mark.skipif(not corpus.cases(), reason="no recorded exchanges")
@pytest.mark.parametrize("seed", range(40))
def test_spoiled_recordings_never_raise(seed: int) -> None:
    rng = random.Random(seed)
    for case in rng.sample(corpus.cases(), 8):
        if len(case.response_body) < 100_000:
            spoil(case, rng)


class Hang(Exception):
    """One small input took as long as no input may."""


@contextmanager
def watched(seconds: int) -> Iterator[None]:
    """Ends what hangs."""

    def stop(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def encoded(body: bytes, rng: random.Random) -> tuple[bytes, bytes]:
    """The body in a content coding, and the coding's name."""
    coding = rng.choice((b"gzip", b"deflate", b"br", b"zstd", b"gzip, br"))
    for name in coding.split(b", "):
        body = CODERS[name](body)
    return body, coding


def soup(rng: random.Random) -> bytes:
    """Frames, halves of frames, and bytes that are none."""
    parts = [rng.choice(WORDS) if rng.random() < 0.7 else rng.randbytes(rng.randint(0, 9)) for _ in range(60)]
    if rng.random() < 0.3:
        parts.insert(rng.randint(0, 60), encode({":event-type": "chunk"}, b"".join(parts[:9])))
    if rng.random() < 0.3:
        parts.insert(rng.randint(0, 60), bytes((0x81, 60)) + b"".join(parts)[:60])
    raw = b"".join(parts)
    return encoded(raw, rng)[0] if rng.random() < 0.3 else raw


def one_round(rng: random.Random) -> None:
    """A recording spoiled, one that is coded and then spoiled, and every decoder on what no provider sends."""
    case = rng.choice(corpus.cases())
    if len(case.response_body) < 100_000:
        spoil(case, rng)
        body, coding = encoded(case.response_body, rng)
        headers = [*corpus.headers_of(case), (b"content-encoding", coding)]
        facts = corpus.facts_of(case)
        feed(dialects.get(case.kind), facts, case.status, headers, mutated(body, rng), rng)
    raw = mutated(soup(rng), rng)
    for name, decode in DECODERS.items():
        found = decode(cut(raw, rng))
        if name in EXACT:
            assert found == decode(iter([raw])), name


def fuzz(seed: int, go_on: Callable[[int], bool]) -> int:
    """Rounds until ``go_on`` says no; how many there were. Each has a seed of its own, which a failure names."""
    rounds = 0
    while go_on(rounds):
        rounds += 1
        try:
            with watched(20):
                one_round(random.Random(seed + rounds))
        except BaseException as error:
            raise AssertionError(f"one_round(random.Random({seed + rounds})): {error!r}") from error
    return rounds


@pytest.mark.skipif(not corpus.cases(), reason="no recorded exchanges")
def test_no_bytes_make_a_decoder_raise_or_hang() -> None:
    assert fuzz(0, lambda rounds: rounds < 150) == 150


@pytest.mark.prove
@pytest.mark.skipif(not os.environ.get("PROVE"), reason="runs in make prove")
@pytest.mark.skipif(not corpus.cases(), reason="no recorded exchanges")
def test_ten_minutes_of_such_bytes_neither_raise_nor_hang_nor_use_memory_up() -> None:
    seed = random.randrange(1 << 32)
    fuzz(seed, lambda rounds: rounds < 300)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    end = time.monotonic() + float(os.environ.get("PROVE_SECONDS", "600"))
    rounds = fuzz(seed + 1_000_000, lambda _: time.monotonic() < end)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{rounds} rounds from seed {seed}, the process grew by {grown // 1024} MiB")
    assert grown < 256 * 1024


EVENT = (
    b'data: {"id":"c","model":"gpt-4o","choices":[{"index":0,"delta":{"content":"some words here"}}],"usage":null}\n\n'
)
ANSWER = b'{"response":{"candidates":[{"content":{"parts":[{"text":"said"}]}}],"usageMetadata":{"promptTokenCount":1}}}'
INLINED = b'{"name":"batches/b","response":{"inlinedResponses":{"inlinedResponses":['
STREAMS: dict[str, tuple[str, str, list[Header], bytes, bytes]] = {
    "sse": ("openai", "chat", [(b"content-type", b"text/event-stream")], b"", EVENT),
    "one endless event": ("openai", "chat", [(b"content-type", b"text/event-stream")], b"data: ", b"x" * 1000),
    "one endless line": ("ollama", "ollama_chat", [(b"content-type", b"application/x-ndjson")], b"{", b"y" * 1000),
    "lines": (
        "ollama",
        "ollama_chat",
        [(b"content-type", b"application/x-ndjson")],
        b"",
        b'{"done":false,"eval_count":1}\n',
    ),
    "results of a batch": ("gemini", "batch_results", [], b"", ANSWER + b"\n"),
    "a batch": ("gemini", "batches", [(b"content-type", b"application/json")], INLINED, ANSWER + b","),
    "one endless answer of a batch": (
        "gemini",
        "batches",
        [(b"content-type", b"application/json")],
        INLINED + b'{"response":{"text":"',
        b"z" * 1000,
    ),
    "one json body": ("openai", "images", [(b"content-type", b"application/json")], b'{"a":"', b"QUJD" * 300),
    "nested json": ("openai", "chat", [(b"content-type", b"application/json")], b"", b'{"usage":[{"a":' * 50),
    "audio": ("openai", "speech", [(b"content-type", b"audio/mpeg")], b"", b"\x00\xff" * 500),
    "bad gzip": (
        "openai",
        "chat",
        [(b"content-type", b"text/event-stream"), (b"content-encoding", b"gzip")],
        b"",
        EVENT,
    ),
}


def peaks(name: str, size: int, *, asked: bool) -> tuple[int, int]:
    """Most memory that a meter needed for half as many bytes, and for all."""
    kind, api, headers, first, piece = STREAMS[name]
    facts = Facts(api=api, model="m", stream=True, billable=True, asks_usage=asked)
    meter = dialects.get(kind).meter(facts, 200, headers)
    tracemalloc.start()
    try:
        meter.feed(first)
        found = []
        for _ in range(2):
            for _ in range(size // 2 // len(piece)):
                meter.feed(piece)
            found.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    return found[0], found[1]


MEMORY_BYTES = 12 * 1024 * 1024
"""A meter holds 4 MiB of an unfinished line, or 1 MiB of a body or an event, and copies while it joins them."""
SMALL = {"one endless line": 10_000_000, "nested json": 3_000_000}


@pytest.mark.parametrize(
    ("name", "asked"), [*((name, True) for name in STREAMS), ("sse", False), ("one endless event", False)]
)
def test_a_long_answer_needs_no_more_memory_than_a_short_one(name: str, asked: bool) -> None:
    half, whole = peaks(name, SMALL.get(name, 5_000_000), asked=asked)
    assert whole <= half * 1.1 + 4096
    assert whole < MEMORY_BYTES


@pytest.mark.prove
@pytest.mark.skipif(not os.environ.get("PROVE"), reason="runs in make prove")
@pytest.mark.parametrize("name", STREAMS)
def test_a_hundred_megabytes_need_no_more_memory_than_fifty(name: str) -> None:
    half, whole = peaks(name, 100_000_000, asked=True)
    assert whole <= half * 1.1 + 4096
    assert whole < MEMORY_BYTES
