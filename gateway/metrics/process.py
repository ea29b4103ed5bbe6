"""What the process itself uses (CPU, memory, descriptors, garbage collection), beside the gateway's own metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from gateway.metrics.collector import Metrics
from gateway.metrics.lines import Piece


def samples(metrics: Metrics) -> Callable[[], Iterator[Piece]]:
    """All pieces of a scrape."""
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)

    def pieces() -> Iterator[Piece]:
        yield from metrics.pieces()
        yield from registry.collect()

    return pieces
