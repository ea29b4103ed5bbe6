"""Prometheus metrics. Settled records go in, so that Prometheus, ledger and quotas show one number.

The request path adds integers to cached slots; families and samples are made when a scrape asks for them.
Money stays in integer nanodollars until then.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.ledger.record import Record
from pricing.money import NANO

OTHER = "other"
"""The label value under which series past the bound are counted together."""

DURATION_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
FIRST_TOKEN_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
OVERHEAD_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
COMMIT_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

TOKEN_TYPES = (
    ("input", "input_tokens_total"),
    ("output", "output_tokens_total"),
    ("cache_read", "cache_read_tokens"),
    ("cache_write", "cache_write_tokens"),
    ("reasoning", "reasoning_tokens"),
    ("audio_input", "input_audio_tokens"),
    ("audio_output", "output_audio_tokens"),
    ("image_input", "input_image_tokens"),
    ("image_output", "output_image_tokens"),
)
"""Metric label and ``Usage`` field. ``input`` and ``output`` are totals; the other types are parts of them."""
_RARE_TYPES = TOKEN_TYPES[2:]


class Histogram:
    """Counts of observations below each bound, as Prometheus wants them."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper bound."""
        out: list[tuple[str, float]] = []
        running = 0
        for bound, count in zip((*(repr(b) for b in self.bounds), "+Inf"), self.counts, strict=True):
            running += count
            out.append((bound, running))
        return out


class Spend:
    """Counters of one (team, workflow, provider, model)."""

    __slots__ = ("cost_nanousd", "outcomes", "tokens")

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        self.tokens: dict[str, int] = {}
        self.cost_nanousd = 0


class Speed:
    """Histograms and counters of one (provider, model)."""

    __slots__ = ("duration", "estimated", "first_token", "unpriced")

    def __init__(self) -> None:
        self.duration = Histogram(DURATION_BUCKETS)
        self.first_token = Histogram(FIRST_TOKEN_BUCKETS)
        self.estimated = 0
        self.unpriced = 0


QuotaSample = tuple[str, str, str, float, float, float]
"""quota, bucket, unit, limit, used, reserved"""


