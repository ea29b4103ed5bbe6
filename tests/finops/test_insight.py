"""``spendgate insight`` over a ledger whose past is known."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from pathlib import Path

import book
import pytest
from support.gateway import Gateway

from gateway.ledger.ids import first_id_at
from gateway.wire.usage import Usage

DAY = 86_400 * 10**9
PROMPTS = """
[providers.simulated]
kind = "simulated"
first_token_seconds = 0.0
token_seconds = 0.0

[[prices]]
provider = "simulated"
model = "*"
input_per_mtok = 250.0
output_per_mtok = 1000.0

[[keys]]
id = "one"
secret = "sk-one-12345678"
team = "search"
workflow = "ranking"
"""


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    """Six weeks of a dollar a day; yesterday the bot made three times the calls; the day before, none was received."""
    gateway = Gateway(tmp_path_factory.mktemp("insight"), '[providers.openai]\nkind = "openai"\n')
    (gateway.directory / "data").mkdir()
    today = time.time_ns() // DAY * DAY
    records = []
    for back in range(42, 0, -1):
        for workflow in ("bot", "triage"):
            for number in range(30 if back == 1 and workflow == "bot" else 10):
                when = today - back * DAY + (1 + number) * 60 * 10**9
                lost = back == 2 and workflow == "triage"
                records.append(
                    book.record(
                        len(records), request_id=first_id_at(when) + f"{len(records):016d}", started_ns=when,
                        ended_ns=when + 10**9, team="support", workflow=workflow, model="gpt-4o",
                        outcome="client_disconnected" if lost else "completed", usage_source="response",
                        usage=Usage(input_tokens_total=4000, output_tokens_total=500, cache_read_tokens=100),
                        cost_nanousd=10**8, cost_lines=(),
                    )
                )  # fmt: skip
    book.ledger(gateway.directory / "data" / "ledger.db", records)
    return gateway


def test_an_unusual_day_is_found_with_drivers_that_sum_to_the_change(office: Gateway) -> None:
    (found,) = json.loads(office.cli("insight", "anomalies", "--format", "json").stdout)
    assert (found["team"], found["workflow"]) == ("support", "bot")
    assert (found["cost_nanousd"], found["usual_nanousd"]) == (3 * 10**9, 10**9)
    drivers = found["drivers"]
    assert drivers["volume"] == drivers["change"] == 2 * 10**9
    assert sum(drivers[name] for name in ("volume", "mix", "tokens_per_call", "price")) == drivers["change"]
    assert office.cli("insight", "anomalies", "--where", "workflow=triage").stdout == "No day was unusual.\n"
    row = office.cli("insight", "anomalies").stdout.splitlines()[2].split()
    assert row[1:6] == ["support", "bot", "1.00", "3.00", "+2.00"]


def test_a_forecast_by_group_ends_with_the_whole(office: Gateway) -> None:
    found = json.loads(office.cli("insight", "forecast", "--by", "workflow", "--format", "json").stdout)
    assert {one["group"].get("workflow") for one in found} == {"bot", "triage", None}
    whole = next(one for one in found if not one["group"])
    assert whole["low"] <= whole["expected"] <= whole["high"]
    assert whole["so_far"] == sum(one["so_far"] for one in found if one["group"])
    said = office.cli("insight", "forecast", "--by", "workflow").stdout.splitlines()
    assert said[-1].startswith("total")


def test_a_credit_larger_than_the_calls_is_not_expected_again(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, '[providers.openai]\nkind = "openai"\n')
    (tmp_path / "data").mkdir()
    yesterday_ns = time.time_ns() // DAY * DAY - DAY
    (tmp_path / "credit.csv").write_text(
        f"day,usd\n{time.strftime('%Y-%m-%d', time.gmtime(yesterday_ns // 10**9))},-3\n"
    )
    book.ledger(tmp_path / "data" / "ledger.db", [book.record(0, started_ns=yesterday_ns + DAY // 2)])
    gateway.cli("reconcile", str(tmp_path / "credit.csv"), "--provider", "openai", "--book")
    (found,) = json.loads(gateway.cli("insight", "forecast", "--format", "json").stdout)
    assert found["so_far"] <= found["low"] <= found["expected"] <= found["high"]


def test_waste_names_dollars_a_month_and_a_request_behind_it(office: Gateway) -> None:
    found = json.loads(office.cli("insight", "waste", "--format", "json").stdout)
    (lost,) = [one for one in found if one["kind"] == "unreceived"]
    assert (lost["workflow"], lost["calls"], lost["nanousd"]) == ("triage", 10, 10**9)
    assert lost["nanousd_a_month"] == round(10**9 * 30 / 7)
    record = next(one for one in json.loads(f"[{','.join(exported(office))}]")
                  if one["request_id"] == lost["examples"][0])  # fmt: skip
    assert record["outcome"] == "client_disconnected"
    assert "unreceived" in office.cli("insight", "waste").stdout


def test_a_prompt_sent_twice_is_found_by_every_way(tmp_path: Path) -> None:
    with Gateway(tmp_path, PROMPTS) as gateway:
        for prompt in ("one", "two", "one", "one"):
            body = json.dumps({"model": "dear", "messages": [{"role": "user", "content": prompt}]}).encode()
            headers = {"Authorization": "Bearer sk-one-12345678", "Content-Type": "application/json"}
            request = urllib.request.Request(gateway.url + "/simulated/v1/chat/completions", body, headers)
            urllib.request.urlopen(request, timeout=20).close()
        last, third, _, first = gateway.records()
        (found,) = [one for one in gateway.get("/api/waste")["findings"] if one["kind"] == "retries"]
        (said,) = [one for one in json.loads(gateway.cli("insight", "waste", "--format", "json").stdout)
                   if one["kind"] == "retries"]  # fmt: skip
        assert found["calls"] == said["calls"] == 2
        assert found["nanousd"] == said["nanousd"] == first["cost_nanousd"] + third["cost_nanousd"]
        pairs = [[first["request_id"], third["request_id"]], [third["request_id"], last["request_id"]]]
        assert found["examples"] in pairs
        assert re.search(r"retries +search +ranking +dear +2 +≤ ", gateway.cli("insight", "waste").stdout)


def exported(gateway: Gateway) -> list[str]:
    return gateway.cli("ledger", "export").stdout.splitlines()


def test_all_three_at_once_and_the_api_says_the_same(office: Gateway) -> None:
    found = json.loads(office.cli("insight", "--format", "json").stdout)
    assert len(found["anomalies"]) == 1
    said = office.cli("insight").stdout
    assert [line for line in said.splitlines() if line.isupper() or line.startswith(("UNUSUAL", "WASTE"))] == [
        "THIS MONTH", "UNUSUAL DAYS (last 7)", "WASTE (last 7 days)",
    ]  # fmt: skip
    with office:
        assert office.get("/api/anomalies?days=7")["anomalies"] == found["anomalies"]
        asked = office.get("/api/waste")["findings"]
    assert [(one["kind"], one["nanousd"]) for one in asked] == [(one["kind"], one["nanousd"]) for one in found["waste"]]


def test_an_empty_ledger_says_so(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, '[providers.openai]\nkind = "openai"\n')
    said = gateway.cli("insight").stdout
    assert "No day was unusual." in said
    assert "Nothing was found." in said


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("anomalies", "--days", "0"), "--days is between 1 and 90"),
        (("forecast", "--by", "day"), "groups that are no times"),
        (("forecast", "--by", "colour"), 'no report by "colour"'),
        (("waste", "--since", "2026-11-02", "--until", "2026-11-01"), "--until must be after --since"),
    ],
)
def test_what_can_not_be_asked_is_told(office: Gateway, words: tuple[str, ...], why: str) -> None:
    done = office.cli("insight", *words, check=False)
    assert done.returncode == 1
    assert why in done.stderr
    assert done.stderr.count("\n") == 1
