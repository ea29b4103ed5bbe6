"""The past as counters: what Prometheus would have seen."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import book
import pytest
from months import FIRST, LAST, office
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from support.gateway import Gateway

NASTY = 'a"b\\c\nd'


@pytest.fixture(scope="module")
def quarter(tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    return office(tmp_path_factory.mktemp("openmetrics"), 800)


@pytest.fixture(scope="module")
def text(quarter: Gateway) -> str:
    return quarter.cli("export", "openmetrics", "--since", FIRST, "--until", LAST).stdout


def test_the_last_value_of_each_counter_is_the_reports_and_none_goes_down(quarter: Gateway, text: str) -> None:
    series: defaultdict[tuple[str, tuple[tuple[str, str], ...]], list[tuple[float, Decimal]]] = defaultdict(list)
    for family in text_string_to_metric_families(text):
        assert family.type == "counter"
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert sample.timestamp is not None
            series[key].append((float(sample.timestamp), Decimal(repr(sample.value))))
    for points in series.values():
        assert points == sorted(points)
        assert points[0][1] == 0
    last: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for (name, labels), points in series.items():
        last[name, dict(labels).get("type") or dict(labels).get("outcome") or ""] += points[-1][1]
    (found,) = json.loads(
        quarter.cli("report", "--by", "", "--since", FIRST, "--until", LAST, "--format", "json").stdout
    )
    assert round(last["spendgate_cost_usd_total", ""] * 10**9) == found["cost_nanousd"]
    assert last["spendgate_tokens_total", "input"] == found["input_tokens"]
    assert last["spendgate_tokens_total", "cache_read"] == found["cache_read_tokens"]
    assert last["spendgate_requests_total", "rejected"] == found["rejected"]
    calls = sum(value for (name, kind), value in last.items()
                if name == "spendgate_requests_total" and kind != "rejected")  # fmt: skip
    assert calls == found["requests"]


def test_an_estimate_that_its_report_replaced_counts_no_more_than_in_the_gateways_own_counter(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, '[providers.openai]\nkind = "openai"\n')
    (tmp_path / "data").mkdir()
    began = book.record(1, claim="resp_1", usage_source="estimated", pending=True)
    report = book.record(90, claim="resp_1", usage_source="response")
    book.ledger(tmp_path / "data" / "ledger.db", [began, book.record(2), report])
    families = text_string_to_metric_families(gateway.cli("export", "openmetrics", "--since", FIRST).stdout)
    last: dict[str, float] = {}
    for sample in (one for family in families if family.name == "spendgate_cost_usd" for one in family.samples):
        last[str(sample.labels)] = sample.value
    assert round(sum(last.values()) * 10**9) == book.record(2).cost_nanousd + report.cost_nanousd


def test_names_that_callers_chose_are_escaped(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, '[providers.openai]\nkind = "openai"\n')
    (tmp_path / "data").mkdir()
    book.ledger(tmp_path / "data" / "ledger.db", [book.record(1, workflow=NASTY)])
    gateway.cli("export", "openmetrics", "--since", FIRST, "--out", str(tmp_path / "past.om"))
    found = list(text_string_to_metric_families((tmp_path / "past.om").read_text()))
    assert {sample.labels["workflow"] for family in found for sample in family.samples} == {NASTY}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian package prometheus) is not installed")
def test_promtool_makes_blocks_of_it(quarter: Gateway, tmp_path: Path) -> None:
    # two days: a block is two hours long
    quarter.cli("export", "openmetrics", "--since", "2026-10-30", "--until", LAST, "--out", str(tmp_path / "past.om"))
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "past.om", "data"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert list((tmp_path / "data").glob("*/meta.json"))
