"""Meters: follow one response from its bytes to its ``Reading``.

Three kinds, by framing: whole JSON bodies, frames (SSE, NDJSON and others), and bodies without meaning. What a frame
means is the dialect's: it hands a ``Reader`` to the meter. State is O(1) in the length of the response: a bounded
sample, one unfinished frame, a few counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.wire.dialect import Header
from gateway.wire.facts import Facts
from gateway.wire.framing.content_encoding import Decoder, decoder_for
from gateway.wire.framing.json_body import JsonBody
from gateway.wire.framing.json_scan import JsonScan, document_of, paths
from gateway.wire.framing.sse import ENDINGS, Piece, SseBlocks, data_of, ends_block
from gateway.wire.http_heads import fields_of
from gateway.wire.usage import Reading

SAMPLE_BYTES = 32_768
_VAGUE = (b"text/plain", b"application/octet-stream")
FIRST_FRAMES = 16
"""Frames that are parsed in search of the model's name, at most."""
SCANNED = (
    "type", "model", "usage", "error", "service_tier", "usageMetadata", "modelVersion",
    "response/usage", "response/model", "response/id", "response/background", "response/error", "response/service_tier",
    "response/tool_usage", "response/tools", "message/usage", "message/model", "delta/usage", "response/meta",
)  # fmt: skip
"""What is read of an event that is too long to be kept."""


class Reader(Protocol):
    """What a dialect does with the frames of one response."""

    reading: Reading
    terminal: bool

    def frame(self, data: bytes) -> None:
        """Take one frame's JSON. Never raises."""
        ...

    def done(self) -> None:
        """The body has ended."""
        ...


class Base:
    """Decoding, sample and counts: what all meters share."""

    def __init__(self, reader: Reader, headers: Sequence[Header]) -> None:
        self._begin(reader, headers)

    def _begin(self, reader: Reader, headers: Sequence[Header]) -> None:
        self.undo_encoding = False
        self.rewrites = False
        self._reader = reader
        self._decoder = _decoder(headers)
        self._sample: list[bytes] = []
        self._sample_room = SAMPLE_BYTES
        self._decoded = 0
        self._frames = 0

    @property
    def terminal(self) -> bool:
        return self._reader.terminal

    def feed(self, data: bytes) -> bytes:
        if self._decoder is None:
            self._decoded += len(data)
            if self._sample_room > 0:
                self._keep(data)
            self._take(data)
        else:
            self._decoder.feed(data, self._decoded_piece)
        return data

    def _decoded_piece(self, piece: bytes) -> None:
        self._count(piece)
        self._take(piece)

    def flush(self) -> bytes:
        self._end()
        self._reader.done()
        return b""

    def reading(self) -> Reading:
        reading = self._reader.reading
        reading.decoded_bytes = self._decoded
        reading.frames = self._frames
        if reading.usage is None or not reading.complete:
            reading.sample = self.sample()
        return reading

    def sample(self) -> bytes:
        return b"".join(self._sample)

    def _count(self, data: bytes) -> None:
        self._decoded += len(data)
        if self._sample_room > 0:
            self._keep(data)

    def _keep(self, data: bytes) -> None:
        room = self._sample_room
        self._sample.append(data if len(data) <= room else data[:room])
        self._sample_room = room - len(data)

    def _take(self, data: bytes) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        raise NotImplementedError


class JsonMeter(Base):
    """One JSON document: the reader sees it once, at its end."""

    def __init__(self, reader: Reader, headers: Sequence[Header], keys: Sequence[str]) -> None:
        self._begin(reader, headers)
        self._body = JsonBody(keys)

    def _take(self, data: bytes) -> None:
        self._body.feed(data)

    def _end(self) -> None:
        document = self._body.document()
        if document:
            self._frames = 1
            self._reader.frame(document)


