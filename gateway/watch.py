"""Who is told of calls: metrics take every number, the log one line a refusal or failure."""

from __future__ import annotations

import logging

from gateway.ledger.record import Record
from gateway.metrics import Metrics


class Watch:
    """Implements ``gateway.parts.Observer``."""

    def __init__(self, metrics: Metrics, log: logging.Logger) -> None:
        self._metrics = metrics
        self._log = log
        self.started = metrics.started
        self.settled = metrics.settled
        self.exceeded = metrics.exceeded

    def refused(self, record: Record, reason: str) -> None:
        self._metrics.refused(record, reason)
        fields = {
            "request_id": record.request_id,
            "team": record.team,
            "key": record.key_id,
            "provider": record.provider,
            "model": record.model_requested,
            "status": record.status,
            "refused_by": record.refused_by,
        }
        self._log.info("refused", extra={"fields": fields})

    def failed(self, request_id: str, provider: str, failure: str, detail: str) -> None:
        self._metrics.failed(request_id, provider, failure, detail)
        fields = {"request_id": request_id, "provider": provider, "failure": failure, "detail": detail}
        self._log.warning("a call failed", extra={"fields": fields})
