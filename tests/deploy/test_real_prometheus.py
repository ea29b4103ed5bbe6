"""A real Prometheus scrapes a gateway under load, over mutual TLS; every query of every panel and rule is asked through
its API."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from support.gateway import Gateway, free_port
from support.upstream import Upstream
from test_monitoring_files import DEPLOY, panels, rules

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus (Debian package prometheus) is not installed"
)
KEYS = {"search": "sk-prometheus-search", "poor": "sk-prometheus-poor"}
ANSWER = {
    "id": "x",
    "object": "chat.completion",
    "model": "gpt-4o",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
}
EMPTY = {
    "team:spendgate_cost_usd:same_hour_of_past_weeks": "needs data of a week ago",
    "spendgate_reservation_exceeded_total": "a bound that does not hold; there must be none",
    "spendgate_webhook_deliveries_total": "needs a webhook",
}
"""Parts of queries that may answer nothing here, and why. Alerts that do not fire answer nothing either."""
CONFIG = """
[server]
workers = {workers}
[server.tls]
cert = "gateway.pem"
key = "gateway.pem"
[server.admin_tls]
cert = "gateway.pem"
key = "gateway.pem"
client_ca = "authority.pem"
[providers.simulated]
kind = "simulated"
first_token_seconds = 0.01
token_seconds = 0.0
[providers.flaky]
kind = "openai"
base_url = "{flaky}"
api_key = "sk-real-flaky"
[[prices]]
provider = "simulated"
model = "*"
input_per_mtok = 2.5
output_per_mtok = 10.0
[[keys]]
id = "search"
secret = "sk-prometheus-search"
team = "search"
workflow = "ranking"
[[keys]]
id = "poor"
secret = "sk-prometheus-poor"
team = "poor"
workflow = "none"
[[quotas]]
name = "poor-total"
match = {{ team = "poor" }}
usd = 0.0
window = "total"
[[quotas]]
name = "search-month"
match = {{ team = "search" }}
usd = 50.0
window = "month"
"""


def flaky(seen: Any) -> Iterator[bytes | float | str]:
    """An unpriced model, a failure, a broken connection; by turns."""
    body = json.dumps({**ANSWER, "model": "nobody-knows-it"}).encode()
    if b'"model": "broken"' in seen.body:
        yield "reset"
    elif b'"model": "failing"' in seen.body:
        yield b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n{}"
    else:
        yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def call(gateway: Gateway, provider: str, model: str, key: str) -> int:
    """One call; answers its status."""
    connection = http.client.HTTPSConnection("127.0.0.1", gateway.port, timeout=20, context=gateway.trust)
    body = json.dumps({"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]})
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request("POST", f"/{provider}/v1/chat/completions", body, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


class Prometheus:
    """A Prometheus of its own, with the rules of ``deploy`` and everything a second apart."""

    def __init__(self, folder: Path, target: int) -> None:
        self.port = free_port()
        for path in (DEPLOY / "prometheus").glob("*.rules.yml"):
            text = re.sub(r"interval: (30s|1m)", "interval: 1s", path.read_text())
            (folder / path.name).write_text(text)
        config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s", "scrape_timeout": "1s"}
        (job,) = config["scrape_configs"]
        job.pop("scrape_timeout")
        files = {"ca_file": "authority.pem", "cert_file": "prometheus.pem", "key_file": "prometheus.pem"}
        job |= {"scheme": "https", "tls_config": {key: str(folder / name) for key, name in files.items()}}
        job["static_configs"] = [{"targets": [f"127.0.0.1:{target}"]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.log = folder / "prometheus.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--enable-feature=exemplar-storage",
                ],
                stdout=log,
                stderr=log,
                cwd=folder,
            )

    def ask(self, path: str, **query: str) -> Any:
        url = f"http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:
                raise ConnectionError("it has not started yet") from error
            raise AssertionError(f"{query}: {error.read().decode()}") from error

    def query(self, expression: str) -> list[Any]:
        found: list[Any] = self.ask("/api/v1/query", query=expression)["result"]
        return found

    def until(self, expression: str, seconds: float = 20) -> None:
        """Wait until the expression answers something."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if self.query(expression):
                    return
            except OSError:
                assert self.process.poll() is None, self.log.read_text()[-2000:]
            time.sleep(0.3)
        raise AssertionError(f"no answer to {expression}: {self.log.read_text()[-1000:]}")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


def certified(gateway: Path, prometheus: Path) -> ssl.SSLContext:
    """Certificates for both; the context of a client that has one too."""
    authority, context = trustme.CA(), ssl.create_default_context()
    for folder, name in ((gateway, "gateway"), (prometheus, "prometheus")):
        authority.cert_pem.write_to_path(folder / "authority.pem")
        issued = authority.issue_cert("127.0.0.1")
        issued.private_key_and_cert_chain_pem.write_to_path(folder / f"{name}.pem")
    authority.configure_trust(context)
    authority.issue_cert("operator.test").configure_cert(context)
    return context


