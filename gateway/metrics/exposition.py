"""A scrape's text, written by prometheus-client's encoders a slice at a time, so that no call waits for a scrape."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

Encoder = Callable[[Collector], bytes]
END = b"# EOF\n"
PAUSE_SECONDS = 0.001
"""Between two slices. A pause, not just a turn: the thread of the ledger needs the interpreter too."""


class _One(Collector):
    """What an encoder takes for a registry."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)


def slices(pieces: Iterable[Metric], encoder: Encoder) -> Iterator[bytes]:
    """The exposition of ``pieces``, one after another; the pieces of one family must follow each other."""
    last = ""
    whole = False
    for piece in pieces:
        text = encoder(_One(piece))
        if text.endswith(END):
            whole = True
            text = text[: -len(END)]
        if piece.name == last:
            text = _without_head(text)
        last = piece.name
        yield text
    if whole:
        yield END


def _without_head(text: bytes) -> bytes:
    start = 0
    while text.startswith(b"# ", start):
        start = text.index(b"\n", start) + 1
    return text[start:]


async def exposition(pieces: Iterable[Metric], encoder: Encoder) -> list[bytes]:
    """The exposition's parts; calls have the event loop between any two of them."""
    parts: list[bytes] = []
    for part in slices(pieces, encoder):
        parts.append(part)
        await asyncio.sleep(PAUSE_SECONDS)
    return parts
