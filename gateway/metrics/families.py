"""Every metric: name, type, labels, unit, meaning. The collector and docs/metrics.md are made from it."""

from __future__ import annotations

from typing import Literal

import msgspec

DURATION_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
FIRST_TOKEN_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
OVERHEAD_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
COMMIT_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Family(msgspec.Struct, frozen=True):
    """One metric. A counter's ``name`` is without ``_total``, as OpenMetrics wants it."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = ()

    @property
    def shown(self) -> str:
        """The name under which queries find it."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


_CALL = ("team", "workflow", "provider", "model")
_MODEL = ("provider", "model")
_BUCKET = ("quota", "bucket", "unit")

REQUESTS = Family("spendgate_requests", "counter", "Calls by how they ended.", (*_CALL, "outcome"))
TOKENS = Family(
    "spendgate_tokens",
    "counter",
    "Tokens used. Types input and output are totals; the other types are parts of them.",
    (*_CALL, "type"),
)
COST = Family(
    "spendgate_cost_usd",
    "counter",
    "Cost of settled calls in US dollars. What is reported later counts when it is reported.",
    _CALL,
    "usd",
)
DURATION = Family(
    "spendgate_request_duration_seconds",
    "histogram",
    "From a call's first byte to its settlement.",
    _MODEL,
    "seconds",
    DURATION_BUCKETS,
)
FIRST_TOKEN = Family(
    "spendgate_time_to_first_token_seconds",
    "histogram",
    "From a call's first byte to the answer's first.",
    _MODEL,
    "seconds",
    FIRST_TOKEN_BUCKETS,
)
ESTIMATED = Family("spendgate_usage_estimated", "counter", "Calls whose usage was estimated, not reported.", _MODEL)
UNPRICED = Family("spendgate_unpriced_requests", "counter", "Calls of models for which no price is known.", _MODEL)
OVERHEAD = Family(
    "spendgate_gateway_overhead_seconds",
    "histogram",
    "Time that the gateway itself added before a call was sent.",
    (),
    "seconds",
    OVERHEAD_BUCKETS,
)
COMMIT = Family(
    "spendgate_ledger_commit_seconds", "histogram", "Time of one ledger commit.", (), "seconds", COMMIT_BUCKETS
)
LAG = Family(
    "spendgate_event_loop_lag_seconds",
    "histogram",
    "How late the event loop was for a timer that rings ten times a second.",
    (),
    "seconds",
    LAG_BUCKETS,
)
INFLIGHT = Family("spendgate_inflight_requests", "gauge", "Calls that a provider is answering.", ("provider",))
QUOTA_LIMIT = Family("spendgate_quota_limit", "gauge", "What a quota's counter may hold.", _BUCKET)
QUOTA_USED = Family("spendgate_quota_used", "gauge", "Settled use in the current window.", _BUCKET)
QUOTA_RESERVED = Family("spendgate_quota_reserved", "gauge", "Held by calls in flight.", _BUCKET)
QUOTA_RESETS = Family(
    "spendgate_quota_reset_timestamp_seconds",
    "gauge",
    "When the current window ends, in seconds since the epoch. Only for calendar windows.",
    _BUCKET,
    "seconds",
)
QUOTA_REFUSALS = Family(
    "spendgate_quota_refusals",
    "counter",
    "Calls refused by a quota, or whose answer one cut short (reason cut).",
    ("quota", "reason"),
)
QUOTA_EVENTS = Family(
    "spendgate_quota_events",
    "counter",
    "What happened to quotas: threshold, exhausted, reopened, rule_changed, granted. Each once, as in the ledger.",
    ("quota", "kind"),
)
WEBHOOKS = Family(
    "spendgate_webhook_deliveries",
    "counter",
    "Events sent to webhooks, by what became of each try: delivered, failed, given_up.",
    ("host", "result"),
)
REFUSALS = Family("spendgate_refusals", "counter", "Calls refused for a reason other than a quota.", ("reason",))
EXCEEDED = Family(
    "spendgate_reservation_exceeded", "counter", "Calls that used more than their bound.", ("dialect", "api")
)
FAILURES = Family(
    "spendgate_upstream_failures", "counter", "Provider calls that broke, by kind.", ("provider", "failure")
)
RESPONSES = Family(
    "spendgate_upstream_responses",
    "counter",
    "Calls sent, by the class of the provider's status: 2xx to 5xx, or none where no answer came.",
    ("provider", "status"),
)
PREFLIGHTS = Family(
    "spendgate_preflights",
    "counter",
    "Questions of browsers before a call (CORS), by who answers: asked (the provider), remembered, refused (too many), "
    "unnamed (the path names no provider).",
    ("provider", "result"),
)

