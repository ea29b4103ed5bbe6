"""What a provider reports again and again (answers in the background, results of a batch) is charged once."""

from __future__ import annotations

import csv
import http.client
import io
import json
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from support.gateway import Gateway
from support.upstream import CLOSE, LAST_CHUNK, Seen, Step, Upstream, answer, chunk, chunked_head
from usages import SSE, sse

KEY = "sk-test-once"
OTHER_KEY = "sk-test-once-other"
USAGE = {"input_tokens": 1500, "output_tokens": 900, "output_tokens_details": {"reasoning_tokens": 64}}
EXACT = {"input_tokens_total": 1500, "output_tokens_total": 900, "reasoning_tokens": 64}
COST = 1500 * 2500 + 900 * 10_000
"""GPT-4o: 2.5 and 10 dollars a million tokens, in nanodollars."""


def response(name: str, status: str, *, background: bool = True) -> dict[str, Any]:
    if status == "failed":
        return {"id": name, "object": "response", "background": True, "status": status, "model": "gpt-4o-2024-08-06",
                "output": [], "usage": None, "error": {"code": "server_error", "message": "it failed"}}  # fmt: skip
    usage = USAGE if status == "completed" else None
    said = [{"type": "message", "content": [{"type": "output_text", "text": "2 + 2 = 4"}]}] if usage else []
    return {"id": name, "object": "response", "background": background, "status": status, "model": "gpt-4o-2024-08-06",
            "output": said, "usage": usage, "error": None}  # fmt: skip


class Provider:
    """Makes responses that are done after two looks, and one batch."""

    def __init__(self) -> None:
        self.looks: dict[str, int] = {}

    def __call__(self, seen: Seen) -> Iterator[Step]:
        path = seen.target.partition("?")[0]
        name = path.split("/")[3] if path.count("/") > 2 else ""
        if "/interactions" in path:
            yield answer(json.dumps(self.interaction(seen, path)).encode())
        elif "/batches" in path and not path.endswith("/results"):
            yield answer(json.dumps(self.batch(name if seen.method == "GET" else "")).encode())
        elif path.endswith("/results"):
            message = {"model": "claude-sonnet-4-5", "usage": {"input_tokens": 1000, "output_tokens": 100}}
            line = json.dumps({"custom_id": "a", "result": {"type": "succeeded", "message": message}}).encode() + b"\n"
            if "break" in seen.target:
                yield chunked_head("application/x-jsonl") + chunk(line)
                yield CLOSE
            else:
                yield answer(line * 2 if "long" in seen.target else line, "application/x-jsonl")
        elif seen.method == "POST" and not name:
            asked = json.loads(seen.body)
            made = response(f"resp_{len(self.looks)}", "queued", background=asked.get("background", False))
            self.looks[made["id"]] = 0
            if not asked.get("background"):
                made = response("resp_fore", "completed", background=False)
            if not asked.get("stream"):
                yield answer(json.dumps(made).encode())
                return
            yield chunked_head(SSE) + chunk(sse({"type": "response.created", "response": made}))
            yield CLOSE
        elif name == "resp_fore":
            yield answer(json.dumps(response(name, "completed", background=False)).encode())
        elif "stream=true" in seen.target:
            ended = {"type": "response.completed", "response": response(name, "completed")}
            yield chunked_head(SSE) + chunk(sse(ended)) + LAST_CHUNK
        else:
            self.looks[name] = self.looks.get(name, 0) + 1
            done = self.looks[name] > 1 or path.endswith("/cancel")
            ended = "failed" if "fail" in seen.target else "completed"
            yield answer(json.dumps(response(name, ended if done else "in_progress")).encode())

    def batch(self, name: str) -> dict[str, Any]:
        """Done at the second look, and nothing is said of its use before."""
        looks = self.looks[name] = self.looks.get(name, 0) + 1 if name else 0
        details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
        usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0, **details}
        if looks > 1:
            usage |= {**USAGE, "total_tokens": 2400}
        return {"id": name or "batch_1", "object": "batch", "endpoint": "/v1/chat/completions", "errors": None,
                "input_file_id": "file-1", "completion_window": "24h", "created_at": 1, "model": "gpt-4o-2024-08-06",
                "status": "completed" if looks > 1 else "in_progress", "usage": usage}  # fmt: skip

    def interaction(self, seen: Seen, path: str) -> dict[str, Any]:
        """Made in the background where that was asked for, and done at the second look."""
        if seen.method == "POST":
            asked = json.loads(seen.body)
            name, done = f"v1_{len(self.looks)}", not asked.get("background")
            self.looks[name] = 0
        else:
            name = path.rpartition("/")[2]
            self.looks[name] += 1
            done = self.looks[name] > 1 or name == "v1_fore"
        usage = {"usage": {"total_input_tokens": 1500, "total_output_tokens": 836, "total_thought_tokens": 64}}
        status = "completed" if done else "in_progress"
        return {"id": name, "model": "gemini-2.5-flash", "status": status, **(usage if done else {})}


