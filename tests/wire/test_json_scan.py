"""Scanning a JSON document for a few members answers what parsing all of it would."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.framing.json_body import JsonBody
from gateway.wire.framing.json_scan import MAX_VALUE_BYTES, JsonScan

KEYS = st.sampled_from(["usage", "model", "response", "a", "", 'quo"te', "back\\slash", "ключ", "\\u0075sage"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | KEYS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)
WANTED = ((b"usage",), (b"model",), (b"response", b"usage"), (b"response", b"model"))


def at(document: Any, path: tuple[bytes, ...]) -> Any:
    for key in path:
        if not isinstance(document, dict) or key.decode() not in document:
            return KeyError
        document = document[key.decode()]
    return document


def scan(raw: bytes, sizes: list[int]) -> JsonScan:
    found = JsonScan(WANTED)
    while raw:
        size = sizes[len(raw) % len(sizes)]
        found.feed(raw[:size])
        raw = raw[size:]
    return found


@given(
    st.dictionaries(KEYS, VALUES, max_size=6), st.lists(st.integers(1, 40), min_size=1), st.booleans(), st.booleans()
)
def test_a_scan_finds_what_a_parse_finds(
    document: dict[str, Any], sizes: list[int], ascii_only: bool, spaced: bool
) -> None:
    raw = json.dumps(document, ensure_ascii=ascii_only, indent=2 if spaced else None).encode("utf-8", "surrogatepass")
    found = scan(raw, sizes)
    assert found.closed
    for path in WANTED:
        expected = at(document, path)
        assert (path in found.found) == (expected is not KeyError)
        if path in found.found:
            assert json.loads(found.found[path]) == expected


def test_the_last_of_a_repeated_key_counts() -> None:
    raw = b'{"usage":1,"response":{"usage":2,"model":"m"},"usage":3,"response":{"model":"n"}}'
    assert scan(raw, [5]).found == {(b"usage",): b"3", (b"response", b"model"): b'"n"'}


def test_an_escaped_key_is_the_same_key() -> None:
    assert scan(rb'{"us\u0061ge":{"x":1}}', [3]).found == {(b"usage",): b'{"x":1}'}


def test_keys_inside_strings_and_nested_objects_are_none() -> None:
    raw = rb'{"a":"\"usage\":5,","b":{"usage":6},"c":[{"usage":7}]}'
    assert scan(raw, [4]).found == {}


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_bytes_that_are_no_json_never_raise(pieces: list[bytes]) -> None:
    found = JsonScan(WANTED)
    for piece in pieces:
        found.feed(piece)


@given(st.lists(st.sampled_from([b'{"', b"usage", b'"', b":", b",", b"}", b"]", b"[", b"\\", b"{", b"response"])))
def test_broken_structure_never_raises(pieces: list[bytes]) -> None:
    found = JsonScan(WANTED)
    for piece in pieces:
        found.feed(piece)


def test_a_body_of_many_megabytes_is_read_for_its_report_wherever_it_stands() -> None:
    filler = json.dumps({"b64_json": "A" * 3_000_000, "n": list(range(1000)), "usage": {"total": 1}})
    report = '"usage":{"input_tokens":12,"output_tokens":34},"model":"gpt-image-1"'
    for raw in (
        f'{{{report},"data":[{filler}]}}',
        f'{{"data":[{filler}],{report}}}',
        f'{{"x":1,{report},"d":{filler}}}',
    ):
        body = JsonBody(("usage", "model", "error", "data"))
        data = raw.encode()
        for start in range(0, len(data), 70_001):
            body.feed(data[start : start + 70_001])
        document = json.loads(body.document())
        assert document == {"usage": {"input_tokens": 12, "output_tokens": 34}, "model": "gpt-image-1"}


def test_a_wanted_value_beyond_all_reason_is_not_kept() -> None:
    found = JsonScan(WANTED)
    found.feed(b'{"usage":"')
    for _ in range(100):
        found.feed(b"x" * 4096)
    found.feed(b'","model":"m"}')
    assert MAX_VALUE_BYTES < 100 * 4096
    assert found.found == {(b"model",): b'"m"'}
