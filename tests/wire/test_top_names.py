"""Which of a JSON object's own names must be looked at: in plain Python and compiled."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from built import compiled
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import top_names as plain
from gateway.wire.json_names import Names

Odd = Callable[[bytes], list[str] | None]


@pytest.fixture(scope="module", params=["plain", "compiled"])
def odd_names(request: pytest.FixtureRequest) -> Odd:
    module = plain if request.param == "plain" else compiled("gateway.wire.top_names")
    found: Odd = module.odd_names
    return found


NAMES = ["n", "N", "max_tokens", "maxTokens", "\\u006e", "\u00e9", "x"]
VALUES = ["1", '"a"', '{"n":1,"n":2}', '[{"a":"\\"}"},{}]', '"x\\\\"', "[]"]
SPACES = st.sampled_from(["", "", " ", "\n\t"])


@st.composite
def objects(draw: st.DrawFn) -> tuple[str, list[str]]:
    keys = draw(st.lists(st.sampled_from(NAMES), max_size=6))
    gap = [draw(SPACES) for _ in range(4)]
    members = [f'{gap[0]}"{key}"{gap[1]}:{gap[2]}{draw(st.sampled_from(VALUES))}{gap[3]}' for key in keys]
    return "{" + ",".join(members) + "}", [str(json.loads(f'"{key}"')) for key in keys]


@given(made=objects())
def test_no_name_that_two_readers_may_take_differently_is_passed_over(
    odd_names: Odd, made: tuple[str, list[str]]
) -> None:
    text, keys = made
    odd = odd_names(text.encode())
    if odd is not None:
        assert len({key.casefold() for key in keys}) == len(keys)
        assert sorted(odd) == sorted(key for key in keys if key != key.lower())


def test_a_usual_body_needs_no_look_however_it_is_written(odd_names: Odd) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": 'a "b"'}], "maxTokens": 5, "stop": []}
    for text in (json.dumps(body), json.dumps(body, separators=(",", ":"))):
        assert odd_names(text.encode()) == ["maxTokens"]
    assert odd_names(b"{}") == []


@pytest.mark.parametrize(
    "body",
    ['{"n":1,"n":1}', '{"N":1}', '{"n":1,"x":{},"N":2}', '{"\\u006e":1,"n":2}', '{ "n" : 1, "n" : 2 }',
     '{"n":1,\n"\\u004e":2}', '{"x":"\\ud800","n":1,"n":2}'],
)  # fmt: skip
def test_a_name_that_comes_twice_or_in_another_case_is_told(body: str) -> None:
    assert Names(["n", "model"]).doubtful(body.encode()) == "n"


@pytest.mark.parametrize(
    "body", ['{"\\u006e":1}', '{"x":1,"x":2,"X":3}', '{"x":{"n":1,"n":2},"n":[{"n":1,"N":2}]}', '{"n":"n","m":"N"}']
)
def test_what_does_not_matter_may_come_twice(body: str) -> None:
    assert Names(["n", "model"]).doubtful(body.encode()) == ""


def test_a_letter_that_folds_to_another_is_that_one() -> None:
    # the Kelvin sign and the long s are the only ones beyond ASCII that do
    assert Names(["max_tokens"]).doubtful('{"max_to\u212aens":1}'.encode()) == "max_tokens"
    assert Names(["messages"]).doubtful('{"me\u017f\u017fages":1}'.encode()) == "messages"