def config(upstream: Upstream) -> str:
    return f"""
[providers.openai]
kind = "openai"
base_url = "{upstream.url}"
api_key = "sk-real"
[providers.anthropic]
kind = "anthropic"
base_url = "{upstream.url}"
api_key = "sk-real"
unpriced_models = "block"
[providers.gemini]
kind = "gemini"
base_url = "{upstream.url}"
api_key = "sk-real"
[[keys]]
id = "once"
secret = "{KEY}"
team = "research"
workflow = "evals"
[[keys]]
id = "other"
secret = "{OTHER_KEY}"
team = "ops"
workflow = "watch"
[[quotas]]
name = "all"
usd = 100.0
window = "total"
[[quotas]]
name = "model"
match = {{ model = "gpt-4o" }}
per = ["team"]
usd = 100.0
window = "total"
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with Upstream(Provider()) as upstream, Gateway(tmp_path, config(upstream)) as running:
        yield running


def ask(gateway: Gateway, method: str, path: str, body: Any = None, key: str = KEY) -> bytes:
    host = gateway.url.partition("//")[2]
    connection = http.client.HTTPConnection(host, timeout=20)
    connection.request(method, path, json.dumps(body) if body is not None else None,
                       {"Authorization": f"Bearer {key}", "Content-Type": "application/json"})  # fmt: skip
    try:
        return connection.getresponse().read()
    except http.client.IncompleteRead as error:
        return error.partial
    finally:
        connection.close()


def spent(gateway: Gateway) -> int:
    """What reports say was spent, adjustments included."""
    found = json.loads(gateway.cli("report", "--by", "team", "--format", "json").stdout)
    rows = found["rows"] if isinstance(found, dict) else found
    return sum(round(float(row["cost_usd"]) * 1e9) for row in rows)


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


def counted(gateway: Gateway, quota: str, bucket: str = "") -> int:
    """Nanodollars that a quota counts, used and held."""
    names = ("spendgate_quota_used", "spendgate_quota_reserved")
    labels = (f'quota="{quota}"', f'bucket="{bucket}"', 'unit="usd"')
    lines = [line for line in gateway.metrics().splitlines() if line.startswith(names) and all(map(line.count, labels))]
    return sum(round(float(line.split()[-1]) * 1e9) for line in lines)


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


def test_fetching_what_was_answered_at_once_is_free(gateway: Gateway) -> None:
    ask(gateway, "POST", "/openai/v1/responses", {"model": "gpt-4o", "input": "Hi"})
    ask(gateway, "GET", "/openai/v1/responses/resp_fore")
    ask(gateway, "GET", "/openai/v1/responses/resp_fore/input_items")
    assert spent(gateway) == COST


def test_the_results_of_a_batch_are_charged_when_they_are_first_read(gateway: Gateway) -> None:
    for _ in range(3):
        assert b"succeeded" in ask(gateway, "GET", "/anthropic/v1/messages/batches/msgbatch_1/results")
    assert sorted(record["cost_nanousd"] for record in gateway.records()) == [0, 0, 2_250_000]
    assert spent(gateway) == 2_250_000


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


def test_a_claim_that_another_process_took_meanwhile_is_not_charged_twice(tmp_path: Path) -> None:
    with Upstream(Provider()) as upstream, Gateway(tmp_path, config(upstream)) as running:
        made = json.loads(ask(running, "POST", "/openai/v1/responses", {"model": "gpt-4o", "background": True}))["id"]
        with sqlite3.connect(next(tmp_path.rglob("ledger.db"))) as other:
            other.execute("UPDATE claims SET charged = 1")
        ask(running, "GET", f"/openai/v1/responses/{made}?include=x")
        ask(running, "GET", f"/openai/v1/responses/{made}?include=x")
        assert not any(record["usage"] == EXACT for record in running.records())


@pytest.mark.parametrize("background", [True, False])
def test_an_interaction_is_charged_once_however_often_it_is_fetched(gateway: Gateway, background: bool) -> None:
    cost = 1500 * 300 + 900 * 2500
    asked = {"model": "gemini-2.5-flash", "input": "What is 2 + 2?", "background": background}
    made = json.loads(ask(gateway, "POST", "/gemini/v1beta/interactions", asked))
    for _ in range(4):
        told = json.loads(ask(gateway, "GET", f"/gemini/v1beta/interactions/{made['id']}"))
    assert told["status"] == "completed"
    charged = [one for one in gateway.records() if one["usage_source"] == "response"]
    assert [(one["usage"], one["cost_nanousd"]) for one in charged] == [(EXACT, cost)]
    assert spent(gateway) == cost
    assert "agrees with itself" in gateway.cli("ledger", "verify").stdout
