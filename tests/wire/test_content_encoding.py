"""Coded bodies are decoded in any chunking, within bounds, and nothing raises."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.framing.content_encoding import FREE_BYTES, Decoder, decoder_for


def raw_deflate(data: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    return deflate.compress(data) + deflate.flush()


ENCODERS = {
    b"gzip": gzip.compress,
    b"x-gzip": gzip.compress,
    b"deflate": zlib.compress,
    b"br": brotli.compress,
    b"zstd": zstandard.ZstdCompressor().compress,
}


def decode(coding: bytes, pieces: list[bytes]) -> tuple[bytes, Decoder]:
    decoder = decoder_for(coding)
    assert decoder is not None
    out: list[bytes] = []
    for piece in pieces:
        decoder.feed(piece, out.append)
    return b"".join(out), decoder


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


@pytest.mark.parametrize("coding", ENCODERS)
@pytest.mark.parametrize("size", [1, 2, 7, 1 << 20])
def test_every_coding_decodes_in_any_chunking(coding: bytes, size: int) -> None:
    body = b'data: {"usage":{"prompt_tokens":3}}\n\n' * 500 + bytes(range(256))
    assert decode(coding, cut(ENCODERS[coding](body), size))[0] == body


@pytest.mark.parametrize("size", [1, 3, 1 << 20])
def test_deflate_without_its_zlib_wrapper_decodes_too(size: int) -> None:
    body = b"some text, some text" * 50
    assert decode(b"deflate", cut(raw_deflate(body), size))[0] == body


@pytest.mark.parametrize("coding", [b"gzip", b"zstd"])
@pytest.mark.parametrize("size", [1, 3, 1 << 20])
def test_several_members_or_frames_are_one_body(coding: bytes, size: int) -> None:
    encode = ENCODERS[coding]
    assert decode(coding, cut(encode(b"one ") + encode(b"two"), size))[0] == b"one two"


@given(
    st.lists(st.sampled_from(sorted(ENCODERS)), min_size=1, max_size=4), st.binary(max_size=2000), st.integers(1, 99)
)
def test_chains_are_undone_in_reverse(codings: list[bytes], body: bytes, size: int) -> None:
    encoded = body
    for coding in codings:
        encoded = ENCODERS[coding](encoded)
    assert decode(b", ".join(codings), cut(encoded, size))[0] == body


def test_identity_is_no_coding() -> None:
    assert decoder_for(b"identity") is None
    assert decoder_for(b" , ") is None


@pytest.mark.parametrize("value", [b"compress", b"gzip, snappy", b"gzip, gzip, gzip, gzip, gzip"])
def test_an_unknown_coding_or_an_endless_chain_is_not_decoded(value: bytes) -> None:
    out, decoder = decode(value, [b"anything"])
    assert out == b""
    assert decoder.broken


@given(st.sampled_from(sorted(ENCODERS)), st.lists(st.binary(max_size=200), max_size=20))
def test_bytes_that_no_encoder_made_never_raise(coding: bytes, pieces: list[bytes]) -> None:
    decode(coding, pieces)


@given(st.sampled_from(sorted(ENCODERS)), st.integers(0, 400), st.integers(0, 255))
def test_a_spoiled_byte_never_raises(coding: bytes, at: int, byte: int) -> None:
    encoded = bytearray(ENCODERS[coding](b"text that is spoiled " * 30))
    encoded[at % len(encoded)] = byte
    decode(coding, cut(bytes(encoded), 10))


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"br", b"zstd"])
def test_a_bomb_is_given_up_in_small_pieces(coding: bytes) -> None:
    bomb = ENCODERS[coding](bytes(64 * 1024 * 1024))
    decoder = decoder_for(coding)
    assert decoder is not None
    sizes: list[int] = []
    decoder.feed(bomb, lambda piece: sizes.append(len(piece)))
    assert decoder.broken
    assert sum(sizes) <= max(FREE_BYTES, 200 * len(bomb)) + 262_144
    assert max(sizes) <= 262_144


def test_garbage_behind_a_gzip_member_is_not_kept() -> None:
    decoder = decoder_for(b"gzip")
    assert decoder is not None
    out: list[bytes] = []
    decoder.feed(gzip.compress(b"all"), out.append)
    for _ in range(1000):
        decoder.feed(b"\x1f" * 1000, out.append)
    assert b"".join(out) == b"all"


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"br", b"zstd", b"gzip, br"])
def test_what_decoded_an_answer_is_freed_with_it(coding: bytes) -> None:
    body = b'data: {"a":1}\n\n' * 200
    raw = body
    for name in coding.split(b", "):
        raw = ENCODERS[name](raw)

    def decoded(times: int) -> int:
        """Pages of memory that the process has afterwards."""
        for _ in range(times):
            decoder = decoder_for(coding)
            assert decoder is not None
            decoder.feed(raw, lambda _: None)
        return int(Path("/proc/self/statm").read_text().split()[1])

    before = decoded(100)
    assert decoded(2000) - before < 1024
