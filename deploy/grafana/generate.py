"""Writes the dashboards: ``python deploy/grafana/generate.py``. Needs grafana-foundation-sdk, as ``make test`` has it.

What is written is checked in, so that nobody who runs the gateway needs this script.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueGraphMode, LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    VariableRefresh,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

HERE = Path(__file__).parent
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
CALL = 'team=~"$team",workflow=~"$workflow",provider=~"$provider",model=~"$model"'
MODEL = 'provider=~"$provider",model=~"$model"'
PROVIDER = 'provider=~"$provider"'
SPEND, QUOTAS, TRAFFIC, HEALTH = "spendgate-spend", "spendgate-quotas", "spendgate-traffic", "spendgate-health"
TITLES = {SPEND: "Spend", QUOTAS: "Quotas", TRAFFIC: "Traffic and latency", HEALTH: "Health"}
VARIABLES = "${__url_time_range}&${team:queryparam}&${workflow:queryparam}&${provider:queryparam}&${model:queryparam}"
TIME_LEFT = "(days_in_month() * 86400 - (day_of_month() - 1) * 86400 - hour() * 3600 - minute() * 60)"


class P(NamedTuple):
    """One panel: what it shows, in which unit, by which queries, and where to look closer."""

    title: str
    description: str
    unit: str
    queries: list[tuple[str, str]]
    """Expression and legend."""
    more: str
    """The dashboard that a click leads to."""
    kind: str = "time"
    width: int = 12


class Board(NamedTuple):
    uid: str
    description: str
    since: str
    panels: list[P]


def increase(metric: str, by: str, over: str, labels: str = CALL) -> str:
    return f"sum by ({by}) (increase({metric}{{{labels}}}[{over}]))"


def rate(metric: str, by: str, labels: str = CALL) -> str:
    return f"sum by ({by}) (rate({metric}{{{labels}}}[$__rate_interval]))"


def quantile(share: float, metric: str, by: str = "", labels: str = "") -> str:
    grouped = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({grouped}) (rate({metric}_bucket{{{labels}}}[$__rate_interval])))"


def quantiles(metric: str, by: str = "", labels: str = "") -> list[tuple[str, str]]:
    name = f" {{{{{by}}}}}" if by else ""
    return [(quantile(share, metric, by, labels), f"p{share * 100:g}{name}") for share in (0.5, 0.95, 0.99)]


COST = "spendgate_cost_usd_total"
SPEND_PANELS = [
    P(
        "Spend",
        "Settled cost in the chosen time; by default this month to date, UTC.",
        "currencyUSD",
        [(f"sum(increase({COST}{{{CALL}}}[$__range]))", "spend")],
        TRAFFIC,
        "stat",
        6,
    ),
    P(
        "Forecast for the month",
        "Spend in the chosen time and, for the rest of this month, the rate of the last day. Choose this month.",
        "currencyUSD",
        [(f"sum(increase({COST}{{{CALL}}}[$__range])) + sum(rate({COST}{{{CALL}}}[1d])) * {TIME_LEFT}", "forecast")],
        QUOTAS,
        "stat",
        6,
    ),
    P(
        "Price of 1,000 calls",
        "What a thousand calls cost on average in the chosen time.",
        "currencyUSD",
        [
            (
                f"1000 * sum(increase({COST}{{{CALL}}}[$__range])) "
                f"/ (sum(increase(spendgate_requests_total{{{CALL}}}[$__range])) > 0)",
                "a thousand calls",
            )
        ],
        TRAFFIC,
        "stat",
        6,
    ),
    P(
        "Input read from caches",
        "Part of all input tokens that providers read from their caches, where they cost a fraction.",
        "percentunit",
        [
            (
                f'sum(increase(spendgate_tokens_total{{{CALL},type="cache_read"}}[$__range])) '
                f'/ (sum(increase(spendgate_tokens_total{{{CALL},type="input"}}[$__range])) > 0) '
                f'or 0 * sum(increase(spendgate_tokens_total{{{CALL},type="input"}}[$__range]))',
                "from caches",
            )
        ],
        TRAFFIC,
        "stat",
        6,
    ),
    P(
        "Spend an hour, by team",
        "Cost settled in the hour before.",
        "currencyUSD",
        [(increase(COST, "team", "1h"), "{{team}}")],
        QUOTAS,
    ),
    P(
        "Spend an hour, by workflow",
        "Cost settled in the hour before, the ten that cost most.",
        "currencyUSD",
        [(f"topk(10, {increase(COST, 'team, workflow', '1h')})", "{{team}} {{workflow}}")],
        TRAFFIC,
    ),
    P(
        "Spend an hour, by model",
        "Cost settled in the hour before.",
        "currencyUSD",
        [(increase(COST, "provider, model", "1h"), "{{provider}} {{model}}")],
        TRAFFIC,
    ),
    P(
        "Price of 1,000 calls, by model",
        "Grows with longer contexts, lost caches and costlier models.",
        "currencyUSD",
        [
            (
                f"1000 * {increase(COST, 'provider, model', '1h')} "
                f"/ ({increase('spendgate_requests_total', 'provider, model', '1h')} > 0)",
                "{{provider}} {{model}}",
            )
        ],
        TRAFFIC,
    ),
    P(
        "Tokens a second, by type",
        "Input and output are totals; the other types are parts of them.",
        "short",
        [(rate("spendgate_tokens_total", "type"), "{{type}}")],
        TRAFFIC,
    ),
    P(
        "Last hour against the same hour of past weeks",
        "Over 3 the alert on unusual spend fires. Empty until there is data of a week ago.",
        "none",
        [("team:spendgate_cost_usd:increase1h / (team:spendgate_cost_usd:same_hour_of_past_weeks > 0)", "{{team}}")],
        TRAFFIC,
    ),
    P(
        "Where the money goes",
        "Cost in the chosen time for each team, workflow and model.",
        "currencyUSD",
        [(f"topk(50, {increase(COST, 'team, workflow, provider, model', '$__range')})", "")],
        TRAFFIC,
        "table",
        24,
    ),
]
SHARE = "(spendgate_quota_used + spendgate_quota_reserved) / (spendgate_quota_limit > 0)"
QUOTA_PANELS = [
    P(
        "Nearest to its limit",
        "Used and reserved, as a part of the limit, of the quota that is nearest to its own.",
        "percentunit",
        [(f"max({SHARE})", "nearest")],
        SPEND,
        "stat",
        8,
    ),
    P(
        "First to run out",
        "Time until the first quota has no room, at the rate of the last hour. Empty while nothing is used.",
        "s",
        [("min(quota_bucket:spendgate_quota:seconds_to_exhaustion)", "first")],
        SPEND,
        "stat",
        8,
    ),
    P(
        "Refusals",
        "Calls that a quota refused in the chosen time.",
        "short",
        [("sum(increase(spendgate_quota_refusals_total[$__range]))", "refused")],
        TRAFFIC,
        "stat",
        8,
    ),
    P(
        "Used and reserved, part of the limit",
        "The twenty that are nearest to their limits.",
        "percentunit",
        [(f"topk(20, {SHARE})", "{{quota}} {{bucket}} {{unit}}")],
        SPEND,
    ),
    P(
        "Reserved, part of the limit",
        "Held by calls in flight. Much reserved and little used: callers ask for more output than they use.",
        "percentunit",
        [("topk(20, spendgate_quota_reserved / (spendgate_quota_limit > 0))", "{{quota}} {{bucket}} {{unit}}")],
        TRAFFIC,
    ),
    P(
        "Time to exhaustion",
        "At the rate of the last hour; only quotas that are being used.",
        "s",
        [("bottomk(20, quota_bucket:spendgate_quota:seconds_to_exhaustion)", "{{quota}} {{bucket}} {{unit}}")],
        SPEND,
    ),
    P(
        "Refusals a second",
        "By quota and reason; cut: an answer that was ended because the budget was used up.",
        "reqps",
        [("sum by (quota, reason) (rate(spendgate_quota_refusals_total[$__rate_interval]))", "{{quota}} {{reason}}")],
        TRAFFIC,
    ),
    P(
        "Calls waiting in line",
        "Calls that wait until a quota has room.",
        "short",
        [("sum by (instance) (spendgate_waiting_requests)", "{{instance}}")],
        HEALTH,
    ),
    P(
        "Time until the window ends",
        "Of calendar windows.",
        "s",
        [("spendgate_quota_reset_timestamp_seconds - time()", "{{quota}} {{bucket}} {{unit}}")],
        SPEND,
    ),
    P("All quotas: used", "In the quota's own unit.", "short", [("spendgate_quota_used", "")], SPEND, "table", 12),
    P("All quotas: limit", "In the quota's own unit.", "short", [("spendgate_quota_limit", "")], SPEND, "table", 12),
]
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
        [("sum(increase(spendgate_unpriced_requests_total[$__range]))", "unpriced")],
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
                "sum(increase(spendgate_usage_estimated_total[$__range])) / (sum(increase(spendgate_request_duration_seconds_count[$__range])) > 0)",
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
        "Hostile or broken clients",
        "Malformed requests, clients that are too slow, connections beyond a limit.",
        "reqps",
        [
            ("sum(rate(spendgate_malformed_requests_total[$__rate_interval]))", "malformed"),
            ("sum(rate(spendgate_slow_clients_total[$__rate_interval]))", "slow"),
            ("sum(rate(spendgate_refused_connections_total[$__rate_interval]))", "refused"),
        ],
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
BOARDS = [
    Board(SPEND, "What calls cost, by team, workflow and model.", "now/M", SPEND_PANELS),
    Board(QUOTAS, "What budgets have left, and who is refused.", "now-6h", QUOTA_PANELS),
    Board(TRAFFIC, "How many calls, how fast, and what fails.", "now-3h", TRAFFIC_PANELS),
    Board(
        HEALTH,
        "The gateway itself: ledger, event loop, process, and what it could not measure.",
        "now-3h",
        HEALTH_PANELS,
    ),
]


def blank(kind: str) -> timeseries.Panel | stat.Panel | table.Panel:
    """A panel of the kind, set up."""
    if kind == "stat":
        return (
            stat.Panel()
            .graph_mode(BigValueGraphMode.NONE)
            .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        )
    if kind == "table":
        return table.Panel().show_header(True)
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    return timeseries.Panel().legend(legend.show_legend(True)).fill_opacity(10)


def panel(told: P) -> timeseries.Panel | stat.Panel | table.Panel:
    made = blank(told.kind)
    made = made.title(told.title).description(told.description).unit(told.unit).datasource(SOURCE)
    made = made.height(5 if told.kind == "stat" else 8).span(told.width)
    link = dashboard.DashboardLink(f"{TITLES[told.more]} for the same choice").type(DashboardLinkType.LINK)
    made = made.links([link.url(f"/d/{told.more}?{VARIABLES}")])
    for number, (expression, legend) in enumerate(told.queries):
        query = prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + number))
        if told.kind == "time":
            query = query.range().exemplar("histogram_quantile" in expression)
        else:
            query = query.instant()
        made = made.with_target(query.format(PromQueryFormat.TABLE) if told.kind == "table" else query)
    return made


def variable(name: str, metric: str) -> dashboard.QueryVariable:
    made = dashboard.QueryVariable(name).label(name).query(f"label_values({metric}, {name})").datasource(SOURCE)
    return made.multi(True).include_all(True).all_format(".*").refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)


def board(told: Board) -> str:
    """The dashboard as JSON."""
    made = dashboard.Dashboard(f"Spendgate: {TITLES[told.uid]}").uid(told.uid).description(told.description)
    made = made.tags(["spendgate"]).refresh("30s").time(told.since, "now").timezone("utc").readonly()
    made = made.tooltip(DashboardCursorSync.CROSSHAIR)
    made = made.with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    for name in ("team", "workflow", "provider", "model"):
        made = made.with_variable(variable(name, "spendgate_requests_total"))
    links = dashboard.DashboardLink("Spendgate").type(DashboardLinkType.DASHBOARDS).tags(["spendgate"])
    made = made.link(links.include_vars(True).keep_time(True))
    for one in told.panels:
        made = made.with_panel(panel(one))
    built = made.build()
    for number, one in enumerate(built.panels or [], 1):
        one.id_val = number
    return json.dumps(built, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def boards() -> dict[str, str]:
    """File name → content."""
    return {f"{told.uid}.json": board(told) for told in BOARDS}


if __name__ == "__main__":
    for name, content in boards().items():
        (HERE / "dashboards").mkdir(exist_ok=True)
        (HERE / "dashboards" / name).write_text(content)
    sys.exit(0)
