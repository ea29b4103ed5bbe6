"""Writes the dashboards: ``python deploy/grafana/generate.py``. Needs grafana-foundation-sdk, as ``make test`` has it.

What is written is checked in, so that nobody who runs the gateway needs this script.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

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
from money import QUOTA_PANELS, SPEND_PANELS
from panel import HEALTH, QUOTAS, SPEND, TITLES, TRAFFIC, VARIABLES, Board, P
from running import HEALTH_PANELS, TRAFFIC_PANELS

HERE = Path(__file__).parent
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
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
