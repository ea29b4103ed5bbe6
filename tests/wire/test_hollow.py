"""Large requests are read without their long strings, and yet say what they say: in plain Python and compiled."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from built import compiled
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import hollow as plain
from gateway.wire.dialects import anthropic, cohere, gemini, ollama, openai
from gateway.wire.hollow import HOLLOW, LEAST_BYTES, LONG_BYTES

Hollow = Callable[[bytes], bytes]

PIECES = st.sampled_from(
    ['"', "\\", "\\\\", '\\"', "a", "b" * 300, "\n", "ü", "\u2028", "]", "{", ",", ":", "word " * 9]
)
TEXTS = st.lists(PIECES, max_size=40).map("".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=30,
)


@pytest.fixture(scope="module", params=["plain", "compiled"])
def hollow(request: pytest.FixtureRequest) -> Hollow:
    found: Hollow = plain.hollow if request.param == "plain" else compiled("gateway.wire.hollow").hollow
    return found


def pairs(members: list[tuple[str, Any]]) -> tuple[str, list[tuple[str, Any]]]:
    """An object whose names may be hollow, and the same then."""
    return "object", members


def alike(got: Any, whole: Any) -> bool:
    """The same, but for long strings that were left out."""
    if isinstance(whole, str):
        return got == whole or (got == HOLLOW and len(json.dumps(whole)) > LONG_BYTES)
    if isinstance(whole, list | tuple):
        return len(got) == len(whole) and all(map(alike, got, whole))
    return got == whole


@given(document=VALUES, ascii_only=st.booleans(), indent=st.sampled_from([None, 1]))
def test_all_but_long_strings_stays(hollow: Hollow, document: Any, ascii_only: bool, indent: int | None) -> None:
    # a long text before and behind, so that the rest is not too short to be looked at
    whole = ["x" * LEAST_BYTES, document, "y" * LEAST_BYTES]
    raw = json.dumps(whole, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    found = hollow(raw)
    assert len(found) < len(raw)
    seen = json.loads(found.decode("utf-8", "surrogatepass"), object_pairs_hook=pairs)
    assert alike(seen, json.loads(raw.decode("utf-8", "surrogatepass"), object_pairs_hook=pairs))


@given(raw=st.lists(st.sampled_from([b'"', b"\\", b"x" * 300, b"{", b"\xff", b"\0"]), max_size=60).map(b"".join))
def test_what_is_no_json_does_no_harm(hollow: Hollow, raw: bytes) -> None:
    for body in (raw, raw + b" " * LEAST_BYTES, b'"' + b"\\" * LEAST_BYTES + raw):
        assert len(hollow(body)) <= len(body)


def test_text_full_of_quotes_is_left_out_where_that_is_fast(hollow: Hollow) -> None:
    raw = json.dumps({"text": 'say "yes" or "no"\n' * 5000, "tail": "short"}).encode()
    left = len(hollow(raw))
    assert left == len(raw) if hollow is plain.hollow and plain.__file__.endswith(".py") else left < 100


def test_a_picture_is_left_out(hollow: Hollow) -> None:
    raw = json.dumps({"image": "data:image/png;base64," + "A" * 100_000, "tail": "short"}).encode()
    assert hollow(raw) == b'{"image": "...", "tail": "short"}'


MESSAGE = {"role": "user", "content": "?"}
REQUESTS: list[tuple[Any, bytes, dict[str, Any]]] = [
    (openai.DIALECT, b"/v1/chat/completions", {"model": "gpt-4o", "n": 2, "max_tokens": 9, "messages": [MESSAGE]}),
    (openai.DIALECT, b"/v1/responses", {"model": "gpt-4o", "input": [MESSAGE], "tools": [{"type": "web_search"}]}),
    (openai.DIALECT, b"/v1/completions", {"model": "gpt-4o", "prompt": ["one", "two"], "stream": True}),
    (openai.DIALECT, b"/v1/rerank", {"model": "r", "query": "?", "documents": ["one", "two"]}),
    (anthropic.DIALECT, b"/v1/messages", {"model": "claude-x", "max_tokens": 9, "messages": [MESSAGE]}),
    (anthropic.DIALECT, b"/v1/messages", {"model": "claude-x", "mcp_servers": [], "messages": [MESSAGE]}),
    (gemini.DIALECT, b"/v1beta/models/gemini-2.5-pro:generateContent",
     {"contents": [{"parts": [{"text": "?"}]}], "tools": [{"googleSearch": {}}]}),
    (cohere.DIALECT, b"/v2/chat", {"model": "command", "messages": [MESSAGE]}),
    (ollama.DIALECT, b"/api/chat", {"model": "llama", "options": {"num_predict": 7}, "messages": [MESSAGE]}),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "target", "request_"), REQUESTS)
@pytest.mark.parametrize("text", ["a" * 9000, 'the "image" of a "web_search"\n' * 300, 'a\\"b\\\\' * 900])
def test_a_long_text_changes_no_fact(dialect: Any, target: bytes, request_: dict[str, Any], text: str) -> None:
    short = json.dumps({"metadata": {"note": "?"}, **request_}).encode()
    long = json.dumps({"metadata": {"note": text}, **request_}).encode()
    facts = dialect.read(b"POST", target, b"application/json", short)
    found = dialect.read(b"POST", target, b"application/json", long)
    assert found.input_bytes - facts.input_bytes == len(long) - len(short)
    facts.input_bytes = found.input_bytes
    assert found == facts


def test_long_strings_that_matter_are_read_as_they_are() -> None:
    name = "a-model-with-a-name-" * 200
    for dialect, target in ((openai.DIALECT, b"/v1/chat/completions"), (anthropic.DIALECT, b"/v1/messages")):
        body = json.dumps({"model": name, "messages": [MESSAGE]}).encode()
        assert dialect.read(b"POST", target, b"application/json", body).model == name[:200]
    speech = json.dumps({"model": "tts-1", "input": "word " * 2000}).encode()
    facts = openai.DIALECT.read(b"POST", b"/v1/audio/speech", b"application/json", speech)
    assert facts.units_bound == {"input_characters": 10_000}
    ranked = json.dumps({"model": "r", "query": "q" * 5000, "documents": ["one", "two"]}).encode()
    facts = openai.DIALECT.read(b"POST", b"/v1/rerank", b"application/json", ranked)
    assert facts.input_bytes == len(ranked) + 2 * 5000


@pytest.mark.parametrize("options", ["", '"stream_options": null, ', '"stream_\\u006fptions": {"x": 1}, '])
def test_a_stream_is_asked_for_its_usage_whatever_its_text_says(options: str) -> None:
    said = json.dumps('"stream_options"\n\\' * 2000)
    body = f'{{{options}"stream": true, "model": "m", "messages": [{{"content": {said}}}]}}'.encode()
    facts = openai.DIALECT.read(b"POST", b"/v1/chat/completions", b"application/json", body)
    sent = json.loads(openai.DIALECT.prepare(facts, b"/v1/chat/completions", body))
    asked = sent.pop("stream_options")
    assert asked.pop("include_usage") is True
    whole = json.loads(body)
    assert asked == (whole.pop("stream_options", None) or {})
    assert sent == whole
