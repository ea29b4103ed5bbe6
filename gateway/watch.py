"""Who is told of calls: metrics and traces hear of every one, the log has one line a refusal or failure."""

from __future__ import annotations

import logging
from collections.abc import Callable

from gateway.ledger.record import Record
from gateway.metrics import Metrics

Trace = Callable[[Record], None]


class Watch:
    """Implements ``gateway.parts.Observer``. ``trace`` gives an untraced record its trace, and hears of all."""

    __slots__ = ("_log", "_metrics", "_tells_all", "_trace", "exceeded", "preflight", "settled", "started")

    def __init__(self, metrics: Metrics, log: logging.Logger, trace: Trace | None = None) -> None:
        self._metrics = metrics
        self._log = log
        self._trace = trace
        self._tells_all = log.isEnabledFor(logging.DEBUG)
        self.started = metrics.started
        self.exceeded = metrics.exceeded
        self.preflight = metrics.preflight
        # what is not asked for costs nothing
        self.settled: Callable[[Record, str], None] = (
            self._settled if trace is not None or self._tells_all else metrics.settled
        )

    def _settled(self, record: Record, dialect: str = "") -> None:
        if self._trace is not None:
            self._trace(record)
        self._metrics.settled(record, dialect)
        if self._tells_all:
            self._log.debug("settled", extra={"fields": _call(record)})

    def refused(self, record: Record, reason: str) -> None:
        if self._trace is not None:
            self._trace(record)
        self._metrics.refused(record, reason)
        self._log.info("refused", extra={"fields": {**_call(record), "refused_by": record.refused_by}})

    def failed(self, request_id: str, provider: str, failure: str, detail: str) -> None:
        self._metrics.failed(request_id, provider, failure, detail)
        fields = {"request_id": request_id, "provider": provider, "failure": failure, "detail": detail}
        self._log.warning("a call failed", extra={"fields": fields})


def _call(record: Record) -> dict[str, str | int]:
    return {
        "request_id": record.request_id,
        "trace_id": record.trace_id,
        "team": record.team,
        "workflow": record.workflow,
        "key": record.key_id,
        "provider": record.provider,
        "model": record.model,
        "status": record.status,
        "outcome": record.outcome,
        "cost_nanousd": record.cost_nanousd,
        "latency_ms": record.latency_us // 1000,
    }
