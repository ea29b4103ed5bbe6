"""WebSocket messages out of bytes: any chunking, fragments, control frames between, and what is no frame."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from decoders import cut

from gateway.wire.framing.websocket import MAX_MESSAGE_BYTES, Messages


def frame(payload: bytes, opcode: int = 1, *, final: bool = True) -> bytes:
    size = len(payload)
    first = bytes([opcode | (0x80 if final else 0)])
    if size < 126:
        return first + bytes([size]) + payload
    return first + (b"\x7e" + size.to_bytes(2, "big") if size < 65536 else b"\x7f" + size.to_bytes(8, "big")) + payload


TALK = (
    frame(b'{"a":1}')
    + frame(b'{"b":', final=False)
    + frame(b"ping", 9)
    + frame(b"2}", 0)
    + frame(b"\x00\x01", 2)
    + frame(b'{"c":"' + b"x" * 70_000 + b'"}')
    + frame(b"y" * 300)
    + frame(b"\x03\xe8", 8)
)
SAID = [b'{"a":1}', b'{"b":2}', b'{"c":"' + b"x" * 70_000 + b'"}', b"y" * 300]


@pytest.mark.parametrize("seed", range(20))
def test_messages_are_the_same_in_any_chunking(seed: int) -> None:
    messages = Messages()
    found = [message for piece in cut(TALK, random.Random(seed)) for message in messages.feed(piece)]
    assert found == SAID
    assert messages.at_boundary
    assert not messages.broken


@pytest.mark.parametrize("seed", range(20))
def test_it_is_known_how_much_of_a_frame_has_begun(seed: int) -> None:
    large = MAX_MESSAGE_BYTES + 5
    raw = TALK + b"\x82\x7f" + large.to_bytes(8, "big") + bytes(large) + frame(b"{}")
    ends = {0, len(TALK), len(TALK) + 10 + large, len(raw)}
    at = 0
    for one in (b'{"a":1}', b'{"b":', b"ping", b"2}", b"\x00\x01", b'{"c":"' + b"x" * 70_000 + b'"}', b"y" * 300):
        at += len(frame(one))
        ends.add(at)
    messages, fed, rng = Messages(), 0, random.Random(seed)
    while fed < len(raw):
        near = min(end for end in ends if end > fed)
        size = rng.choice((1, 2, 65_536, 3_000_000, near - fed, max(1, near - fed - 1)))
        messages.feed(raw[fed : fed + size])
        fed = min(fed + size, len(raw))
        assert messages.begun == fed - max(end for end in ends if end <= fed)
    messages.feed(b"\xff\xff")
    assert (messages.broken, messages.begun) == (True, 0)


@pytest.mark.parametrize(
    "raw",
    [b"\xc1\x01a", b"\x81\x81\x00\x00\x00\x00a", b"\x89\x7e\xff\xff", b"\x88\x7f" + b"\xff" * 8, b"\x09\x01a"],
    ids=["reserved bits", "masked", "a long ping", "an endless close", "half a ping"],
)
def test_what_is_no_frame_ends_the_reading(raw: bytes) -> None:
    messages = Messages()
    assert messages.feed(frame(b"{}") + raw) == [b"{}"]
    assert messages.broken
    assert messages.feed(frame(b"{}")) == []


def test_a_message_beyond_the_bound_is_passed_over_and_the_next_one_read() -> None:
    messages = Messages()
    size = MAX_MESSAGE_BYTES + 1
    messages.feed(b"\x81\x7f" + size.to_bytes(8, "big"))
    for _ in range(size // 65536):
        messages.feed(b"z" * 65536)
    assert messages.feed(b"z" * (size % 65536) + frame(b"{}")) == [b"{}"]


def test_a_message_of_endless_fragments_needs_no_more_memory_than_its_bound() -> None:
    messages = Messages()
    messages.feed(frame(b"a", final=False))
    pieces = frame(b"", 0, final=False) * 2000 + frame(b"b", 0, final=False) * 2000
    tracemalloc.start()
    for _ in range(10):
        messages.feed(pieces)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
    assert messages.feed(frame(b"c", 0)) == [b"a" + b"b" * 20_000 + b"c"]


@pytest.mark.parametrize("seed", range(10))
def test_a_clients_frames_are_read_without_their_masks(seed: int) -> None:
    rng = random.Random(seed)
    talk, said = b"", [b"{}", b"x" * rng.randint(0, 300), b"y" * 70_000]
    for payload, opcode in zip(said, (1, 2, 1), strict=True):
        key = rng.randbytes(4)
        plain = frame(payload, opcode)
        head = plain[: len(plain) - len(payload)]
        talk += bytes([head[0], head[1] | 0x80]) + head[2:] + key
        talk += bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
    messages = Messages(masked=True, binary=True)
    assert [message for piece in cut(talk, rng) for message in messages.feed(piece)] == said
    wrong = Messages()
    assert wrong.feed(talk) == []
    assert wrong.broken
