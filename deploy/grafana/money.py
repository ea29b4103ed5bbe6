"""Panels about money and budgets."""

from __future__ import annotations

from panel import CALL, HEALTH, QUOTAS, SPEND, TIME_LEFT, TRAFFIC, P, increase, rate

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
        [("sum(increase(spendgate_quota_refusals_total[$__range])) or vector(0)", "refused")],
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
