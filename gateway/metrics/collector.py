"""Settled records go in, so that Prometheus, ledger and quotas show one number.

The request path adds integers to cached slots; families and samples are made when a scrape asks for them, a slice at a
time. Money stays in integer nanodollars until then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from msgspec.structs import astuple
from prometheus_client.metrics_core import Metric

from gateway.ledger.record import COMPLETED, REJECTED, Record
from gateway.metrics import families as names
from gateway.metrics.histogram import Histogram
from gateway.metrics.lines import SLICE_SAMPLES, Observed, Rows, as_metric, cut, cut_observed
from gateway.wire.usage import Usage
from pricing.money import NANO

OTHER = "other"
"""The label value under which series past the bound are counted together."""
CUT = "cut"

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
_PLACES = tuple(Usage.__struct_fields__.index(field) for _, field in TOKEN_TYPES)


class Spend:
    """Counters of one (team, workflow, provider, model)."""

    __slots__ = ("completed", "cost_nanousd", "outcomes", "speed", "tokens")

    def __init__(self) -> None:
        self.completed = 0
        self.outcomes: dict[str, int] = {}
        """All others."""
        self.tokens = [0] * len(TOKEN_TYPES)
        self.cost_nanousd = 0
        self.speed: Speed | None = None
        """That of its provider and model, so that a call costs one look-up."""

    def ended(self) -> list[tuple[str, int]]:
        """Outcomes, and how many calls had them."""
        return [(COMPLETED, self.completed)] * bool(self.completed) + list(self.outcomes.items())

    def used(self) -> list[tuple[str, int]]:
        """Types of tokens, and how many of them were used."""
        return [(name, count) for (name, _), count in zip(TOKEN_TYPES, self.tokens, strict=True) if count]


class Speed:
    """Histograms and counters of one (provider, model)."""

    __slots__ = ("duration", "estimated", "first_token", "unpriced")

    def __init__(self) -> None:
        self.duration = Histogram(names.DURATION_BUCKETS)
        self.first_token = Histogram(names.FIRST_TOKEN_BUCKETS)
        self.estimated = 0
        self.unpriced = 0


class Flow:
    """Calls of one provider."""

    __slots__ = ("answers", "inflight")

    def __init__(self) -> None:
        self.inflight = 0
        self.answers: dict[int, int] = {}
        """Hundreds of the status → how many."""


QuotaSample = tuple[str, str, str, float, float, float, float]
"""quota, bucket, unit, limit, used, reserved, end of the window in seconds since the epoch (0: it has none)"""

_QUOTA_GAUGES = (names.QUOTA_LIMIT, names.QUOTA_USED, names.QUOTA_RESERVED, names.QUOTA_RESETS)


class Metrics:
    """Takes settled records; answers scrapes, as a collector of prometheus-client's does. ``max_series`` bounds the
    label sets whose values callers choose."""

    def __init__(self, max_series: int = 10_000) -> None:
        self.max_series = max_series
        self.series_folded = 0
        self._spend: dict[tuple[str, str, str, str], Spend] = {}
        self._speed: dict[tuple[str, str], Speed] = {}
        self._overhead = Histogram(names.OVERHEAD_BUCKETS)
        self._commit = Histogram(names.COMMIT_BUCKETS)
        self._lag = Histogram(names.LAG_BUCKETS)
        self._flows: dict[str, Flow] = {}
        self._quota_refusals: dict[tuple[str, str], int] = {}
        self._refusals: dict[tuple[str, ...], int] = {}
        self._exceeded: dict[tuple[str, str], int] = {}
        self._failures: dict[tuple[str, str], int] = {}
        self._preflights: dict[tuple[str, str], int] = {}
        self.quota_samples: Callable[[], Iterable[QuotaSample]] = tuple
        self.certificates: Callable[[], dict[str, float]] = dict
        """Port → when its certificate ends."""
        self.quota_events: Callable[[], dict[tuple[str, str], int]] = dict
        """Quota and kind → how many."""
        self.webhook_deliveries: Callable[[], dict[tuple[str, str], int]] = dict
        """Host and result → how many."""
        self._vitals: dict[str, Callable[[], float]] = {}

    def bind(self, values: dict[str, Callable[[], float]]) -> None:
        """Where the vitals are read at a scrape, by the names of ``families.VITALS``: all of them, and no others."""
        missing = {family.shown for family in names.VITALS} ^ set(values)
        if missing:
            raise ValueError(f"not in both families.VITALS and what is bound: {', '.join(sorted(missing))}")
        self._vitals = values

    # the request path

    def started(self, provider: str) -> None:
        flow = self._flows.get(provider)
        if flow is None:
            flow = self._flows[provider] = Flow()
        flow.inflight += 1

    def settled(self, record: Record, dialect: str = "") -> None:
        """Count one call that ended."""
        provider = record.provider
        flow = self._flows[provider]
        flow.inflight -= 1
        answers = flow.answers
        hundreds = record.status // 100
        answers[hundreds] = answers.get(hundreds, 0) + 1
        model = record.model
        spend = self._spend.get((record.team, record.workflow, provider, model))
        if spend is None:
            # what is counted together has no one speed
            spend = self._spend_of(record.team, record.workflow, provider, model)
            speed = self._speed_of(provider, model)
        elif spend.speed is not None:
            speed = spend.speed
        else:
            speed = spend.speed = self._speed_of(provider, model)
        self._add(spend, record)
        ttft_us = record.ttft_us
        if record.trace_id:
            trace_id = record.trace_id
            at = record.ended_ns / 1e9
            speed.duration.observe_traced(record.latency_us / 1e6, trace_id, at)
            if ttft_us is not None:
                speed.first_token.observe_traced(ttft_us / 1e6, trace_id, at)
            self._overhead.observe_traced(record.gateway_us / 1e6, trace_id, at)
        else:
            speed.duration.observe(record.latency_us / 1e6)
            if ttft_us is not None:
                speed.first_token.observe(ttft_us / 1e6)
            self._overhead.observe(record.gateway_us / 1e6)
        if record.usage_source == "estimated":
            speed.estimated += 1
        if not record.priced:
            speed.unpriced += 1
        if record.refused_by:
            self._refused_by(record.refused_by, CUT)

    def recovered(self, record: Record) -> None:
        """Count one call that a crash left open and this start settled. How long it took nobody knows."""
        self._add(self._spend_of(record.team, record.workflow, record.provider, record.model), record)
        speed = self._speed_of(record.provider, record.model)
        speed.estimated += record.usage_source == "estimated"
        speed.unpriced += not record.priced

    def refused(self, record: Record, reason: str) -> None:
        """Count one call that the gateway refused before it was opened."""
        self._add(self._spend_of(record.team, record.workflow, record.provider, record.model), record)
        if record.refused_by != reason:
            self._refused_by(record.refused_by, reason)
        else:
            self._refusals[(reason,)] = self._refusals.get((reason,), 0) + 1

    def exceeded(self, dialect: str, api: str) -> None:
        self._exceeded[dialect, api] = self._exceeded.get((dialect, api), 0) + 1

    def failed(self, request_id: str, provider: str, failure: str, detail: str) -> None:
        self._failures[provider, failure] = self._failures.get((provider, failure), 0) + 1

    def preflight(self, provider: str, result: str) -> None:
        self._preflights[provider, result] = self._preflights.get((provider, result), 0) + 1

    def committed(self, seconds: float) -> None:
        """One ledger commit took ``seconds``."""
        self._commit.observe(seconds)

    def lagged(self, seconds: float) -> None:
        """The event loop was late by ``seconds``."""
        self._lag.observe(seconds)

    def _refused_by(self, quota: str, reason: str) -> None:
        refusals = self._quota_refusals
        key = (quota, reason)
        if key not in refusals and len(refusals) >= self.max_series:
            key = (OTHER, reason)
        refusals[key] = refusals.get(key, 0) + 1

    def _add(self, spend: Spend, record: Record) -> None:
        outcome = record.outcome
        if outcome == COMPLETED:
            spend.completed += 1
        else:
            spend.outcomes[outcome] = spend.outcomes.get(outcome, 0) + 1
            if outcome == REJECTED:
                return
        if not (record.pending and record.claim):
            # else its report brings what it cost, and in the ledger an adjustment that takes the estimate back
            spend.cost_nanousd += record.cost_nanousd
        tokens, units = spend.tokens, astuple(record.usage)
        place = 0
        for at in _PLACES:
            count = units[at]
            if count:
                tokens[place] += count
            place += 1

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
        """Whole families, as prometheus-client's registry wants them."""
        whole: Metric | None = None
        for piece in map(as_metric, self.pieces()):
            if whole is not None and piece.name == whole.name:
                whole.samples.extend(piece.samples)
                continue
            if whole is not None:
                yield whole
            whole = piece
        if whole is not None:
            yield whole

    def pieces(self) -> Iterator[Rows | Observed]:
        """All families in small pieces; the pieces of one follow each other. The caller may pause between any two:
        what callers add meanwhile is seen or not, and nothing else changes."""
        spends = list(self._spend.items())
        yield from cut(
            names.REQUESTS,
            ((*key, outcome, count) for key, spend in spends for outcome, count in spend.ended()),
        )
        yield from cut(names.TOKENS, ((*key, kind, count) for key, spend in spends for kind, count in spend.used()))
        yield from cut(names.COST, ((*key, spend.cost_nanousd / NANO) for key, spend in spends))
        speeds = list(self._speed.items())
        yield from cut_observed(names.DURATION, [(key, speed.duration) for key, speed in speeds])
        yield from cut_observed(names.FIRST_TOKEN, [(key, speed.first_token) for key, speed in speeds])
        yield from cut(names.ESTIMATED, ((*key, speed.estimated) for key, speed in speeds))
        yield from cut(names.UNPRICED, ((*key, speed.unpriced) for key, speed in speeds))
        for family, histogram in (
            (names.OVERHEAD, self._overhead),
            (names.COMMIT, self._commit),
            (names.LAG, self._lag),
        ):
            yield Observed(family, [((), histogram)])
        yield from cut(names.INFLIGHT, [(provider, flow.inflight) for provider, flow in self._flows.items()])
        for family, counts in (
            (names.QUOTA_REFUSALS, self._quota_refusals),
            (names.QUOTA_EVENTS, self.quota_events()),
            (names.WEBHOOKS, self.webhook_deliveries()),
            (names.REFUSALS, self._refusals),
            (names.EXCEEDED, self._exceeded),
            (names.FAILURES, self._failures),
            (names.PREFLIGHTS, self._preflights),
        ):
            yield from cut(family, [(*key, count) for key, count in counts.items()])
        responses = [
            (provider, _class(hundreds), count)
            for provider, flow in self._flows.items()
            for hundreds, count in flow.answers.items()
        ]
        yield from cut(names.RESPONSES, responses)
        yield from self._quota_pieces()
        yield from cut(names.CERTIFICATE, list(self.certificates().items()))
        for family in names.VITALS:
            yield Rows(family, [(self._vitals[family.shown]() if self._vitals else 0.0,)])

    def _quota_pieces(self) -> Iterator[Rows]:
        """Limit, use and reservation of one counter are read in one turn, so that they agree."""
        samples: list[QuotaSample] = []
        rest: dict[tuple[str, str], list[float]] = {}
        for index, sample in enumerate(self.quota_samples()):
            if len(samples) < self.max_series:
                samples.append(sample)
            else:
                quota, _, unit, *values, _ = sample
                sums = rest.setdefault((quota, unit), [0.0, 0.0, 0.0])
                for position, value in enumerate(values):
                    sums[position] += value
            if index % SLICE_SAMPLES == SLICE_SAMPLES - 1:
                yield Rows(names.QUOTA_LIMIT, [])
        samples += [(quota, OTHER, unit, sums[0], sums[1], sums[2], 0.0) for (quota, unit), sums in rest.items()]
        for position, family in enumerate(_QUOTA_GAUGES, 3):
            resets = family is names.QUOTA_RESETS
            yield from cut(
                family, ((*sample[:3], sample[position]) for sample in samples if sample[position] or not resets)
            )


def _class(status: int) -> str:
    return f"{status}xx" if status else "none"