CERTIFICATE = Family(
    "spendgate_tls_certificate_end_timestamp_seconds",
    "gauge",
    "When the certificate of a port (data, admin) ends, in seconds since the epoch. Only for ports that have one.",
    ("port",),
    "seconds",
)

VITALS = (
    Family("spendgate_workers", "gauge", "Processes that take calls."),
    Family("spendgate_workers_configured", "gauge", "Processes that should take calls: server.workers."),
    Family("spendgate_workers_replaced", "counter", "Processes that took calls, ended, and were replaced."),
    Family("spendgate_ledger_queue_length", "gauge", "Rows that wait for the ledger's disk."),
    Family("spendgate_ledger_open_requests", "gauge", "Calls that are open in the ledger."),
    Family("spendgate_ledger_rows_unfit", "counter", "Rows that the ledger can't take as they are."),
    Family("spendgate_ledger_healthy", "gauge", "1 while the ledger can be written."),
    Family("spendgate_client_connections", "gauge", "Open client connections."),
    Family("spendgate_known_heads", "gauge", "Request heads that need not be parsed again."),
    Family("spendgate_known_answer_heads", "gauge", "Answers' heads that are known but for their values."),
    Family("spendgate_vocabularies", "gauge", "Tokenizers' vocabularies in memory."),
    Family("spendgate_upstream_connections", "gauge", "Open provider connections."),
    Family(
        "spendgate_upstream_endpoints_unreachable",
        "gauge",
        "Provider endpoints that calls are kept from, because they could not be reached again and again.",
    ),
    Family("spendgate_waiting_requests", "gauge", "Calls that wait in line for a quota."),
    Family("spendgate_event_loop_tasks", "gauge", "Tasks of the event loop."),
    Family(
        "spendgate_config_reload_timestamp_seconds",
        "gauge",
        "When the configuration that holds was read, in seconds since the epoch.",
        (),
        "seconds",
    ),
    Family("spendgate_config_reload_failures", "counter", "Reloads that changed nothing, because the file was wrong."),
    Family("spendgate_export_failures", "counter", "Runs of [[exports]] that could not write all that was due."),
    Family(
        "spendgate_quota_store_healthy",
        "gauge",
        "1: the store of shared quotas can be used, or there is none. 0: it can't.",
    ),
    Family("spendgate_quota_store_failures", "counter", "What the store of shared quotas did not do or not answer."),
    Family(
        "spendgate_replica_lag_records", "gauge", "Records that are not known to be copied to [ledger.replica] yet."
    ),
    Family("spendgate_replica_failures", "counter", "Tries to copy records to [ledger.replica] that failed."),
    Family("spendgate_log_lines_dropped", "counter", "Lines of the log that nobody took off standard error in time."),
    Family("spendgate_recovered_requests", "counter", "Calls left open by a crash and settled at start."),
    Family(
        "spendgate_watched_addresses", "gauge", "Client addresses that sent an unknown key in the last ten minutes."
    ),
    Family("spendgate_admin_wrong_tokens", "counter", "Tokens sent to the admin port that are none."),
    Family("spendgate_malformed_requests", "counter", "Requests that were not HTTP as it must be."),
    Family("spendgate_refused_connections", "counter", "Client connections beyond a limit."),
    Family(
        "spendgate_tls_handshake_failures",
        "counter",
        "Connections that ended in their TLS handshake: no certificate or a wrong one, another protocol, too slow.",
    ),
    Family(
        "spendgate_slow_clients",
        "counter",
        "Client connections given up: a head, a body or the taking of an answer was too slow.",
    ),
    Family(
        "spendgate_metrics_series_folded",
        "counter",
        "Calls counted under other, because the bound of series was reached.",
    ),
)
"""Read from the running parts at each scrape."""

FAMILIES = (
    REQUESTS, TOKENS, COST, DURATION, FIRST_TOKEN, OVERHEAD, INFLIGHT, QUOTA_LIMIT, QUOTA_USED, QUOTA_RESERVED,
    QUOTA_RESETS, QUOTA_REFUSALS, QUOTA_EVENTS, WEBHOOKS, REFUSALS, ESTIMATED, UNPRICED, EXCEEDED, RESPONSES, FAILURES,
    PREFLIGHTS, COMMIT, LAG, CERTIFICATE, *VITALS,
)  # fmt: skip
