"""A head that is known but for its values says what the HTTP parser says, or is left to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import httptools
import pytest
from built import compiled
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.wire import answer_heads as plain
from gateway.wire.answer_heads import MAX_SHAPES, MAX_STRANGE, KnownHead
from gateway.wire.http_heads import Fields, Header

OK = b"HTTP/1.1 200 OK"
NAMES = (b"Date", b"content-type", b"Set-Cookie", b"x-id", b"Content-Length", b"set-cookie", b"CF-RAY", b"Connection",
         b"Transfer-Encoding", b"Keep-Alive", b"Upgrade")  # fmt: skip
VALUES = st.sampled_from(
    [b"1", b"5", b"a", b"text/event-stream; charset=utf-8", b"x" * 300, b"\xc3\xa9", b"a\tb", b"keep-alive", b"close",
     b"chunked", b"x-id, close"]
)  # fmt: skip
ODD = st.sampled_from(
    [b"", b" ", b" a", b"a ", b"a\t", b"\ta", b"a\x00", b"a\x7fb", b"a\nb", b"a\rb", b"a\r\nx: y", b"a\r\n b",
     b"a\r\n\r\n", b"\x0b", b"gzip, chunked", b"1, 1", b"-1", b"0x1", b"99999999999999999999"]
)  # fmt: skip


class Shapes(Protocol):
    """What both builds have."""

    def __len__(self) -> int: ...

    def read(self, data: bytes) -> KnownHead | None: ...

    def learn(self, data: bytes, headers: list[Header]) -> None: ...


Made = Callable[[], Shapes]


@pytest.fixture(scope="module", params=["plain", "compiled"])
def made(request: pytest.FixtureRequest) -> Made:
    found: Made = plain.Shapes if request.param == "plain" else compiled("gateway.wire.answer_heads").Shapes
    return found


class Parsed:
    """What the parser says of an answer's bytes."""

    def __init__(self, *pieces: bytes) -> None:
        self.headers: list[Header] = []
        self.body = b""
        self.ended = self.failed = False
        self.parser = httptools.HttpResponseParser(self)
        self.facts: tuple[object, ...] = ()
        try:
            for piece in pieces:
                self.parser.feed_data(piece)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.failed = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        parser = self.parser
        self.facts = parser.get_status_code(), parser.get_http_version(), parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.ended = True

    @property
    def meaning(self) -> tuple[object, ...]:
        return self.facts, self.body, self.ended, self.failed


def head_of(names: list[bytes], values: list[bytes], first: bytes = OK, colon: bytes = b": ") -> bytes:
    lines = [name + colon + value for name, value in zip(names, values, strict=True)]
    return b"\r\n".join([first, *lines, b"", b""])


def learnt(shapes: Shapes, raw: bytes) -> None:
    parsed = Parsed(raw)
    if parsed.facts:
        shapes.learn(raw, parsed.headers)


def agrees(known: KnownHead, raw: bytes) -> None:
    """The parser says of the whole what is said of the parts."""
    whole = Parsed(raw)
    assert Parsed(known.framing, raw[known.end :]).meaning == whole.meaning
    if not whole.facts:
        return  # the parser refuses how the body is framed
    fields = Fields(whole.headers)
    assert list(known.fields) == whole.headers
    assert list(known.fields.onward) == fields.onward
    assert known.fields.content_length == fields.content_length
    for name in NAMES:
        assert known.fields.get(name.lower()) == fields.get(name.lower())
    block = b"".join(b"%b: %b\r\n" % header for header in fields.onward)
    assert known.fields.onward.block == block  # type: ignore[attr-defined]


SHAPE = st.lists(st.sampled_from(NAMES), max_size=8)


@given(data=st.data(), names=SHAPE, body=st.sampled_from([b"", b"12345", b"1\r\na\r\n0\r\n\r\n", b"x" * 20]))
def test_a_known_head_says_what_the_parser_says(
    made: Made, data: st.DataObject, names: list[bytes], body: bytes
) -> None:
    values = st.lists(VALUES | ODD, min_size=len(names), max_size=len(names))
    usual = st.lists(VALUES, min_size=len(names), max_size=len(names))
    shapes = made()
    for _ in range(3):
        learnt(shapes, head_of(names, data.draw(usual)))
    for _ in range(3):
        raw = head_of(names, data.draw(values)) + body
        known = shapes.read(raw)
        if known is not None:
            agrees(known, raw)


@given(names=SHAPE, at=st.integers(0, 400), byte=st.binary(min_size=1, max_size=2), cut=st.booleans())
@example(names=[b"x-id"], at=15, byte=b"\n", cut=True)
def test_a_byte_that_is_another_is_the_parsers(made: Made, names: list[bytes], at: int, byte: bytes, cut: bool) -> None:
    raw = head_of(names, [b"1"] * len(names)) + b"12345"
    shapes = made()
    learnt(shapes, raw)
    raw = raw[:at] + byte + raw[at + (len(byte) if cut else 0) :]
    known = shapes.read(raw)
    if known is not None:
        agrees(known, raw)


def test_a_head_is_known_by_its_names_their_order_and_their_spelling(made: Made) -> None:
    shapes = made()
    learnt(shapes, head_of([b"A", b"B"], [b"1", b"2"]))
    assert shapes.read(head_of([b"A", b"B"], [b"3", b"4"]) + b"body") is not None
    for names, values, first in (
        ([b"a", b"B"], [b"3", b"4"], OK), ([b"B", b"A"], [b"3", b"4"], OK), ([b"A"], [b"3"], OK),
        ([b"A", b"B", b"C"], [b"3", b"4", b"5"], OK), ([b"A", b"B"], [b"3", b"4"], b"HTTP/1.1 200 ok"),
        ([b"A", b"B"], [b"3", b"4"], b"HTTP/1.0 200 OK"), ([b"A", b"B"], [b"3", b"4"], b"HTTP/1.1 429 OK"),
    ):  # fmt: skip
        assert shapes.read(head_of(names, values, first)) is None
    assert shapes.read(head_of([b"A", b"B"], [b"3", b"4"])[:-1]) is None


def test_fields_that_the_connection_field_names_end_here(made: Made) -> None:
    shapes = made()
    learnt(shapes, head_of([b"Connection", b"x-id"], [b"close", b"1"]))
    assert shapes.read(head_of([b"Connection", b"x-id"], [b"Keep-Alive", b"1"])) is not None
    assert shapes.read(head_of([b"Connection", b"x-id"], [b"close, x-id", b"1"])) is None


def test_few_shapes_are_kept_and_none_of_heads_that_are_written_otherwise(made: Made) -> None:
    shapes = made()
    for number in range(3 * MAX_SHAPES):
        learnt(shapes, head_of([b"x-%d" % number], [b"1"]))
    assert len(shapes) == MAX_SHAPES
    assert shapes.read(head_of([b"x-%d" % (3 * MAX_SHAPES - 1)], [b"2"])) is not None
    assert shapes.read(head_of([b"x-0"], [b"2"])) is None
    shapes = made()
    for _ in range(MAX_STRANGE):
        learnt(shapes, head_of([b"x-id"], [b"1"], colon=b":"))
    learnt(shapes, head_of([b"x-id"], [b"1"]))
    assert len(shapes) == 0
