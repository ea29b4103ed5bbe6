"""The lines of a scrape, letter for letter as prometheus-client's encoders write them, in a tenth of their time: the
labels of a family are one format. prometheus-client writes the rest, and is what this is held against.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import Any

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.utils import floatToGoString

from gateway.metrics.families import Family
from gateway.metrics.histogram import Histogram

SLICE_SAMPLES = 200
"""So many samples, more or less, make one piece: some tenths of a millisecond's work."""
_number: Callable[[float], str] = floatToGoString
_SPECIAL = re.compile(r'[\\\n"]')


class Rows(msgspec.Struct):
    """Samples of one counter or gauge: the label values, in the family's order, then the number."""

    family: Family
    rows: list[tuple[Any, ...]]


class Observed(msgspec.Struct):
    """Label sets of one histogram."""

    family: Family
    rows: list[tuple[tuple[str, ...], Histogram]]


Piece = Rows | Observed | Metric
"""A part of one family, or a whole one of prometheus-client's."""


def cut(family: Family, rows: Iterable[tuple[Any, ...]]) -> Iterator[Rows]:
    """Rows in pieces; one at least."""
    piece: list[tuple[Any, ...]] = []
    for row in rows:
        piece.append(row)
        if len(piece) >= SLICE_SAMPLES:
            yield Rows(family, piece)
            piece = []
    yield Rows(family, piece)


def cut_observed(family: Family, rows: list[tuple[tuple[str, ...], Histogram]]) -> Iterator[Observed]:
    """Label sets in pieces; one at least."""
    step = max(1, SLICE_SAMPLES // (len(family.buckets) + 3))
    for start in range(0, max(1, len(rows)), step):
        yield Observed(family, rows[start : start + step])


def as_metric(piece: Piece) -> Metric:
    """The piece in prometheus-client's form."""
    if isinstance(piece, Metric):
        return piece
    family = piece.family
    if isinstance(piece, Observed):
        histogram = HistogramMetricFamily(family.name, family.text, labels=family.labels, unit=family.unit)
        for labels, observed in piece.rows:
            histogram.add_metric(list(labels), observed.buckets(), observed.total)
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.text, labels=family.labels, unit=family.unit)
    for *values, number in piece.rows:
        metric.add_metric(values, number)
    return metric


class Lines:
    """Writes the samples of pieces, without a family's head. ``exemplars``: as OpenMetrics has them."""

    def __init__(self, *, exemplars: bool) -> None:
        self._exemplars = exemplars
        self._formats: dict[Family, Callable[[tuple[Any, ...]], str]] = {}

    def text(self, piece: Rows | Observed) -> str:
        if isinstance(piece, Observed):
            return "".join([line for labels, one in piece.rows for line in self._histogram(piece.family, labels, one)])
        write = self._formats.get(piece.family)
        if write is None:
            write = self._formats[piece.family] = _format(piece.family)
        return "".join([write(row) for row in piece.rows])

    def _histogram(self, family: Family, labels: tuple[str, ...], observed: Histogram) -> Iterator[str]:
        said = sorted(f'{name}="{_escaped(value)}"' for name, value in zip(family.labels, labels, strict=True))
        before = "".join([f"{one}," for one in said if one < "le="])
        after = "".join([f",{one}" for one in said if one > "le="])
        head, tail = f'{family.name}_bucket{{{before}le="', f'"{after}}} '
        count = 0.0
        for bound, number, *example in observed.buckets():
            count = number
            shown = ""
            if example and self._exemplars:
                (trace,), value, at = example[0].labels.values(), example[0].value, example[0].timestamp
                shown = f' # {{trace_id="{_escaped(trace)}"}} {_number(value)} {at}'
            yield f"{head}{bound}{tail}{_number(number)}{shown}\n"
        whole = f"{{{','.join(said)}}}" if said else ""
        yield f"{family.name}_count{whole} {_number(count)}\n"
        yield f"{family.name}_sum{whole} {_number(observed.total)}\n"


def _format(family: Family) -> Callable[[tuple[Any, ...]], str]:
    """How a row of this family becomes a line."""
    names = family.labels
    order = sorted(range(len(names)), key=names.__getitem__)
    if not names:
        return lambda row: f"{family.shown} {_number(row[0])}\n"
    shape = f"{family.shown}{{" + ",".join([f'{names[index]}="%s"' for index in order]) + "} %s\n"
    pick = itemgetter(*order, len(names))

    def write(row: tuple[Any, ...]) -> str:
        if _SPECIAL.search("".join(row[:-1])):
            row = (*map(_escaped, row[:-1]), row[-1])
        *values, number = pick(row)
        return shape % (*values, _number(number))

    return write


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
