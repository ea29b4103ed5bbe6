"""Panels about traffic and the gateway itself."""

from __future__ import annotations

from panel import CALL, HEALTH, MODEL, PROVIDER, QUOTAS, SPEND, TRAFFIC, P, quantiles, rate

TRAFFIC_PANELS = [
    P(
        "Calls a second, by team",
        "All calls, refused ones included.",
        "reqps",
        [(rate("spendgate_requests_total", "team"), "{{team}}")],
        SPEND,
    ),
    P(
        "Calls a second, by model",
        "All calls, refused ones included.",
        "reqps",
        [(rate("spendgate_requests_total", "provider, model"), "{{provider}} {{model}}")],
        SPEND,
    ),
    P(
        "Calls a second, by outcome",
        "completed: an answer came to its end, whatever its status.",
        "reqps",
        [(rate("spendgate_requests_total", "outcome"), "{{outcome}}")],
        HEALTH,
    ),
    P(
        "Provider calls that broke, by kind",
        "connect, connect_timeout: the way there; head_timeout, idle_timeout: silence; reset, protocol: broken off.",
        "reqps",
        [
            (
                f"sum by (provider, failure) (rate(spendgate_upstream_failures_total{{{PROVIDER}}}[$__rate_interval]))",
                "{{provider}} {{failure}}",
            )
        ],
        HEALTH,
    ),
    P(
        "Providers' answers, by status",
        "none: no answer came. 429 is in 4xx.",
        "reqps",
        [
            (
                f"sum by (provider, status) (rate(spendgate_upstream_responses_total{{{PROVIDER}}}[$__rate_interval]))",
                "{{provider}} {{status}}",
            )
        ],
        HEALTH,
    ),
    P(
        "Refusals other than quotas",
        "Unknown keys, models that are not allowed, malformed requests.",
        "reqps",
        [("sum by (reason) (rate(spendgate_refusals_total[$__rate_interval]))", "{{reason}}")],
        QUOTAS,
    ),
    P(
        "Time to first token",
        "From a call's first byte to the answer's first, by provider.",
        "s",
        quantiles("spendgate_time_to_first_token_seconds", "provider", MODEL),
        HEALTH,
    ),
    P(
        "Duration of calls",
        "From a call's first byte to its settlement, by provider.",
        "s",
        quantiles("spendgate_request_duration_seconds", "provider", MODEL),
        HEALTH,
    ),
    P(
        "Output tokens a second",
        "Of all calls together.",
        "short",
        [
            (
                f'sum by (provider, model) (rate(spendgate_tokens_total{{{CALL},type="output"}}[$__rate_interval]))',
                "{{provider}} {{model}}",
            )
        ],
        SPEND,
    ),
    P(
        "Output tokens a second of one call",
        "Output tokens, divided by the time that calls took: how fast an answer is for who waits for it.",
        "short",
        [
            (
                f'sum by (provider, model) (rate(spendgate_tokens_total{{{MODEL},type="output"}}[$__rate_interval])) '
                f"/ (sum by (provider, model) (rate(spendgate_request_duration_seconds_sum{{{MODEL}}}[$__rate_interval])) > 0)",
                "{{provider}} {{model}}",
            )
        ],
        SPEND,
    ),
    P(
        "Gateway overhead",
        "What the gateway adds before a call is sent, its ledger's commit included.",
        "s",
        quantiles("spendgate_gateway_overhead_seconds"),
        HEALTH,
    ),
    P(
        "In flight",
        "Calls that a provider is answering.",
        "short",
        [(f"sum by (provider) (spendgate_inflight_requests{{{PROVIDER}}})", "{{provider}}")],
        HEALTH,
    ),
]
HEALTH_PANELS = [
    P(
        "Ledger",
        "1 while it can be written; else calls are refused with 503.",
        "none",
        [("min(spendgate_ledger_healthy)", "healthy")],
        TRAFFIC,
        "stat",
        6,
    ),
    P(
        "Unpriced calls",
        "Calls of models without a price, in the chosen time. Their cost is missing.",
        "short",
        [("sum(increase(spendgate_unpriced_requests_total[$__range])) or vector(0)", "unpriced")],
        SPEND,
        "stat",
        6,
    ),
    P(
        "Estimated",
        "Part of the calls whose usage the provider did not report.",
        "percentunit",
        [
            (
                "(sum(increase(spendgate_usage_estimated_total[$__range])) or vector(0)) "
                "/ (sum(increase(spendgate_request_duration_seconds_count[$__range])) > 0)",
                "estimated",
            )
        ],
        TRAFFIC,
        "stat",
        6,
    ),
    P(
        "Recovered calls",
        "Open when the process before ended, settled at start.",
        "short",
        [("sum(spendgate_recovered_requests_total)", "recovered")],
        SPEND,
        "stat",
        6,
    ),
    P(
        "Ledger commit",
        "A call waits for two commits: before it is sent and before its end.",
        "s",
        quantiles("spendgate_ledger_commit_seconds"),
        TRAFFIC,
    ),
    P(
        "Ledger queue and open calls",
        "Rows that wait for the disk; calls that are open.",
        "short",
        [
            ("sum by (instance) (spendgate_ledger_queue_length)", "queue {{instance}}"),
            ("sum by (instance) (spendgate_ledger_open_requests)", "open {{instance}}"),
        ],
        TRAFFIC,
    ),
    P(
        "Event loop lag",
        "How late the loop is for a timer. Over 100 ms: no CPU left, or something blocks it.",
        "s",
        quantiles("spendgate_event_loop_lag_seconds"),
        TRAFFIC,
    ),
    P(
        "CPU",
        "Cores used by the process. One thread moves all bytes.",
        "short",
        [('rate(process_cpu_seconds_total{job="spendgate"}[$__rate_interval])', "{{instance}}")],
        TRAFFIC,
    ),
    P(
        "Memory",
        "Resident memory of the process.",
        "bytes",
        [('process_resident_memory_bytes{job="spendgate"}', "{{instance}}")],
        TRAFFIC,
    ),
    P(
        "Connections and descriptors",
        "Open connections to clients and providers, and all file descriptors.",
        "short",
        [
            ("spendgate_client_connections", "clients {{instance}}"),
            ("spendgate_upstream_connections", "providers {{instance}}"),
            ('process_open_fds{job="spendgate"}', "descriptors {{instance}}"),
        ],
        TRAFFIC,
    ),
    P(
        "Reservation exceeded",
        "Calls that used more than their bound: a bound is wrong. Empty is what it should be.",
        "short",
        [("sum by (dialect, api) (increase(spendgate_reservation_exceeded_total[$__range]))", "{{dialect}} {{api}}")],
        QUOTAS,
    ),
    P(
        "Workers",
        "Processes that take calls, those that should, and how many were replaced in the chosen time.",
        "short",
        [
            ("sum by (instance) (spendgate_workers)", "take calls {{instance}}"),
            ("sum by (instance) (spendgate_workers_configured)", "should {{instance}}"),
            ("sum by (instance) (increase(spendgate_workers_replaced_total[$__range]))", "replaced {{instance}}"),
        ],
        TRAFFIC,
    ),
    P(
        "Hostile or broken clients",
        "Malformed requests, clients that are too slow, connections beyond a limit, failed handshakes, wrong admin tokens.",
        "reqps",
        [
            ("sum(rate(spendgate_malformed_requests_total[$__rate_interval]))", "malformed"),
            ("sum(rate(spendgate_slow_clients_total[$__rate_interval]))", "slow"),
            ("sum(rate(spendgate_refused_connections_total[$__rate_interval]))", "refused"),
            ("sum(rate(spendgate_tls_handshake_failures_total[$__rate_interval]))", "handshake"),
            ("sum(rate(spendgate_admin_wrong_tokens_total[$__rate_interval]))", "wrong token"),
        ],
        TRAFFIC,
    ),
    P(
        "Addresses that try unknown keys",
        "In the last ten minutes. Past server.limits.unknown_keys_per_minute_per_peer they are held off.",
        "short",
        [("sum by (instance) (spendgate_watched_addresses)", "{{instance}}")],
        TRAFFIC,
    ),
    P(
        "Certificates' time left",
        "Until the end of the certificate that a port shows. Empty where no port speaks TLS.",
        "s",
        [("spendgate_tls_certificate_end_timestamp_seconds - time()", "{{instance}} {{port}}")],
        TRAFFIC,
    ),
    P(
        "Endpoints that can't be reached",
        "Calls to them fail at once.",
        "short",
        [("sum by (instance) (spendgate_upstream_endpoints_unreachable)", "{{instance}}")],
        TRAFFIC,
    ),
    P(
        "Configuration's age",
        "Since the configuration that holds was read.",
        "s",
        [("time() - spendgate_config_reload_timestamp_seconds", "{{instance}}")],
        TRAFFIC,
    ),
]
