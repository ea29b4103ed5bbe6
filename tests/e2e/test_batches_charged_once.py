"""The results of a batch, which a provider tells as often as it is asked, are charged once, and at a batch's price."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI
from reported_again import COST, EXACT, KEY, OTHER_KEY, Provider, ask, config, counted, spent
from support.gateway import Gateway
from support.upstream import Upstream


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with Upstream(Provider()) as upstream, Gateway(tmp_path, config(upstream)) as running:
        yield running


def test_the_results_of_a_batch_are_charged_when_they_are_first_read(gateway: Gateway) -> None:
    for _ in range(3):
        assert b"succeeded" in ask(gateway, "GET", "/anthropic/v1/messages/batches/msgbatch_1/results")
    assert sorted(record["cost_nanousd"] for record in gateway.records()) == [0, 0, 2_250_000]
    assert spent(gateway) == 2_250_000


@pytest.mark.parametrize("team", ["research", "ops"])
def test_each_model_of_a_batch_is_charged_at_its_own_price(gateway: Gateway, team: str) -> None:
    if team == "research":
        ask(gateway, "POST", "/anthropic/v1/messages/batches", {"requests": []})
    name = "batch_1" if team == "research" else "msgbatch_1"
    for key in (OTHER_KEY, KEY):
        ask(gateway, "GET", f"/anthropic/v1/messages/batches/{name}/results?mixed", key=key)
    charged = {one["model"]: (one["cost_nanousd"], one["team"]) for one in gateway.records() if one["cost_nanousd"]}
    assert charged == {"claude-haiku-4-5": (2 * 750_000, team), "claude-sonnet-4-5": (2_250_000, team)}
    assert spent(gateway) == counted(gateway, "all") == 2 * 750_000 + 2_250_000
    assert " 0 differences" in gateway.cli("quotas", "verify").stdout
    assert "agrees with itself" in gateway.cli("ledger", "verify").stdout


def test_a_batch_of_a_file_is_charged_to_those_who_began_it_once_it_has_ended(gateway: Gateway) -> None:
    client = OpenAI(api_key=KEY, base_url=f"{gateway.url}/openai/v1", max_retries=0)
    made = client.batches.create(input_file_id="file-1", endpoint="/v1/chat/completions", completion_window="24h")
    assert (client.batches.retrieve(made.id).status, spent(gateway)) == ("in_progress", 0)
    other = client.with_options(api_key=OTHER_KEY)
    for asking in (other, client, other):
        assert asking.batches.retrieve(made.id).status == "completed"
    (charged,) = [one for one in gateway.records() if one["usage_source"] == "response"]
    assert (charged["team"], charged["key_id"], charged["usage"]) == ("research", "once", EXACT)
    assert (charged["api"], charged["service_tier"]) == ("batches", "batch")
    assert (charged["model"], charged["model_requested"]) == ("gpt-4o-2024-08-06", "gpt-4o-2024-08-06")
    # a batch costs half
    assert charged["cost_nanousd"] == spent(gateway) == counted(gateway, "all") == COST // 2
    assert " 0 differences" in gateway.cli("quotas", "verify").stdout
    assert "agrees with itself" in gateway.cli("ledger", "verify").stdout


@pytest.mark.parametrize("key", [KEY, OTHER_KEY])
def test_results_that_break_off_are_charged_when_they_are_read_whole(gateway: Gateway, key: str) -> None:
    ask(gateway, "POST", "/anthropic/v1/messages/batches", {"requests": []})
    assert b"succeeded" in ask(gateway, "GET", "/anthropic/v1/messages/batches/batch_1/results?break", key=key)
    assert spent(gateway) == 0
    ask(gateway, "GET", "/anthropic/v1/messages/batches/batch_1/results?long", key=key)
    assert spent(gateway) == 2 * 2_250_000
    assert " 0 differences" in gateway.cli("quotas", "verify").stdout


def test_a_batch_of_small_requests_is_charged_at_the_rates_of_small_requests(tmp_path: Path) -> None:
    prices = """
[[prices]]
provider = "openai"
model = "gpt-4o*"
input_per_mtok = 1.0
output_per_mtok = 1.0
tiers = [{ above_input_tokens = 1000, input_per_mtok = 2.0, output_per_mtok = 2.0 }]
"""
    with Upstream(Provider()) as upstream, Gateway(tmp_path, config(upstream) + prices) as gateway:
        for _ in range(2):
            ask(gateway, "GET", "/openai/v1/batches/batch_7")
        assert spent(gateway) == (1500 + 900) * 1000
        # nor is it priced otherwise later
        gateway.cli("ledger", "reprice", "--since", "2020-01-01")
        assert spent(gateway) == (1500 + 900) * 1000
        rows = csv.DictReader(io.StringIO(gateway.cli("export", "focus", "--since", "2020-01-01").stdout))
        assert {row["ContractedUnitPrice"] for row in rows} == {"1.0"}


@pytest.mark.parametrize("began_here", [True, False])
def test_the_results_of_a_batch_are_charged_to_those_who_began_it(gateway: Gateway, began_here: bool) -> None:
    if began_here:
        ask(gateway, "POST", "/anthropic/v1/messages/batches", {"requests": []})
    name = "batch_1" if began_here else "msgbatch_1"
    for key in (OTHER_KEY, KEY):
        ask(gateway, "GET", f"/anthropic/v1/messages/batches/{name}/results", key=key)
    (charged,) = [one for one in gateway.records() if one["cost_nanousd"]]
    assert charged["team"] == ("research" if began_here else "ops")
    assert charged["model_requested"] == "claude-sonnet-4-5"
    assert " 0 differences" in gateway.cli("quotas", "verify").stdout
