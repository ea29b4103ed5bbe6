"""A scrape's text, written a slice at a time, so that no call waits for a scrape."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.metrics.lines import Lines, Piece, as_metric

Encoder = Callable[[Collector], bytes]
SLICE_SECONDS = 0.0005
"""Once a scrape has worked so long, it rests."""
REST = 3
"""It rests so many times as long as it worked: not just a turn of the loop, for the ledger's thread needs it too."""
MAX_REST_SECONDS = 0.02
"""Or so long, where it was kept from working: a busy machine must not keep it for ever."""


class _These(Collector):
    """What an encoder takes for a registry."""

    def __init__(self, *metrics: Metric) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def slices(pieces: Iterable[Piece], encoder: Encoder, *, exemplars: bool) -> Iterator[bytes]:
    """The exposition of ``pieces``, one after another; the pieces of one family must follow each other."""
    lines = Lines(exemplars=exemplars)
    # what ends each of the encoder's texts and must end the whole: OpenMetrics' "# EOF", else a scrape does not count
    end = encoder(_These())
    last = None
    for piece in pieces:
        if isinstance(piece, Metric):
            yield encoder(_These(piece)).removesuffix(end)
            continue
        if piece.family != last:
            last = piece.family
            yield encoder(_These(as_metric(type(piece)(last, [])))).removesuffix(end)
        yield lines.text(piece).encode()
    yield end


async def exposition(pieces: Iterable[Piece], encoder: Encoder, *, exemplars: bool) -> list[bytes]:
    """The exposition's parts. Calls have the event loop for three quarters of the time until all are written, and wait
    at most for a piece."""
    parts: list[bytes] = []
    began = perf_counter()
    for part in slices(pieces, encoder, exemplars=exemplars):
        parts.append(part)
        took = perf_counter() - began
        if took >= SLICE_SECONDS:
            await asyncio.sleep(min(REST * took, MAX_REST_SECONDS))
            began = perf_counter()
    return parts
