"""Edits of raw JSON change what they say and leave every other byte."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.json_edit import remove, set_inner, set_value

KEYS = st.sampled_from(["model", "stream_options", "include_usage", "usage", "", 'a"b', "b\\", "ü", "{", "x,y:z"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | KEYS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@st.composite
def documents(draw: st.DrawFn) -> tuple[dict[str, Any], bytes]:
    document = draw(st.dictionaries(KEYS, VALUES, max_size=5))
    indent = draw(st.sampled_from([None, 0, 2, "\t"]))
    separators = draw(st.sampled_from([None, (",", ":"), (" , ", " :\r\n")]))
    raw = json.dumps(document, ensure_ascii=draw(st.booleans()), indent=indent, separators=separators)
    return document, draw(st.sampled_from([b"", b" ", b"\n"])) + raw.encode("utf-8", "surrogatepass") + b"\n"


def loads(raw: bytes) -> Any:
    return json.loads(raw.decode("utf-8", "surrogatepass"))


@given(documents())
def test_setting_a_member_changes_that_member_alone(case: tuple[dict[str, Any], bytes]) -> None:
    document, raw = case
    edited = set_value(raw, b"model", b'"other"')
    assert loads(edited) == {**document, "model": "other"}


@given(documents())
def test_asking_for_usage_adds_the_option_and_nothing_else(case: tuple[dict[str, Any], bytes]) -> None:
    document, raw = case
    edited = set_inner(raw, b"stream_options", b"include_usage", b"true")
    options = document.get("stream_options")
    wanted = {**options, "include_usage": True} if isinstance(options, dict) else {"include_usage": True}
    assert loads(edited) == {**document, "stream_options": wanted}


@given(documents())
def test_removing_a_member_leaves_the_others(case: tuple[dict[str, Any], bytes]) -> None:
    document, raw = case
    assert loads(remove(raw, b"usage")) == {key: value for key, value in document.items() if key != "usage"}


@given(documents(), documents())
def test_what_is_set_and_removed_again_leaves_the_bytes(
    case: tuple[dict[str, Any], bytes], other: tuple[dict[str, Any], bytes]
) -> None:
    raw = case[1]
    if "unheard" not in case[0]:
        body = set_value(raw, b"unheard", other[1].strip())
        assert remove(body, b"unheard") == raw or loads(remove(body, b"unheard")) == case[0]


def test_bytes_outside_the_edit_stay() -> None:
    raw = b'{ "a" : 1.50,\n\t"stream_options": { "x": 1e2 }, "b":"\\u00e9" }\n'
    edited = set_inner(raw, b"stream_options", b"include_usage", b"true")
    assert edited == b'{ "a" : 1.50,\n\t"stream_options": {"include_usage":true, "x": 1e2 }, "b":"\\u00e9" }\n'


def test_every_one_of_a_repeated_key_is_set() -> None:
    raw = b'{"max_tokens":1,"max_tokens":2}'
    assert set_value(raw, b"max_tokens", b"9") == b'{"max_tokens":9,"max_tokens":9}'


def test_an_escaped_key_is_the_same_key() -> None:
    assert set_value(rb'{"m\u006fdel":"a"}', b"model", b'"b"') == rb'{"m\u006fdel":"b"}'


def test_a_nested_look_alike_is_left_alone() -> None:
    raw = b'{"messages":[{"content":"\\"model\\":1"}],"metadata":{"model":"x"}}'
    assert set_value(raw, b"model", b'"y"') == b'{"model":"y",' + raw[1:]


def test_a_member_goes_with_its_comma_wherever_it_stands() -> None:
    assert remove(b'{"usage":null,"a":1}', b"usage") == b'{"a":1}'
    assert remove(b'{"a":1,"usage":null,"b":2}', b"usage") == b'{"a":1,"b":2}'
    assert remove(b'{"a":1, "usage":null }', b"usage") == b'{"a":1 }'
    assert remove(b'{"usage":null}', b"usage") == b"{}"
