"""Dashboards, rules and runbook belong together: each is what its source says and points to what exists."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from gateway.metrics.families import FAMILIES

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
RULES = sorted((DEPLOY / "prometheus").glob("*.rules.yml"))
BOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (Debian package prometheus) is not installed"
)


def rules() -> list[dict[str, Any]]:
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[tuple[str, dict[str, Any]]]:
    return [(path.stem, panel) for path in BOARDS for panel in json.loads(path.read_text())["panels"]]


def expressions() -> list[str]:
    queries = [target["expr"] for _, panel in panels() for target in panel["targets"]]
    return queries + [rule["expr"] for rule in rules()]


def test_dashboards_are_what_the_script_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DEPLOY / "grafana")
    spec = importlib.util.spec_from_file_location("generate", DEPLOY / "grafana" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert {path.name: path.read_text() for path in BOARDS} == module.boards(), "python deploy/grafana/generate.py"


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_dashboards_are_what_grafanas_schema_allows(path: Path) -> None:
    register_default_plugins()
    written = json.loads(path.read_text())
    read = json.loads(json.dumps(Dashboard.from_json(written), cls=JSONEncoder))
    assert read == written


def test_every_panel_has_a_unit_a_description_and_a_way_on() -> None:
    boards = {path.stem for path in BOARDS}
    assert len(boards) == 4
    for board, panel in panels():
        name = f"{board}: {panel['title']}"
        assert panel["fieldConfig"]["defaults"]["unit"], name
        assert len(panel["description"]) > 10, name
        (link,) = panel["links"]
        assert link["url"].removeprefix("/d/").split("?")[0] in boards - {board}, name
    for path in BOARDS:
        variables = [variable["name"] for variable in json.loads(path.read_text())["templating"]["list"]]
        assert variables == ["datasource", "team", "workflow", "provider", "model"]


def test_every_metric_that_is_asked_for_exists() -> None:
    known = {family.shown for family in FAMILIES}
    known |= {f"{family.name}_{part}" for family in FAMILIES if family.buckets for part in ("bucket", "sum", "count")}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for expression in expressions():
        for name in re.findall(r"(?<![\w:])[a-z_:]*spendgate_[a-z0-9_:]+", expression):
            assert name in known | recorded, f"{name} in {expression}"


def test_each_alert_links_to_its_section_of_the_runbook() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    alerts = [rule for rule in rules() if "alert" in rule]
    for alert in alerts:
        page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
        assert page == "docs/runbook.md"
        assert anchor in anchors
        assert alert["labels"]["severity"] in ("page", "ticket")
    assert {alert["alert"] for alert in alerts} == set(headings)


def test_each_alert_has_a_case_in_which_it_fires() -> None:
    fired = set()
    for path in (DEPLOY / "prometheus").glob("*.test.yml"):
        for case in yaml.safe_load(path.read_text())["tests"]:
            fired |= {one["alertname"] for one in case.get("alert_rule_test", []) if one["exp_alerts"]}
    assert fired == {rule["alert"] for rule in rules() if "alert" in rule}


@needs_promtool
def test_rules_and_configuration_are_valid() -> None:
    folder = DEPLOY / "prometheus"
    for command in (["check", "rules", *map(str, RULES)], ["check", "config", str(folder / "prometheus.yml")]):
        done = subprocess.run(["promtool", *command], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize("path", sorted((DEPLOY / "prometheus").glob("*.test.yml")), ids=lambda path: path.name)
def test_alerts_fire_when_they_should_and_only_then(path: Path) -> None:
    done = subprocess.run(["promtool", "test", "rules", str(path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