class SilentMeter(Base):
    """A body that says nothing about usage (audio, files): counted, not read."""

    def _take(self, data: bytes) -> None:
        return

    def _end(self) -> None:
        return


class SseMeter(Base):
    """Server-sent events. Those without any of ``needles`` are not parsed, but for the first ones: they name the model.

    Of an event that is too long to be kept only the members of ``SCANNED`` are read.
    """

    def __init__(self, reader: Reader, headers: Sequence[Header], needles: tuple[bytes, ...]) -> None:
        super().__init__(reader, headers)
        self._blocks = SseBlocks()
        self._needles = needles
        self._nulls = tuple((needle, needle + b":null" if needle.endswith(b'"') else b"") for needle in needles)
        self._opening = FIRST_FRAMES
        """So many more frames are parsed in search of the model."""
        self._calm = False
        """The next piece may be passed without a look at its events: nothing is held, coded or awaited."""
        self._long: LongEvent | None = None

    def feed(self, data: bytes) -> bytes:
        if self._decoder is not None:
            return Base.feed(self, data)  # compiled there is no super() here
        # the usual piece: whole events, none of which can hold anything to know
        if self._calm and data.endswith(ENDINGS):
            find = data.find  # twice as fast as ``in``
            for needle in self._needles:
                if find(needle) >= 0:
                    break
            else:
                self._frames += 1
                self._decoded += len(data)
                if self._sample_room > 0:
                    self._keep(data)
                return data
            if self._nulls_only(data):
                self._frames += 1
                self._count(data)
                return data
        self._count(data)
        self._events(data)
        self._calm = not self._opening and self._blocks.at_boundary
        return data

    def _plain(self, data: bytes) -> bool:
        """No needle is in ``data``, but as a key that holds null each time."""
        return not _holds(data, self._needles) or self._nulls_only(data)

    def _nulls_only(self, data: bytes) -> bool:
        """The needles in ``data`` are keys that hold null each time (``"usage":null`` in every chunk)."""
        for needle, null in self._nulls:
            found = data.count(needle)
            if found and (not null or data.count(null) != found):
                return False
        return True

    def _take(self, data: bytes) -> None:
        if not self._opening and self._blocks.at_boundary and ends_block(data) and self._plain(data):
            self._frames += 1
        else:
            self._events(data)

    def _events(self, data: bytes) -> None:
        if self._calm and data.find(b"\n\n") == len(data) - 2 >= 0 and b"\r" not in data:
            # one whole event, and nothing is held
            self._block(data)
            return
        for block in self._blocks.feed(data):
            self._block(block)

    def _block(self, block: bytes) -> None:
        if type(block) is Piece:
            self._piece(block)
            return
        if self._long is not None:
            self._end_long()
        if not self._opening and not _holds(block, self._needles):
            self._frames += 1
            return
        data = data_of(block)
        if data:
            # comments and the end say nothing: a stream of an error and them is an error alone
            self._frames += data != b"[DONE]"
            self._reader.frame(data)
            if self._opening:
                self._opening = 0 if self._reader.reading.model else self._opening - 1

    def _piece(self, piece: Piece) -> None:
        if self._long is None:
            self._long = LongEvent()
        self._long.feed(piece)
        if ends_block(piece):
            self._end_long()

    def _end_long(self) -> None:
        if self._long is not None:
            self._frames += 1
            self._reader.frame(self._long.document())
            self._long = None

    def _end(self) -> None:
        rest = self._blocks.flush()
        if rest.strip() or type(rest) is Piece:
            self._block(rest)
        self._end_long()


class LongEvent:
    """An event that is too long to be kept: the few members of its JSON that can say what was used."""

    def __init__(self) -> None:
        self._scan = JsonScan(paths(SCANNED))
        self._started = False

    def feed(self, piece: bytes) -> None:
        if not self._started:
            start = piece.find(b"{")
            if start < 0:
                return
            piece, self._started = piece[start:], True
        self._scan.feed(piece)

    def document(self) -> bytes:
        return document_of(self._scan.found)


