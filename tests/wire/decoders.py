"""Every incremental decoder under one face: bytes in any chunking, the frames that come out."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from gateway.wire.framing.aws_eventstream import EventStream
from gateway.wire.framing.content_encoding import decoder_for
from gateway.wire.framing.json_array import Elements, ElementsOrDocument
from gateway.wire.framing.json_body import JsonBody
from gateway.wire.framing.json_items import JsonItems
from gateway.wire.framing.json_scan import JsonScan, paths
from gateway.wire.framing.ndjson import Lines
from gateway.wire.framing.sse import SseBlocks, data_of
from gateway.wire.framing.websocket import Messages

KEYS = ("usage", "model", "response/usage", "usageMetadata")


def _sse(pieces: Iterator[bytes]) -> list[Any]:
    blocks = SseBlocks()
    found = [data_of(block) for piece in pieces for block in blocks.feed(piece)]
    return [*found, data_of(blocks.flush())]


def _framed(framer: Any, pieces: Iterator[bytes]) -> list[Any]:
    return [*(frame for piece in pieces for frame in framer.feed(piece)), framer.flush()]


def _events(pieces: Iterator[bytes]) -> list[Any]:
    events = EventStream()
    return [(m.headers, m.payload) for piece in pieces for m in events.feed(piece)]


def _messages(pieces: Iterator[bytes], *, client: bool = False) -> list[Any]:
    messages = Messages(masked=client, binary=client)
    return [message for piece in pieces for message in messages.feed(piece)]


def _body(pieces: Iterator[bytes]) -> list[Any]:
    body = JsonBody(KEYS)
    for piece in pieces:
        body.feed(piece)
    return [body.document()]


def _scan(pieces: Iterator[bytes]) -> list[Any]:
    scan = JsonScan(paths(KEYS))
    for piece in pieces:
        scan.feed(piece)
    return [dict(scan.found)]


class Taken(list[bytes]):
    def frame(self, data: bytes) -> None:
        self.append(data)


def _items(pieces: Iterator[bytes]) -> list[Any]:
    scan = JsonItems(paths(KEYS), paths(("messages", "response/tools", "tools")), KEYS, Taken)
    for piece in pieces:
        scan.feed(piece)
    return [dict(scan.found), dict(scan.items)]


def _coded(coding: bytes) -> Callable[[Iterator[bytes]], list[Any]]:
    def run(pieces: Iterator[bytes]) -> list[Any]:
        decoder = decoder_for(coding)
        assert decoder is not None
        out: list[bytes] = []
        for piece in pieces:
            decoder.feed(piece, out.append)
        return [b"".join(out)]

    return run


DECODERS: dict[str, Callable[[Iterator[bytes]], list[Any]]] = {
    "sse": _sse,
    "lines": lambda pieces: _framed(Lines(KEYS), pieces),
    "json array": lambda pieces: _framed(Elements(KEYS), pieces),
    "json array or document": lambda pieces: _framed(ElementsOrDocument(KEYS, KEYS), pieces),
    "json body": _body,
    "json scan": _scan,
    "json items": _items,
    "aws event stream": _events,
    "websocket": _messages,
    "a client's websocket": lambda pieces: _messages(pieces, client=True),
    "gzip": _coded(b"gzip"),
    "deflate": _coded(b"deflate"),
    "br": _coded(b"br"),
    "zstd": _coded(b"zstd"),
    "a chain": _coded(b"gzip, br"),
}
EXACT = frozenset(("lines", "json array", "json array or document", "json body", "json scan", "json items",
                   "aws event stream", "websocket", "a client's websocket"))  # fmt: skip
"""Those whose frames do not depend on the chunking, whatever the bytes are."""


def cut(raw: bytes, rng: random.Random) -> Iterator[bytes]:
    """``raw`` in pieces of random sizes."""
    at = 0
    while at < len(raw):
        size = rng.choice((1, 2, 3, 17, 200, 5000))
        yield raw[at : at + size]
        at += size
