"""Event streams are cut as the WHATWG says, in any chunking, within bounds."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.framing.ndjson import Lines
from gateway.wire.framing.sse import MAX_EVENT_BYTES, Piece, SseBlocks, data_of

STREAMS = st.lists(
    st.sampled_from(
        [b"data: a", b"data:b", b"\n", b"\r", b"\r\n", b"\n\n", b": note", b"event: x", b"\xef\xbb\xbf", b"\xff"]
    )
).map(b"".join)


def cut(raw: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    while raw:
        size = sizes[len(raw) % len(sizes)]
        pieces.append(raw[:size])
        raw = raw[size:]
    return pieces


def blocks(pieces: list[bytes]) -> list[bytes]:
    """Blocks, with each late LF put back to its block, and the rest."""
    framing = SseBlocks()
    found: list[bytes] = []
    for piece in pieces:
        for block in framing.feed(piece):
            if block == b"\n" and found and found[-1].endswith(b"\r"):
                found[-1] += block
            else:
                found.append(block)
    rest = framing.flush()
    return [*found, rest] if rest else found


@given(STREAMS, st.lists(st.integers(1, 9), min_size=1))
def test_any_chunking_gives_the_same_blocks_and_loses_no_byte(raw: bytes, sizes: list[int]) -> None:
    whole = blocks([raw])
    assert b"".join(whole) == raw
    assert blocks(cut(raw, sizes)) == whole


@given(
    st.lists(st.text("abc {}:\"'é", min_size=1), min_size=1), st.sampled_from(["\n", "\r\n", "\r"]), st.integers(1, 20)
)
def test_data_is_what_a_browser_would_read(lines: list[str], end: str, size: int) -> None:
    raw = (": comment" + end + "event: x" + end + end.join(f"data: {line}" for line in lines) + end + end).encode()
    (block,) = blocks(cut(raw, [size]))
    assert data_of(block) == "\n".join(lines).encode()


def test_a_byte_order_mark_a_missing_space_and_a_bare_field_are_read() -> None:
    assert data_of(b"\xef\xbb\xbfdata:x\ndata\ndata: y\nid: 1\n\n") == b"x\n\ny"


def test_a_last_event_without_its_blank_line_is_kept() -> None:
    assert blocks([b"data: a\n\nda", b"ta: [DONE]"]) == [b"data: a\n\n", b"data: [DONE]"]


def test_an_event_beyond_the_bound_comes_in_pieces_and_the_next_one_whole() -> None:
    framing = SseBlocks()
    long = b"data: " + b"x" * (3 * MAX_EVENT_BYTES) + b"\r\n\r\n"
    found = [block for piece in cut(long + b"data: next\n\n", [65_521]) for block in framing.feed(piece)]
    assert b"".join(found[:-1]) == long
    assert all(type(block) is Piece for block in found[:-1])
    assert max(len(block) for block in found) <= MAX_EVENT_BYTES + 65_521
    assert found[-1] == b"data: next\n\n"


@given(
    st.lists(st.sampled_from([b'{"a":1}', b"\n", b"\r\n", b" ", b"x"])).map(b"".join),
    st.lists(st.integers(1, 9), min_size=1),
)
def test_lines_are_the_same_in_any_chunking(raw: bytes, sizes: list[int]) -> None:
    framing = Lines(("done",))
    found = [line for piece in cut(raw, sizes) for line in framing.feed(piece)]
    rest = framing.flush()
    expected = [line for line in raw.split(b"\n") if line.strip()]
    assert [line for line in [*found, rest] if line.strip()] == expected


def test_of_a_line_beyond_the_bound_its_wanted_members_are_read() -> None:
    framing = Lines(("done", "result/usage"))
    long = b'{"a":"%b","result":{"usage":{"x":1},"y":2},"done":true}' % (b"x" * 5_000_000)
    raw = long + b"\n" + b'{"done":false}\n'
    found = [json.loads(line) for piece in cut(raw, [99_991]) for line in framing.feed(piece)]
    assert found == [{"done": True, "result": {"usage": {"x": 1}}}, {"done": False}]


def test_blocks_end_where_two_line_ends_meet() -> None:
    raw = b"data: 1\r\rdata: 2\r\n\r\ndata: 3\n\r\ndata: 4\n\n"
    assert [data_of(block) for block in blocks([raw])] == [b"1", b"2", b"3", b"4"]
    assert len(re.findall(rb"data", raw)) == 4
