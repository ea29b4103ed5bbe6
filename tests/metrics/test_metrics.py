"""What a scrape of a running gateway holds, in both formats, and that it agrees with the ledger."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from support.gateway import Gateway

from gateway.metrics.describe import document
from gateway.metrics.families import FAMILIES

ROOT = Path(__file__).parents[2]
KEY = "sk-metrics-test-key"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PROMISED = {
    "spendgate_requests_total": ("counter", "team workflow provider model outcome"),
    "spendgate_tokens_total": ("counter", "team workflow provider model type"),
    "spendgate_cost_usd_total": ("counter", "team workflow provider model"),
    "spendgate_request_duration_seconds": ("histogram", "provider model"),
    "spendgate_time_to_first_token_seconds": ("histogram", "provider model"),
    "spendgate_gateway_overhead_seconds": ("histogram", ""),
    "spendgate_inflight_requests": ("gauge", "provider"),
    "spendgate_quota_limit": ("gauge", "quota bucket unit"),
    "spendgate_quota_used": ("gauge", "quota bucket unit"),
    "spendgate_quota_reserved": ("gauge", "quota bucket unit"),
    "spendgate_quota_refusals_total": ("counter", "quota reason"),
    "spendgate_usage_estimated_total": ("counter", "provider model"),
    "spendgate_unpriced_requests_total": ("counter", "provider model"),
    "spendgate_ledger_commit_seconds": ("histogram", ""),
    "spendgate_ledger_queue_length": ("gauge", ""),
    "spendgate_ledger_open_requests": ("gauge", ""),
}
"""What users' dashboards rely on: never changed, only added to."""
CONFIG = f"""
[metrics]
max_series = 6

[providers.simulated]
kind = "simulated"
first_token_seconds = 0.0
token_seconds = 0.0

[[prices]]
provider = "simulated"
model = "*"
input_per_mtok = 2.5
output_per_mtok = 10.0

[[keys]]
id = "k"
secret = "{KEY}"
team = "search"
workflow = "ranking"

[[keys]]
id = "poor"
secret = "sk-metrics-poor-key"
team = "poor"
workflow = "none"

[[quotas]]
name = "poor-total"
match = {{ team = "poor" }}
usd = 0.0
window = "total"

[[quotas]]
name = "by-workflow"
match = {{ team = "search" }}
per = ["workflow"]
requests = 1000
window = "day"
"""


def call(gateway: Gateway, key: str = KEY, path: str = "/simulated/v1/chat/completions", **headers: str) -> int:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}
    request = urllib.request.Request(gateway.url + path, data=json.dumps(body).encode())
    for name, value in {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **headers}.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def scrape(gateway: Gateway, accept: str) -> tuple[str, str]:
    request = urllib.request.Request(gateway.admin + "/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("metrics"), CONFIG) as running:
        for number in range(12):
            assert call(running, x_spendgate_workflow=f"flow-{number}") == 200
        assert call(running, traceparent=f"00-{TRACE}-00f067aa0ba902b7-01") == 200
        assert call(running, key="sk-metrics-poor-key") == 429
        assert call(running, key="sk-unknown-key-of-nobody") == 401
        yield running


def test_all_that_was_promised_is_there_with_its_type_and_labels(gateway: Gateway) -> None:
    families = {family.name: family for family in parse_text(gateway.metrics())}
    for name, (kind, labels) in PROMISED.items():
        family = families[name.removesuffix("_total")]
        assert family.type == kind, name
        told = next(f for f in FAMILIES if f.shown == name)
        assert set(told.labels) == set(labels.split()), name
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(labels.split()), name
    without_samples = [name for name in PROMISED if not families[name.removesuffix("_total")].samples]
    assert not without_samples


def test_every_metric_is_declared_and_every_declared_one_is_served(gateway: Gateway) -> None:
    served = {family.name for family in parse_text(gateway.metrics()) if family.name.startswith("spendgate_")}
    assert served == {family.name for family in FAMILIES}
    assert "process_cpu_seconds_total" in gateway.metrics()
    assert "python_gc_collections_total" in gateway.metrics()


def test_openmetrics_is_valid_and_names_the_trace_of_a_call(gateway: Gateway) -> None:
    kind, text = scrape(gateway, "application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert text.count("# EOF") == 1
    families = {family.name: family for family in parse_openmetrics(text)}
    assert families["spendgate_cost_usd"].unit == "usd"
    for name in ("spendgate_request_duration_seconds", "spendgate_time_to_first_token_seconds"):
        examples = [sample.exemplar for sample in families[name].samples if sample.exemplar]
        assert [example.labels for example in examples] == [{"trace_id": TRACE}], name
    assert next(r for r in gateway.records() if r["trace_id"])["trace_id"] == TRACE


def test_plain_text_has_no_exemplars(gateway: Gateway) -> None:
    assert TRACE not in gateway.metrics()


def test_a_compressed_scrape_is_the_same_scrape(gateway: Gateway) -> None:
    request = urllib.request.Request(gateway.admin + "/metrics", headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        families = parse_text(gzip.decompress(answer.read()).decode())
    assert {family.name for family in families} >= {family.name for family in FAMILIES}


def test_many_scrapes_at_once_are_whole_and_each_of_its_kind(gateway: Gateway) -> None:
    accepted = ["application/openmetrics-text; version=1.0.0", ""] * 20
    with ThreadPoolExecutor(len(accepted)) as pool:
        answers = list(pool.map(lambda accept: scrape(gateway, accept), accepted))
    for accept, (kind, text) in zip(accepted, answers, strict=True):
        assert kind.startswith("application/openmetrics-text") == bool(accept)
        assert text.endswith("# EOF\n") == bool(accept)
        assert all(family.name in text for family in FAMILIES)


def test_metrics_and_ledger_tell_the_same_cost(gateway: Gateway) -> None:
    families = {family.name: family for family in parse_text(gateway.metrics())}
    cost = sum(sample.value for sample in families["spendgate_cost_usd"].samples)
    booked = sum(record["cost_nanousd"] for record in gateway.records())
    assert round(cost * 1e9) == booked > 0


def test_values_of_callers_past_the_bound_count_under_other(gateway: Gateway) -> None:
    families = {family.name: family for family in parse_text(gateway.metrics())}
    flows = [(s.labels["workflow"], s.value) for s in families["spendgate_requests"].samples]
    assert len(flows) <= 6 + 3
    assert sum(value for flow, value in flows if flow == "other") == 9
    assert sum(s.value for s in families["spendgate_requests"].samples) == 15
    buckets = [s for s in families["spendgate_quota_used"].samples if s.labels["quota"] == "by-workflow"]
    assert len(buckets) <= 7
    assert sum(s.value for s in buckets) == 13


def test_refusals_are_counted_by_quota_and_others_by_reason(gateway: Gateway) -> None:
    families = {family.name: family for family in parse_text(gateway.metrics())}
    (by_quota,) = families["spendgate_quota_refusals"].samples
    assert by_quota.labels["quota"] == "poor-total"
    (other,) = families["spendgate_refusals"].samples
    assert (other.labels, other.value) == ({"reason": "invalid_api_key"}, 1)


def test_the_page_about_metrics_is_what_the_code_says() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text() == document(), (
        "python -m gateway.metrics.describe > docs/metrics.md"
    )


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian package prometheus) is not installed")
def test_promtool_finds_nothing_to_improve(gateway: Gateway) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=gateway.metrics(), capture_output=True, text=True, timeout=30
    )
    told = [line for line in (done.stdout + done.stderr).splitlines() if "spendgate_" in line]
    assert not told