class Metrics(Collector):
    """Takes settled records; answers scrapes. ``max_series`` bounds the label sets whose values callers choose."""

    def __init__(self, max_series: int = 10_000) -> None:
        self.max_series = max_series
        self.series_folded = 0
        self._spend: dict[tuple[str, str, str, str], Spend] = {}
        self._speed: dict[tuple[str, str], Speed] = {}
        self._overhead = Histogram(OVERHEAD_BUCKETS)
        self._commit = Histogram(COMMIT_BUCKETS)
        self._inflight: dict[str, int] = {}
        self._refusals: dict[tuple[str, str], int] = {}
        self._exceeded: dict[tuple[str, str], int] = {}
        self._failures: dict[tuple[str, str], int] = {}
        self.quota_samples: Callable[[], Iterable[QuotaSample]] = tuple
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        """Further gauges: name → (help, value at the time of the scrape)."""
        self.counters: dict[str, tuple[str, Callable[[], float]]] = {}

    # the request path

    def started(self, provider: str) -> None:
        self._inflight[provider] = self._inflight.get(provider, 0) + 1

    def settled(self, record: Record, dialect: str = "") -> None:
        """Count one call that ended."""
        provider = record.provider
        self._inflight[provider] -= 1
        self._count(record)
        speed = self._speed_of(provider, record.model)
        speed.duration.observe(record.latency_us / 1e6)
        if record.ttft_us is not None:
            speed.first_token.observe(record.ttft_us / 1e6)
        if record.usage_source == "estimated":
            speed.estimated += 1
        if not record.priced:
            speed.unpriced += 1
        self._overhead.observe(record.gateway_us / 1e6)

    def refused(self, record: Record, reason: str) -> None:
        """Count one call that the gateway refused before it was opened."""
        self._count(record)
        key = (record.refused_by, reason)
        if key in self._refusals or len(self._refusals) < self.max_series:
            self._refusals[key] = self._refusals.get(key, 0) + 1

    def exceeded(self, dialect: str, api: str) -> None:
        self._exceeded[dialect, api] = self._exceeded.get((dialect, api), 0) + 1

    def failed(self, request_id: str, provider: str, failure: str, detail: str) -> None:
        self._failures[provider, failure] = self._failures.get((provider, failure), 0) + 1

    def committed(self, seconds: float) -> None:
        """One ledger commit took ``seconds``."""
        self._commit.observe(seconds)

    def _count(self, record: Record) -> None:
        spend = self._spend_of(record.team, record.workflow, record.provider, record.model)
        outcomes = spend.outcomes
        outcomes[record.outcome] = outcomes.get(record.outcome, 0) + 1
        spend.cost_nanousd += record.cost_nanousd
        usage = record.usage
        tokens = spend.tokens
        if usage.input_tokens_total:
            tokens["input"] = tokens.get("input", 0) + usage.input_tokens_total
        if usage.output_tokens_total:
            tokens["output"] = tokens.get("output", 0) + usage.output_tokens_total
        for name, field in _RARE_TYPES:
            count = getattr(usage, field)
            if count:
                tokens[name] = tokens.get(name, 0) + count

    def _spend_of(self, team: str, workflow: str, provider: str, model: str) -> Spend:
        spend = self._spend.get((team, workflow, provider, model))
        if spend is None:
            key = (team, workflow, provider, model)
            if len(self._spend) >= self.max_series:
                self.series_folded += 1
                key = (team, OTHER, provider, OTHER)
            spend = self._spend.setdefault(key, Spend())
        return spend

    def _speed_of(self, provider: str, model: str) -> Speed:
        speed = self._speed.get((provider, model))
        if speed is None:
            key = (provider, model if len(self._speed) < self.max_series else OTHER)
            speed = self._speed.setdefault(key, Speed())
        return speed

    # the scrape

    def collect(self) -> Iterator[Metric]:
        yield from self._spend_families()
        yield from self._speed_families()
        overhead = HistogramMetricFamily(
            "spendgate_gateway_overhead_seconds", "Time that the gateway itself added to a call.", unit="seconds"
        )
        overhead.add_metric([], self._overhead.buckets(), self._overhead.total)
        yield overhead
        commit = HistogramMetricFamily("spendgate_ledger_commit_seconds", "Time of one ledger commit.", unit="seconds")
        commit.add_metric([], self._commit.buckets(), self._commit.total)
        yield commit
        yield from self._count_families()
        yield from self._quota_families()
        for name, (text, value) in self.gauges.items():
            yield GaugeMetricFamily(name, text, value=value())
        for name, (text, value) in self.counters.items():
            yield CounterMetricFamily(name, text, value=value())

    def _spend_families(self) -> Iterator[Metric]:
        labels = ["team", "workflow", "provider", "model"]
        requests = CounterMetricFamily("spendgate_requests", "Calls by how they ended.", labels=[*labels, "outcome"])
        tokens = CounterMetricFamily(
            "spendgate_tokens",
            "Tokens used. Types input and output are totals; the other types are parts of them.",
            labels=[*labels, "type"],
        )
        cost = CounterMetricFamily("spendgate_cost_usd", "Cost of settled calls in US dollars.", labels=labels)
        for key, spend in list(self._spend.items()):
            for outcome, count in list(spend.outcomes.items()):
                requests.add_metric([*key, outcome], count)
            for name, count in list(spend.tokens.items()):
                tokens.add_metric([*key, name], count)
            cost.add_metric(key, spend.cost_nanousd / NANO)
        yield from (requests, tokens, cost)

    def _speed_families(self) -> Iterator[Metric]:
        labels = ["provider", "model"]
        duration = HistogramMetricFamily(
            "spendgate_request_duration_seconds", "From a call's first byte to its settlement.", labels=labels
        )
        first = HistogramMetricFamily(
            "spendgate_time_to_first_token_seconds", "From a call's first byte to the answer's first.", labels=labels
        )
        estimated = CounterMetricFamily(
            "spendgate_usage_estimated", "Calls whose usage was estimated, not reported.", labels=labels
        )
        unpriced = CounterMetricFamily(
            "spendgate_unpriced_requests", "Calls of models for which no price is known.", labels=labels
        )
        for key, speed in list(self._speed.items()):
            duration.add_metric(key, speed.duration.buckets(), speed.duration.total)
            first.add_metric(key, speed.first_token.buckets(), speed.first_token.total)
            estimated.add_metric(key, speed.estimated)
            unpriced.add_metric(key, speed.unpriced)
        yield from (duration, first, estimated, unpriced)

    def _count_families(self) -> Iterator[Metric]:
        inflight = GaugeMetricFamily(
            "spendgate_inflight_requests", "Calls that a provider is answering.", labels=["provider"]
        )
        for provider, count in list(self._inflight.items()):
            inflight.add_metric([provider], count)
        refusals = CounterMetricFamily(
            "spendgate_quota_refusals", "Calls refused, by quota and reason.", labels=["quota", "reason"]
        )
        for (quota, reason), count in list(self._refusals.items()):
            refusals.add_metric([quota, reason], count)
        exceeded = CounterMetricFamily(
            "spendgate_reservation_exceeded", "Calls that used more than their bound.", labels=["dialect", "api"]
        )
        for (dialect, api), count in list(self._exceeded.items()):
            exceeded.add_metric([dialect, api], count)
        failures = CounterMetricFamily(
            "spendgate_upstream_failures", "Provider calls that broke, by kind.", labels=["provider", "failure"]
        )
        for (provider, failure), count in list(self._failures.items()):
            failures.add_metric([provider, failure], count)
        yield from (inflight, refusals, exceeded, failures)

    def _quota_families(self) -> Iterator[Metric]:
        labels = ["quota", "bucket", "unit"]
        limit = GaugeMetricFamily("spendgate_quota_limit", "What a quota's counter may hold.", labels=labels)
        used = GaugeMetricFamily("spendgate_quota_used", "Settled use in the current window.", labels=labels)
        reserved = GaugeMetricFamily("spendgate_quota_reserved", "Held by calls in flight.", labels=labels)
        for quota, bucket, unit, limit_value, used_value, reserved_value in self.quota_samples():
            limit.add_metric([quota, bucket, unit], limit_value)
            used.add_metric([quota, bucket, unit], used_value)
            reserved.add_metric([quota, bucket, unit], reserved_value)
        yield from (limit, used, reserved)