@pytest.fixture(scope="module", params=[1, 2], ids=["one-worker", "two-workers"])
def prometheus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    with Upstream(flaky) as upstream:
        own = tmp_path_factory.mktemp("gateway")
        trust = certified(own, folder)
        with Gateway(own, CONFIG.format(flaky=upstream.url, workers=request.param), trust=trust) as gateway:
            running = Prometheus(folder, gateway.admin_port)
            stop = threading.Event()

            def load() -> None:
                while not stop.is_set():
                    for provider, model, team in (
                        ("simulated", "gpt-4o", "search"),
                        ("simulated", "claude", "search"),
                        ("flaky", "nobody-knows-it", "search"),
                        ("flaky", "failing", "search"),
                        ("flaky", "broken", "search"),
                        ("simulated", "gpt-4o", "poor"),
                        ("nobody", "gpt-4o", "search"),
                    ):
                        call(gateway, provider, model, KEYS[team])
                    stop.wait(0.05)

            thread = threading.Thread(target=load)
            thread.start()
            try:
                running.until("count_over_time(spendgate_cost_usd_total[20s]) > 4")
                running.until("quota_bucket:spendgate_quota:seconds_to_exhaustion")
                running.until("team:spendgate_cost_usd:increase1h > 0")
                running.until('rate(process_cpu_seconds_total{job="spendgate"}[5s]) > 0')
                yield running
            finally:
                stop.set()
                thread.join()
                running.stop()


def filled(expression: str) -> str:
    """A panel's query as Grafana would send it."""
    for name, value in (("$__rate_interval", "10s"), ("$__range", "1m")):
        expression = expression.replace(name, value)
    return re.sub(r"\$(team|workflow|provider|model)\b", ".*", expression)


def reason(expression: str) -> str:
    return next((why for part, why in EMPTY.items() if part in expression), "")


PANELS = [(f"{board}: {panel['title']}", target["expr"]) for board, panel in panels() for target in panel["targets"]]


@pytest.mark.parametrize(("name", "expression"), PANELS, ids=[name for name, _ in PANELS])
def test_each_query_of_each_panel_returns_data(prometheus: Prometheus, name: str, expression: str) -> None:
    values = [one["value"][1] for one in prometheus.query(filled(expression))]
    assert any(value != "NaN" for value in values) or reason(expression)


@pytest.mark.parametrize(
    "metric",
    ["spendgate_unpriced_requests_total", "spendgate_usage_estimated_total", "spendgate_quota_refusals_total"],
)
def test_a_figure_of_what_never_happened_is_zero(prometheus: Prometheus, metric: str) -> None:
    (asked,) = (
        target["expr"]
        for _, panel in panels()
        for target in panel["targets"]
        if panel["type"] == "stat" and metric in target["expr"]
    )
    (answer,) = prometheus.query(filled(asked).replace(metric, f"{metric}_of_nobody"))
    assert answer["value"][1] == "0"


def test_each_recording_rule_records(prometheus: Prometheus) -> None:
    for rule in rules():
        if "record" in rule:
            assert prometheus.query(rule["record"]) or reason(rule["record"]), rule["record"]


def test_each_alert_is_evaluated_and_what_it_asks_of_exists(prometheus: Prometheus) -> None:
    groups = prometheus.ask("/api/v1/rules")["groups"]
    states = {rule["name"]: rule for group in groups for rule in group["rules"]}
    for rule in rules():
        name = rule.get("alert") or rule["record"]
        assert states[name]["health"] == "ok", states[name]
    raised = {alert["labels"]["alertname"] for alert in prometheus.ask("/api/v1/alerts")["alerts"]}
    assert {"SpendgateUnpricedTraffic", "SpendgateProviderErrorsFast", "SpendgateBudgetExhausted"} <= raised
    assert not raised & {"SpendgateDown", "SpendgateLedgerDown", "SpendgateReservationExceeded"}
    selectors = {
        selector
        for rule in rules()
        if "alert" in rule
        for selector in re.findall(r"(?<![\w:])[a-z_:]*spendgate_[a-z0-9_:]+", rule["expr"])
    }
    for selector in selectors:
        assert prometheus.query(selector) or reason(selector), selector


def test_variables_of_the_dashboards_have_values(prometheus: Prometheus) -> None:
    for label in ("team", "workflow", "provider", "model"):
        values = prometheus.ask(f"/api/v1/label/{label}/values", **{"match[]": "spendgate_requests_total"})
        assert [value for value in values if value], label


def test_the_scrape_is_taken_as_openmetrics(prometheus: Prometheus) -> None:
    (target,) = prometheus.ask("/api/v1/targets")["activeTargets"]
    assert target["health"] == "up", target["lastError"]
    assert prometheus.ask("/api/v1/metadata", metric="spendgate_cost_usd_total") or prometheus.ask(
        "/api/v1/metadata", metric="spendgate_cost_usd"
    )
