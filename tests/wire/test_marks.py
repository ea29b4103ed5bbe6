"""Beginnings of strings are found wherever they stand in a text, and nowhere else: in plain Python and compiled."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from built import compiled
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import marks as plain

MARKS = (b'"image"', b'"images"', b'"web_', b'"u')
Among = Callable[[bytes], bool]


@pytest.fixture(scope="module", params=["plain", "compiled"])
def among(request: pytest.FixtureRequest) -> Among:
    module = plain if request.param == "plain" else compiled("gateway.wire.marks")
    found: Among = module.Marks(MARKS).among
    return found


PIECES = [*MARKS, b'"', b"\\", b"\\\\", b"image", b'imag"', b'"web', b"_", b"x", b"\0", b"\xff", b'"image', b"u"]


@given(body=st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join))
def test_a_mark_counts_where_no_backslash_stands_before_it(among: Among, body: bytes) -> None:
    starts = [at for mark in MARKS for at in range(len(body)) if body.startswith(mark, at)]
    assert among(body) == any(body[at - 1 : at] != b"\\" for at in starts)


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_is_found_at_either_end_and_behind_many_quotes(among: Among, mark: bytes) -> None:
    for body in (mark, mark + b"x" * 5000, b'"x"' * 5000 + mark):
        assert among(body)
        assert not among(body.replace(mark, mark[:-1] + b"?"))
