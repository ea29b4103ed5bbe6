"""One scrape of several processes: each tells its samples, and they are added up.

What a process counted that has ended goes on to count, so no counter falls when it is replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
from prometheus_client.metrics_core import Metric

from gateway.metrics.lines import Piece, as_metric

LEAST = ("spendgate_ledger_healthy", "spendgate_tls_certificate_end_timestamp_seconds")
"""Gauges of which the least counts."""
MOST = ("spendgate_upstream_endpoints_unreachable",)
"""Gauges of which the most counts: a sum would tell one endpoint once for each process that can't reach it."""
OWN = (
    "spendgate_config_reload_timestamp_seconds",
    "spendgate_quota_store_healthy",
    "spendgate_quota_limit",
    "spendgate_quota_used",
    "spendgate_quota_reserved",
    "spendgate_quota_reset_timestamp_seconds",
    "process_start_time_seconds",
    "process_max_fds",
    "python_info",
)
"""Families that the supervisor alone can tell."""
LASTING = ("counter", "histogram")

Labels = tuple[tuple[str, str], ...]


class Told(msgspec.Struct, array_like=True, frozen=True):
    """Samples of one family: name of the sample, labels, value."""

    name: str
    kind: str
    samples: list[tuple[str, Labels, float]]


def told(piece: Piece) -> Told:
    """A piece of a scrape in words that can be sent."""
    piece = _metric(piece)
    samples = [(sample.name, tuple(sample.labels.items()), float(sample.value)) for sample in piece.samples]
    return Told(piece.name, piece.type, samples)


def _metric(piece: Piece) -> Metric:
    return piece if isinstance(piece, Metric) else as_metric(piece)


def _together(name: str) -> Callable[[float, float], float]:
    """What two processes' values of a family are together."""
    if name in LEAST:
        return min
    return max if name in MOST else float.__add__


class Merged:
    """Keeps what each process told last, and the sum of what those told that have ended."""

    def __init__(self) -> None:
        self._last: dict[int, Sequence[Told]] = {}
        self._ended: dict[str, dict[tuple[str, Labels], float]] = {}

    def heard(self, process: int, families: Sequence[Told]) -> None:
        """What a process tells now."""
        self._last[process] = families

    def ended(self, process: int) -> None:
        """It tells no more; what it counted stays."""
        for family in self._last.pop(process, ()):
            if family.kind in LASTING:
                sums = self._ended.setdefault(family.name, {})
                for name, labels, value in family.samples:
                    sums[name, labels] = sums.get((name, labels), 0.0) + value

    def pieces(self, own: Iterable[Piece]) -> Iterator[Metric]:
        """A scrape: the supervisor's own families with what the others add."""
        theirs: dict[str, list[Told]] = {}
        for families in self._last.values():
            for family in families:
                theirs.setdefault(family.name, []).append(family)
        whole: Metric | None = None
        for piece in map(_metric, own):
            if whole is not None and whole.name == piece.name:
                whole.samples.extend(piece.samples)
                continue
            if whole is not None:
                yield self._sum(whole, theirs.get(whole.name, ()))
            whole = piece
        if whole is not None:
            yield self._sum(whole, theirs.get(whole.name, ()))

    def _sum(self, own: Metric, theirs: Sequence[Told]) -> Metric:
        if own.name in OWN:
            return own
        together = _together(own.name)
        sums: dict[tuple[str, Labels], float] = {}
        for sample in own.samples:
            sums[sample.name, tuple(sample.labels.items())] = float(sample.value)
        for key, value in self._ended.get(own.name, {}).items():
            sums[key] = sums.get(key, 0.0) + value
        for family in theirs:
            for name, labels, value in family.samples:
                known = sums.get((name, labels))
                sums[name, labels] = value if known is None else together(known, value)
        merged = Metric(own.name, own.documentation, own.type, own.unit)
        for (name, labels), value in sums.items():
            merged.add_sample(name, dict(labels), value)
        return merged
