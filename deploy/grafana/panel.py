"""What a panel is, and the forms of query that panels share."""

from __future__ import annotations

from typing import NamedTuple

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
