"""Prices at a running gateway: models without one, a newer catalogue, what a provider reports."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, answer

from pricing.catalogue import load

NEW = "brand-new-model"
CONFIG = """
[providers.openai]
kind = "openai"
base_url = "{url}"
api_key = "sk-real"

[providers.strict]
kind = "openai"
base_url = "{url}"
api_key = "sk-real"
unpriced_models = "block"

[providers.lent]
kind = "openai"
base_url = "{url}"
api_key = "sk-real"
unpriced_models = {{ price_as = "gpt-4o" }}

[providers.residency]
kind = "openai"
base_url = "{url}"
api_key = "sk-real"

[providers.openrouter]
kind = "openrouter"
base_url = "{url}"
api_key = "sk-real"

[providers.trusted]
kind = "openrouter"
base_url = "{url}"
api_key = "sk-real"
price_as = "reported"

[providers.perplexity]
kind = "perplexity"
base_url = "{url}"
api_key = "sk-real"

[[prices]]
provider = "residency"
model = "gpt-*"
discount_percent = -10

[[prices]]
provider = "openai"
model = "gpt-4o"
input_per_mtok = 1.0

[[keys]]
id = "k"
secret = "sk-test-prices"
team = "t"
workflow = "w"
"""


def play(seen: Seen) -> Iterable[Step]:
    usage: dict[str, Any] = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    asked = json.loads(seen.body)["model"]
    if asked.startswith("openai/"):
        usage["cost"] = 0.00123
    if asked == "sonar":
        usage |= {"search_context_size": "low", "cost": {"total_cost": 0.0061}}
    yield answer(json.dumps({"model": asked, "choices": [], "usage": usage}).encode())


def call(gateway: Gateway, provider: str, model: str) -> tuple[int, Any]:
    body = json.dumps({"model": model, "max_tokens": 200, "messages": [{"role": "user", "content": "hi"}]}).encode()
    headers = {"Authorization": "Bearer sk-test-prices", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{gateway.url}/{provider}/v1/chat/completions", data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as found:
            return found.status, found.headers["x-spendgate-request-id"]
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with (
        Upstream(play) as upstream,
        Gateway(tmp_path_factory.mktemp("prices"), CONFIG.format(url=upstream.url)) as running,
    ):
        yield running


def record(gateway: Gateway, provider: str, model: str) -> dict[str, Any]:
    status, request_id = call(gateway, provider, model)
    assert status == 200
    found: dict[str, Any] = gateway.get(f"/api/requests/{request_id}")
    return found


def test_a_model_without_a_price_is_counted_flagged_and_listed(gateway: Gateway) -> None:
    found = record(gateway, "openai", "unheard-of")
    assert (found["priced"], found["cost_nanousd"], found["cost_lines"], found["price"]) == (False, 0, [], "")
    assert found["usage"] == {"input_tokens_total": 1000, "output_tokens_total": 100}
    metric = 'spendgate_unpriced_requests_total{model="unheard-of",provider="openai"} 1.0'
    assert metric in gateway.metrics()
    (row,) = [row for row in json.loads(gateway.cli("price", "--missing", "--format", "json").stdout)
              if row["model"] == "unheard-of"]  # fmt: skip
    assert (row["provider"], row["calls"], row["input_tokens"], row["priced_now"]) == ("openai", 1, 1000, False)
    assert "unheard-of" in gateway.cli("price", "--missing").stdout
    assert "calls have no known price" in gateway.cli("report").stdout


def test_a_provider_that_blocks_models_without_a_price_is_not_asked(gateway: Gateway) -> None:
    status, said = call(gateway, "strict", "unheard-of")
    assert status == 403
    assert said["error"]["code"] == "model_unpriced"
    assert call(gateway, "strict", "gpt-4o-mini")[0] == 200
    refused = gateway.records(model="unheard-of")[0]
    assert (refused["outcome"], refused["cost_nanousd"]) == ("rejected", 0)


def test_a_model_without_a_price_is_charged_as_the_named_one(gateway: Gateway) -> None:
    lent, own = record(gateway, "lent", "unheard-of"), record(gateway, "lent", "gpt-4o")
    assert lent["priced"]
    assert lent["cost_nanousd"] == own["cost_nanousd"] > 0
    assert lent["price"] == own["price"]
    assert record(gateway, "lent", "gpt-4o-mini")["cost_nanousd"] < own["cost_nanousd"]


def test_prices_that_name_one_provider_hold_for_it_alone_on_top_of_its_list(gateway: Gateway) -> None:
    plain, dearer = record(gateway, "openai", "gpt-4o"), record(gateway, "residency", "gpt-4o")
    assert plain["cost_nanousd"] == 1000 * 1000 + 100 * 10_000
    assert dearer["cost_nanousd"] * 10 == plain["cost_nanousd"] * 11
    assert "config prices[0]" in dearer["price"]
    assert "prices[0]" not in plain["price"]


def test_what_openrouter_reports_stands_beside_the_computed_cost(gateway: Gateway) -> None:
    computed = record(gateway, "openrouter", "openai/gpt-4o-mini")
    assert computed["reported_cost_nanousd"] == 1_230_000
    assert computed["cost_nanousd"] == 1000 * 150 + 100 * 600
    taken = record(gateway, "trusted", "openai/gpt-4o-mini")
    assert taken["cost_nanousd"] == taken["reported_cost_nanousd"] == 1_230_000
    assert taken["cost_lines"] == [{"item": "reported", "quantity": 1, "unit": "request", "nanousd": 1_230_000}]


def test_perplexitys_fee_is_that_of_the_search_which_the_answer_names(gateway: Gateway) -> None:
    found = record(gateway, "perplexity", "sonar")
    assert found["cost_nanousd"] == found["reported_cost_nanousd"] == 6_100_000
    assert {one["item"]: one["nanousd"] for one in found["cost_lines"]} == {
        "input": 1_000_000, "output": 100_000, "request": 5_000_000,
    }  # fmt: skip
    assert (found["service_tier"], found["price"]) == (
        "search_low", f"catalogue {load().version} perplexity/sonar search_low",
    )  # fmt: skip


def newer(edit: Callable[[dict[str, Any]], None]) -> bytes:
    """The package's catalogue with a change."""
    from importlib import resources

    whole = json.loads(resources.files("pricing.data").joinpath("catalogue.json").read_bytes())
    whole["source"]["version"] = "9.9.9"
    edit(whole)
    return json.dumps(whole).encode()


