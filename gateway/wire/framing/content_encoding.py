"""Content codings, undone on the meter's copy of a response: gzip, deflate, br, zstd, and chains of them.

Decoded bytes are handed on in bounded pieces, and a response that expands beyond all reason is not decoded further.
Nothing here raises: what can't be decoded ends the metering, not the call.
Sources: RFC 9110 section 8.4, RFC 1950 (zlib), RFC 1952 (gzip), RFC 7932 (br), RFC 8878 (zstd).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import IO, Protocol, cast

import brotli
import zstandard

PIECE_BYTES = 65_536
FREE_BYTES = 8 * 1024 * 1024
"""Up to here any expansion is taken."""
MAX_RATIO = 200
"""Beyond it, decoded bytes may be this many times the encoded ones."""
MAX_CHAIN = 4
MAX_ZSTD_WINDOW = 8 * 1024 * 1024
"""RFC 8878 recommends that decoders take windows of up to 8 MB."""

Take = Callable[[bytes], None]


class _StopError(Exception):
    """Decoding ends here for good."""


class Coding(Protocol):
    def feed(self, data: bytes, take: Take) -> None:
        """Decode, and hand on what comes out, in pieces of at most ``PIECE_BYTES`` or a codec's own block."""
        ...


class _Gzip:
    """One or several members; what follows them is no data and is passed over."""

    def __init__(self) -> None:
        self._inflate: zlib._Decompress | None = None
        self._magic = b""
        """The first bytes of the next member, while there are too few to know it by."""
        self._first = True

    def feed(self, data: bytes, take: Take) -> None:
        while data:
            inflate = self._inflate
            if inflate is None:
                data = self._magic + data
                self._magic = data[:2]
                if not self._first and not data.startswith(b"\x1f\x8b"[: len(data)]):
                    return
                if len(data) < 2:
                    return
                self._magic, self._first = b"", False
                inflate = self._inflate = zlib.decompressobj(31)
            take(inflate.decompress(data, PIECE_BYTES))
            data = inflate.unconsumed_tail
            if inflate.eof:
                data, self._inflate = inflate.unused_data, None


class _Deflate:
    """With its zlib wrapper, as RFC 9110 says, or raw, as some servers send it."""

    def __init__(self) -> None:
        self._head = b""
        self._inflate: zlib._Decompress | None = None

    def feed(self, data: bytes, take: Take) -> None:
        inflate = self._inflate
        if inflate is None:
            self._head += data
            if len(self._head) < 2:
                return
            first, second = self._head[0], self._head[1]
            wrapped = first & 15 == 8 and first >> 4 < 8 and (first * 256 + second) % 31 == 0
            inflate = self._inflate = zlib.decompressobj(15 if wrapped else -15)
            data, self._head = self._head, b""
        while data and not inflate.eof:
            take(inflate.decompress(data, PIECE_BYTES))
            data = inflate.unconsumed_tail


class _Brotli:
    def __init__(self) -> None:
        self._decoder = brotli.Decompressor()

    def feed(self, data: bytes, take: Take) -> None:
        decoder = self._decoder
        if decoder.is_finished():
            return
        take(decoder.process(data, output_buffer_limit=PIECE_BYTES))
        while not decoder.can_accept_more_data():
            take(decoder.process(b"", output_buffer_limit=PIECE_BYTES))


class _Sink:
    """Where zstandard's writer puts what it decoded. It refers to nobody: a writer in a ring is never freed."""

    __slots__ = ("take",)

    def __init__(self) -> None:
        self.take: Take | None = None

    def write(self, piece: bytes) -> int:
        if self.take is not None:
            self.take(piece)
        return len(piece)


class _Zstd:
    """One or several frames."""

    def __init__(self) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW)
        self._sink = _Sink()
        # the writer calls write() for each buffer it fills, so that no frame comes out in one piece
        sink = cast(IO[bytes], self._sink)
        self._writer = decompressor.stream_writer(sink, write_size=PIECE_BYTES, closefd=False)

    def feed(self, data: bytes, take: Take) -> None:
        self._sink.take = take
        try:
            self._writer.write(data)
        finally:
            self._sink.take = None


def _coding(name: bytes) -> Coding | None:
    match name:
        case b"gzip" | b"x-gzip":
            return _Gzip()
        case b"deflate":
            return _Deflate()
        case b"br":
            return _Brotli()
        case b"zstd":
            return _Zstd()
        case _:
            return None


class Decoder:
    """Undoes one response's codings. ``broken`` is set where it had to give up."""

    __slots__ = ("_chain", "_in", "_out", "_take", "broken")

    def __init__(self, chain: Sequence[Coding]) -> None:
        self._chain = list(chain)
        self._in = 0
        self._out = 0
        self._take: Take = _nowhere
        self.broken = not chain
        """Nothing more is decoded: an unknown coding, bad data, or expansion past the bounds."""

    def feed(self, data: bytes, take: Take) -> None:
        """Hand the decoded bytes to ``take``, in pieces of some tens of kilobytes at most."""
        if self.broken:
            return
        self._in += len(data)
        self._take = take
        try:
            self._step(0, data)
        except (_StopError, zlib.error, brotli.error, zstandard.ZstdError, EOFError, MemoryError):
            self.broken = True
        finally:
            self._take = _nowhere

    def _step(self, index: int, data: bytes) -> None:
        if not data:
            return
        if index < len(self._chain):
            self._chain[index].feed(data, lambda piece: self._step(index + 1, piece))
            return
        self._out += len(data)
        if self._out > FREE_BYTES and self._out > self._in * MAX_RATIO:
            raise _StopError
        self._take(data)


def _nowhere(_: bytes) -> None:
    return


def decoder_for(encoding: bytes) -> Decoder | None:
    """A decoder for a content-encoding value; None where nothing is encoded; a broken one for an unknown coding."""
    names = [name.strip().lower() for name in encoding.split(b",")]
    names = [name for name in names if name and name != b"identity"]
    if not names:
        return None
    chain = [_coding(name) for name in reversed(names[:MAX_CHAIN])]
    if None in chain or len(names) > MAX_CHAIN:
        return Decoder([])
    return Decoder([coding for coding in chain if coding is not None])
