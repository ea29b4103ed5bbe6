"""One scrape of several processes: sums, and counters that never fall."""

from __future__ import annotations

import book
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from gateway.metrics import Metrics
from gateway.metrics.merging import Merged, told


class Pieces(Collector):
    def __init__(self, pieces: list[Metric]) -> None:
        self._pieces = pieces

    def collect(self) -> list[Metric]:
        return self._pieces


def counted(*numbers: int) -> Metrics:
    """The metrics of a process that settled these records."""
    metrics = Metrics()
    for number in numbers:
        metrics.started("openai")
        metrics.settled(book.record(number))
    metrics.started("openai")
    return metrics


def scrape(merged: Merged) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = generate_latest(Pieces(list(merged.pieces(Metrics().pieces())))).decode()  # type: ignore[arg-type]
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_scrape_is_the_sum_of_what_all_counted_as_if_one_process_had() -> None:
    merged = Merged()
    merged.heard(1, [told(piece) for piece in counted(*range(40)).pieces()])
    merged.heard(2, [told(piece) for piece in counted(*range(40, 90)).pieces()])
    whole = Merged()
    whole.heard(1, [told(piece) for piece in counted(*range(90)).pieces()])
    found, wanted = scrape(merged), scrape(whole)
    inflight = ("spendgate_inflight_requests", (("provider", "openai"),))
    assert found.pop(inflight) == 2
    assert wanted.pop(inflight) == 1
    assert found.keys() == wanted.keys()
    assert {key: round(value, 6) for key, value in found.items()} == {k: round(v, 6) for k, v in wanted.items()}


def test_what_a_process_counted_that_ended_stays_and_what_it_held_goes() -> None:
    merged = Merged()
    merged.heard(1, [told(piece) for piece in counted(*range(40)).pieces()])
    before = scrape(merged)
    merged.ended(1)
    after = scrape(merged)
    assert {
        key: value for key, value in before.items() if key[0].endswith(("_total", "_bucket", "_count", "_sum"))
    } == {key: value for key, value in after.items() if key[0].endswith(("_total", "_bucket", "_count", "_sum"))}
    assert ("spendgate_inflight_requests", (("provider", "openai"),)) not in after
    merged.heard(2, [told(piece) for piece in counted(3).pieces()])
    later = scrape(merged)
    assert all(later[key] >= value for key, value in after.items() if key[0].endswith("_total"))
