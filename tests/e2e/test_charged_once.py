"""What a provider reports again and again of an answer made in the background is charged once."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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


def test_a_background_response_is_charged_when_its_usage_first_comes_and_never_again(gateway: Gateway) -> None:
    client = OpenAI(api_key=KEY, base_url=f"{gateway.url}/openai/v1", max_retries=0)
    made = client.responses.create(model="gpt-4o", input="What is 2 + 2?", background=True)
    while made.status in ("queued", "in_progress"):
        made = client.responses.retrieve(made.id)
    for _ in range(3):
        client.responses.retrieve(made.id)
    list(client.responses.retrieve(made.id, stream=True, starting_after=0))
    client.responses.cancel(made.id)
    records = sorted(gateway.records(), key=lambda record: record["request_id"])
    assert [record["usage_source"] for record in records] == ["estimated", "none", "response"] + ["none"] * 5
    assert records[2]["usage"] == EXACT
    assert (records[2]["method"], records[2]["cost_nanousd"], records[2]["model"]) == ("GET", COST, "gpt-4o-2024-08-06")
    assert [record["cost_nanousd"] for record in records[3:]] == [0] * 5
    estimate = gateway.get(f"/api/requests/{records[0]['request_id']}")
    assert [(one["kind"], one["delta_nanousd"]) for one in estimate["adjustments"]] == [
        ("reported", -records[0]["cost_nanousd"])
    ]
    assert spent(gateway) == COST
    assert round(gateway.value("spendgate_cost_usd_total") * 1e9) == COST
    assert "agrees with itself" in gateway.cli("ledger", "verify").stdout
    # what the report replaced is no call to be priced again
    assert "0 calls changed by 0.000000 USD" in gateway.cli("ledger", "reprice", "--since", "2020-01-01").stdout
    assert spent(gateway) == COST
    compared = json.loads(gateway.cli("prices", "diff", "--format", "json").stdout)
    assert compared["before_nanousd"] == compared["after_nanousd"] == COST


BACKGROUND = {"model": "gpt-4o", "input": "What is 2 + 2?", "background": True}


def eventually(gateway: Gateway, quota: str, bucket: str, wanted: int) -> None:
    deadline = time.monotonic() + 10
    while (found := counted(gateway, quota, bucket)) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


@pytest.mark.parametrize("workers", [1, 2])
def test_quotas_hold_a_background_response_whole_until_its_use_is_reported(tmp_path: Path, workers: int) -> None:
    with Upstream(Provider()) as upstream:
        settings = f"[server]\nworkers = {workers}\n" + config(upstream)
        with Gateway(tmp_path, settings) as first:
            made = json.loads(ask(first, "POST", "/openai/v1/responses", BACKGROUND))["id"]
            (began,) = first.records()
            held = began["reserved_nanousd"]
            assert began["cost_nanousd"] < COST < held
            eventually(first, "model", "research", held)
        settings = settings.replace("usd = 100.0", f"usd = {1.5 * held / 1e9}")
        with Gateway(tmp_path, settings) as second:
            assert counted(second, "model", "research") == held
            # there is no room for another before it is known what the first has used
            assert b"no room for this call" in ask(second, "POST", "/openai/v1/responses", BACKGROUND)
            ask(second, "GET", f"/openai/v1/responses/{made}")
            assert counted(second, "model", "research") == held
            second.kill()
        with Gateway(tmp_path, settings) as third:
            ask(third, "GET", f"/openai/v1/responses/{made}")
            eventually(third, "model", "research", COST)
            assert " 0 differences" in third.cli("quotas", "verify").stdout
            assert "agrees with itself" in third.cli("ledger", "verify").stdout
            assert b"queued" in ask(third, "POST", "/openai/v1/responses", BACKGROUND)
            eventually(third, "model", "research", COST + held)


def test_what_another_team_fetches_is_charged_to_the_team_that_began_it(gateway: Gateway) -> None:
    made = json.loads(ask(gateway, "POST", "/openai/v1/responses", BACKGROUND))["id"]
    for _ in range(2):
        ask(gateway, "GET", f"/openai/v1/responses/{made}", key=OTHER_KEY)
    # who has seen the report finds what was held for it given back
    assert counted(gateway, "model", "research") == counted(gateway, "all") == COST
    ask(gateway, "GET", f"/openai/v1/responses/{made}", key=OTHER_KEY)
    ask(gateway, "GET", f"/openai/v1/responses/{made}")
    charged = [one for one in gateway.records() if one["usage"] == EXACT]
    assert [(one["team"], one["workflow"], one["key_id"], one["model_requested"]) for one in charged] == [
        ("research", "evals", "once", "gpt-4o")
    ]
    assert [one["cost_nanousd"] for one in gateway.records(team="ops")] == [0, 0, 0]
    assert counted(gateway, "model", "research") == counted(gateway, "all") == COST
    assert counted(gateway, "model", "ops") == 0
    assert spent(gateway) == COST
    assert " 0 differences" in gateway.cli("quotas", "verify").stdout


def test_a_record_for_those_who_began_it_takes_no_quota_of_requests_past_its_limit(tmp_path: Path) -> None:
    with Upstream(Provider()) as upstream:
        settings = config(upstream).replace('name = "all"\nusd = 100.0', 'name = "all"\nrequests = 3')
        with Gateway(tmp_path, settings) as gateway:
            made = json.loads(ask(gateway, "POST", "/openai/v1/responses", BACKGROUND))["id"]
            ask(gateway, "GET", f"/openai/v1/responses/{made}", key=OTHER_KEY)
            assert b"no room" in ask(gateway, "GET", f"/openai/v1/responses/{made}", key=OTHER_KEY)
            assert len([one for one in gateway.records() if one["outcome"] == "completed"]) == 2


def test_a_background_response_that_failed_is_held_and_charged_no_more(gateway: Gateway) -> None:
    made = json.loads(ask(gateway, "POST", "/openai/v1/responses", BACKGROUND))["id"]
    for _ in range(3):
        told = ask(gateway, "GET", f"/openai/v1/responses/{made}?fail")
    assert b"it failed" in told
    assert spent(gateway) == 0
    eventually(gateway, "model", "research", 0)


def test_a_restart_charges_nothing_again(tmp_path: Path) -> None:
    with Upstream(Provider()) as upstream:
        with Gateway(tmp_path, config(upstream)) as first:
            made = json.loads(ask(first, "POST", "/openai/v1/responses", {"model": "gpt-4o", "background": True}))
            other = json.loads(ask(first, "POST", "/openai/v1/responses", {"model": "gpt-4o", "background": True}))
            for _ in range(2):
                ask(first, "GET", f"/openai/v1/responses/{made['id']}")
        with Gateway(tmp_path, config(upstream)) as second:
            for name in (made["id"], other["id"], other["id"]):
                ask(second, "GET", f"/openai/v1/responses/{name}")
            assert sum(record["usage"] == EXACT for record in second.records()) == 2
            assert spent(second) == 2 * COST


def test_many_who_fetch_at_once_are_charged_once(gateway: Gateway) -> None:
    made = json.loads(ask(gateway, "POST", "/openai/v1/responses", {"model": "gpt-4o", "background": True}))["id"]
    ask(gateway, "GET", f"/openai/v1/responses/{made}")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: ask(gateway, "GET", f"/openai/v1/responses/{made}"), range(48)))
    assert sum(record["cost_nanousd"] == COST for record in gateway.records()) == 1
    assert spent(gateway) == COST
    counted = [line for line in gateway.metrics().splitlines() if line.startswith("spendgate_tokens_total")]
    assert [line.split()[-1] for line in counted if 'type="reasoning"' in line] == ["64.0"]


def test_a_stream_that_broke_off_is_charged_by_what_its_resumption_reports(gateway: Gateway) -> None:
    asked = {"model": "gpt-4o", "background": True, "stream": True}
    ask(gateway, "POST", "/openai/v1/responses", asked)
    ask(gateway, "GET", "/openai/v1/responses/resp_0?stream=true&starting_after=1")
    first, second = sorted(gateway.records(), key=lambda record: record["request_id"])
    assert (first["usage_source"], first["outcome"]) == ("estimated", "upstream_error")
    assert (second["usage"], second["stream"]) == (EXACT, True)
    assert spent(gateway) == COST


def test_a_compatible_server_may_make_responses_in_the_background_too(tmp_path: Path) -> None:
    with Upstream(Provider()) as upstream:
        prices = '[[prices]]\nprovider = "openai-compatible"\nmodel = "gpt-4o*"\n'
        prices += "input_per_mtok = 2.5\noutput_per_mtok = 10.0\n"
        settings = config(upstream).replace('kind = "openai"', 'kind = "openai-compatible"') + prices
        with Gateway(tmp_path, settings) as gateway:
            made = json.loads(ask(gateway, "POST", "/openai/v1/responses", BACKGROUND))["id"]
            for _ in range(3):
                ask(gateway, "GET", f"/openai/v1/responses/{made}")
            (charged,) = [one for one in gateway.records() if one["usage_source"] == "response"]
            assert (charged["usage"], charged["cost_nanousd"], spent(gateway)) == (EXACT, COST, COST)


def test_fetching_what_was_answered_at_once_is_free(gateway: Gateway) -> None:
    ask(gateway, "POST", "/openai/v1/responses", {"model": "gpt-4o", "input": "Hi"})
    ask(gateway, "GET", "/openai/v1/responses/resp_fore")
    ask(gateway, "GET", "/openai/v1/responses/resp_fore/input_items")
    assert spent(gateway) == COST


def test_a_claim_that_another_process_took_meanwhile_is_not_charged_twice(tmp_path: Path) -> None:
    with Upstream(Provider()) as upstream, Gateway(tmp_path, config(upstream)) as running:
        made = json.loads(ask(running, "POST", "/openai/v1/responses", {"model": "gpt-4o", "background": True}))["id"]
        with sqlite3.connect(next(tmp_path.rglob("ledger.db"))) as other:
            other.execute("UPDATE claims SET charged = 1")
        ask(running, "GET", f"/openai/v1/responses/{made}?include=x")
        ask(running, "GET", f"/openai/v1/responses/{made}?include=x")
        assert not any(record["usage"] == EXACT for record in running.records())


@pytest.mark.parametrize("base", ["/gemini/v1beta", "/vertex/v1beta1/projects/p/locations/global"])
@pytest.mark.parametrize("background", [True, False])
def test_an_interaction_is_charged_once_however_often_it_is_fetched(
    gateway: Gateway, background: bool, base: str
) -> None:
    cost = 1500 * 300 + 900 * 2500
    asked = {"model": "gemini-2.5-flash", "input": "What is 2 + 2?", "background": background}
    made = json.loads(ask(gateway, "POST", f"{base}/interactions", asked))
    for _ in range(4):
        told = json.loads(ask(gateway, "GET", f"{base}/interactions/{made['id']}"))
    assert told["status"] == "completed"
    charged = [one for one in gateway.records() if one["usage_source"] == "response"]
    assert [(one["usage"], one["cost_nanousd"]) for one in charged] == [(EXACT, cost)]
    assert spent(gateway) == cost
    assert "agrees with itself" in gateway.cli("ledger", "verify").stdout