class StrippingSseMeter(SseMeter):
    """An SSE meter that also takes out what the gateway made the provider add: ``strip`` answers what a block keeps.

    It holds back an unfinished event at most: what an event keeps is known at its end.
    """

    def __init__(
        self,
        reader: Reader,
        headers: Sequence[Header],
        needles: tuple[bytes, ...],
        strip: Callable[[bytes], bytes],
    ) -> None:
        super().__init__(reader, headers, needles)
        self._strip = strip
        self._out: list[bytes] = []
        self._dropped = False
        # in a coding that nobody here knows: better the option's additions than an answer that can't be read
        self.rewrites = self._decoder is None or not self._decoder.broken
        self.undo_encoding = self._decoder is not None and self.rewrites

    def feed(self, data: bytes) -> bytes:
        if not self.rewrites:
            return SseMeter.feed(self, data)
        # the usual piece: one event that holds nothing to know, a null report perhaps
        if self._calm and data.endswith(b"\n\n") and data.find(b"\n\n") == len(data) - 2 and self._plain(data):
            self._frames += 1
            self._count(data)
            self._dropped = False
            return self._strip(data)
        Base.feed(self, data)
        self._calm = self._decoder is None and not self._opening and self._blocks.at_boundary
        out = self._out
        joined = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return joined

    def _take(self, data: bytes) -> None:
        for block in self._blocks.feed(data):
            self._block(block)
            if block == b"\n":
                left = b"" if self._dropped else block
            else:
                left = block if type(block) is Piece else self._strip(block)
                self._dropped = not left
            if left:
                self._out.append(left)

    def flush(self) -> bytes:
        rest = self._blocks.flush()
        if rest.strip() or type(rest) is Piece:
            self._block(rest)
            if type(rest) is not Piece:
                rest = self._strip(rest)
        self._end_long()
        self._reader.done()
        return rest


class FrameMeter(Base):
    """Frames cut by another framing (lines, array elements, messages); those without a needle are not parsed."""

    def __init__(self, reader: Reader, headers: Sequence[Header], framer: Framer, needles: tuple[bytes, ...]) -> None:
        super().__init__(reader, headers)
        self._framer = framer
        self._needles = needles

    def _take(self, data: bytes) -> None:
        for frame in self._framer.feed(data):
            self._frame(frame)

    def _frame(self, frame: bytes) -> None:
        self._frames += 1
        if _holds(frame, self._needles):
            self._reader.frame(frame)

    def _end(self) -> None:
        rest = self._framer.flush()
        if rest.strip():
            self._frame(rest)


def _holds(data: bytes, needles: tuple[bytes, ...]) -> bool:
    for needle in needles:  # noqa: SIM110 - a generator costs more than the search
        if data.find(needle) >= 0:
            return True
    return False


class Framer(Protocol):
    def feed(self, data: bytes) -> Sequence[bytes]: ...

    def flush(self) -> bytes: ...


def header(headers: Sequence[Header], name: bytes) -> bytes:
    """A field's value, lists joined; empty where it is absent. ``name`` in lower case."""
    return fields_of(headers).get(name) or b""


def form_of(headers: Sequence[Header], facts: Facts) -> str:
    """``sse`` or ``json``, as the content type says; where it says nothing, what was asked for; empty for any other."""
    kind = header(headers, b"content-type")
    if kind == b"application/json":
        return "json"
    kind = kind.lower()
    if kind.startswith(b"text/event-stream"):
        return "sse"
    if b"json" in kind:
        return "json"
    if not kind or kind.startswith(_VAGUE):
        return "sse" if facts.stream else "json"
    return ""


def _decoder(headers: Sequence[Header]) -> Decoder | None:
    coding = fields_of(headers).get(b"content-encoding")
    return decoder_for(coding) if coding is not None else None
