"""Counts of observations, and an example of each: the trace of a call that fell there."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client.samples import Exemplar

Bucket = tuple[str, float] | tuple[str, float, Exemplar]


class Histogram:
    """Counts of observations below each bound, as Prometheus wants them."""

    __slots__ = ("bounds", "counts", "examples", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.examples: dict[int, tuple[str, float, float]] = {}
        """The newest traced observation of a bucket: trace id, value, seconds since the epoch."""

    def observe(self, value: float) -> None:
        bucket = 0
        for bound in self.bounds:
            if value <= bound:
                break
            bucket += 1
        self.counts[bucket] += 1
        self.total += value

    def observe_traced(self, value: float, trace_id: str, at: float) -> None:
        """As ``observe``, for a call that belongs to a trace. ``at``: seconds since the epoch."""
        bucket = bisect_left(self.bounds, value)
        self.counts[bucket] += 1
        self.total += value
        self.examples[bucket] = (trace_id, value, at)

    def buckets(self) -> list[Bucket]:
        """Cumulative counts by upper bound."""
        out: list[Bucket] = []
        running = 0
        examples = self.examples
        for index, count in enumerate(self.counts):
            running += count
            bound = repr(self.bounds[index]) if index < len(self.bounds) else "+Inf"
            example = examples.get(index)
            if example is None:
                out.append((bound, running))
            else:
                trace_id, value, at = example
                out.append((bound, running, Exemplar({"trace_id": trace_id}, value, at)))
        return out