def add_model(whole: dict[str, Any]) -> None:
    openai = next(one for one in whole["providers"] if one["id"] == "openai")
    prices = {"input_mtok": 5, "output_mtok": 7}
    openai["models"].append({"id": NEW, "match": {"equals": NEW}, "prices": prices})
    mini = next(one for one in openai["models"] if one["id"] == "gpt-4o-mini")
    mini["prices"]["input_mtok"] = 0.3


def test_a_newer_catalogue_is_compared_in_dollars_taken_and_applied_to_the_past(
    gateway: Gateway, tmp_path: Path
) -> None:
    missing = record(gateway, "openai", NEW)
    cheap = record(gateway, "openai", "gpt-4o-mini")
    assert not missing["priced"]
    file = tmp_path / "newer.json"
    file.write_bytes(newer(add_model))

    compared = json.loads(gateway.cli("prices", "diff", "--from", str(file), "--format", "json").stdout)
    changes = {(one["provider"], one["model"]): one for one in compared["changes"]}
    gained = changes["openai", NEW]
    assert (gained["unpriced_before"], gained["unpriced_after"]) == (1, 0)
    assert gained["after_nanousd"] - gained["before_nanousd"] == 1000 * 5000 + 100 * 7000
    dearer = changes["openai", "gpt-4o-mini"]
    assert dearer["after_nanousd"] - dearer["before_nanousd"] == dearer["calls"] * 1000 * 150
    said = gateway.cli("prices", "diff", "--from", str(file)).stdout
    assert f"openai/{NEW}: 1 calls, $0 -> $0.0057 (+$0.0057)" in said
    assert NEW in gateway.cli("prices", "diff", "--from", str(file), "--models").stdout

    dry = gateway.cli("prices", "update", "--from", str(file), "--dry-run").stdout
    assert "nothing was kept" in dry
    assert not (gateway.directory / "data" / "catalogue.json").exists()
    taken = gateway.cli("prices", "update", "--from", str(file)).stdout
    assert f"added    openai/{NEW}" in taken
    assert "9.9.9" in taken
    assert not record(gateway, "openai", NEW)["priced"]
    gateway.reload()
    deadline = time.monotonic() + 20
    while not (priced := record(gateway, "openai", NEW))["priced"]:
        assert time.monotonic() < deadline
    assert priced["cost_nanousd"] == 1000 * 5000 + 100 * 7000
    assert "9.9.9" in priced["price"]
    assert "9.9.9" in gateway.cli("price", NEW, "--input", "1").stdout

    row = next(one for one in json.loads(gateway.cli("price", "--missing", "--format", "json").stdout)
               if one["model"] == NEW)  # fmt: skip
    assert row["priced_now"]
    assert "nothing was written" in gateway.cli("ledger", "reprice", "--since", "2020-01-01", "--dry-run").stdout
    gateway.cli("ledger", "reprice", "--since", "2020-01-01", "--why", "a newer catalogue")
    report = json.loads(gateway.cli("report", "--by", "model", "--where", f"model={NEW}", "--format", "json").stdout)
    assert report[0]["cost_nanousd"] == report[0]["requests"] * 5_700_000
    assert gateway.get(f"/api/requests/{missing['request_id']}")["cost_nanousd"] == 0
    assert gateway.get(f"/api/requests/{cheap['request_id']}")["cost_nanousd"] == cheap["cost_nanousd"]
    assert "0 calls would change" in gateway.cli("ledger", "reprice", "--since", "2020-01-01", "--dry-run").stdout
    gateway.cli("ledger", "verify")

    # a damaged file is refused, and the gateway goes on with what it has
    bad = tmp_path / "bad.json"
    bad.write_bytes(file.read_bytes()[:-100])
    refused = gateway.cli("prices", "update", "--from", str(bad), check=False)
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    (gateway.directory / "data" / "catalogue.json").write_text("{}")
    gateway.reload()
    while "is no price catalogue" not in gateway.log():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert record(gateway, "openai", NEW)["priced"]
    assert "is no price catalogue" in gateway.cli("price", NEW, check=False).stderr
    (gateway.directory / "data" / "catalogue.json").unlink()


def test_a_catalogue_can_be_fetched_and_the_packages_own_changes_nothing(gateway: Gateway) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(newer(lambda whole: None))

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/data.json"
        assert "0 models differ; nothing was kept" in gateway.cli("prices", "update", "--from", url, "--dry-run").stdout
    finally:
        server.shutdown()
    assert "(+$0)" in gateway.cli("prices", "diff").stdout
    assert load().version in gateway.cli("prices", "diff").stdout
