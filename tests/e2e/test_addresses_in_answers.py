"""Where an answer tells an address at the provider for what follows, an SDK that goes there comes to the gateway."""

from __future__ import annotations

import gzip
import json
import ssl
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest
import trustme
from support.gateway import Gateway
from support.upstream import LAST_CHUNK, Seen, Step, Upstream, answer, chunk, chunked_head

KEY = "sk-test-addresses"
CONFIG = """
[providers.claude]
kind = "anthropic"
base_url = "{url}"
api_key = "sk-real"

[[keys]]
id = "k"
secret = "sk-test-addresses"
team = "t"
workflow = "w"
"""
PATH = "/v1/messages/batches"
MESSAGE = {"id": "m", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": [],
           "stop_reason": "end_turn", "usage": {"input_tokens": 1000, "output_tokens": 100}}  # fmt: skip
LINE = json.dumps({"custom_id": "a", "result": {"type": "succeeded", "message": MESSAGE}}).encode() + b"\n"


def batch(at: str, name: str, ended: bool = True) -> dict[str, Any]:
    counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 1)
    moment = "2026-11-01T00:00:00Z"
    place = f"{at}{PATH}/{name}/results" if ended else None
    return {"id": name, "type": "message_batch", "processing_status": "ended", "request_counts": counts,
            "created_at": moment, "expires_at": moment, "results_url": place}  # fmt: skip


def script(seen: Seen) -> Iterable[Step]:
    path = seen.target.partition("?")[0]
    at = "https://api.elsewhere.example" if "elsewhere" in seen.target else f"http://{seen.header('host')}"
    if path.endswith("/results"):
        return [answer(LINE, "application/x-jsonl")]
    if path.endswith("/batches"):
        data = [batch(at, "msgbatch_1"), batch(at, "msgbatch_2", ended=False), batch(at, "msgbatch_3")]
        body = json.dumps({"data": data, "has_more": False, "first_id": None, "last_id": None}).encode()
        pieces = [chunk(body[at : at + 7]) for at in range(0, len(body), 7)]
        return [chunked_head("application/json"), *pieces, LAST_CHUNK]
    body = json.dumps(batch(at, path.rpartition("/")[2]), separators=(",", ":")).encode()
    if "long" in seen.target:
        body += b" " * 5_000_000
    if "coded" in seen.target:
        return [answer(gzip.compress(body), headers={"Content-Encoding": "gzip"})]
    return [answer(body)]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(script) as running:
        yield running


@pytest.fixture
def gateway(tmp_path: Path, upstream: Upstream) -> Iterator[Gateway]:
    with Gateway(tmp_path, CONFIG.format(url=upstream.url)) as running:
        yield running


def told(gateway: Gateway, query: str = "", **headers: str) -> Any:
    """Where the results of a batch are, as its client hears."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    address = f"{gateway.url}/claude/v1/messages/batches/msgbatch_1{query}"
    return httpx.get(address, headers={"x-api-key": KEY, **named}).json()["results_url"]


def test_an_sdk_reads_the_results_of_a_batch_through_the_gateway_and_they_are_charged_once(
    gateway: Gateway, upstream: Upstream
) -> None:
    client = anthropic.Anthropic(base_url=gateway.url + "/claude", api_key=KEY, max_retries=0)
    for _ in range(2):
        assert [one.custom_id for one in client.messages.batches.results("msgbatch_1")] == ["a"]
    looks = [record for record in gateway.records() if record["api"] == "batch_results"]
    assert sorted(record["cost_nanousd"] for record in looks) == [0, 2_250_000]
    assert {record["key_id"] for record in gateway.records()} == {"k"}
    assert KEY not in str([(seen.target, seen.headers) for seen in upstream.seen])


def test_a_list_of_batches_tells_such_addresses_alone_otherwise(gateway: Gateway) -> None:
    got = httpx.get(gateway.url + "/claude/v1/messages/batches?limit=3", headers={"x-api-key": KEY}).json()
    here = f"{gateway.url}/claude/v1/messages/batches"
    assert [one["results_url"] for one in got["data"]] == [
        f"{here}/msgbatch_1/results", None, f"{here}/msgbatch_3/results"
    ]  # fmt: skip
    assert {**got["data"][0], "results_url": None} == {**batch("", "msgbatch_1"), "results_url": None}


def test_the_address_is_the_one_at_which_the_client_is(gateway: Gateway) -> None:
    path = "/claude/v1/messages/batches/msgbatch_1/results"
    assert told(gateway, Host="llm.example:8443") == "http://llm.example:8443" + path
    assert told(gateway, X_Forwarded_Proto="https", X_Forwarded_Host="llm.example") == "https://llm.example" + path
    several = told(gateway, X_Forwarded_Proto="https, http", X_Forwarded_Host="llm.example, inner.example")
    assert several == "https://llm.example" + path
    assert told(gateway, X_Forwarded_Proto="gopher") == gateway.url + path


def test_a_gateway_that_speaks_tls_is_reached_by_https(tmp_path: Path, upstream: Upstream) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    own = f'cert = "{tmp_path}/own.pem"\nkey = "{tmp_path}/own.pem"\n'
    config = CONFIG.format(url=upstream.url) + f"[server]\n[server.tls]\n{own}[server.admin_tls]\n{own}"
    with Gateway(tmp_path, config, trust=trust) as gateway:
        path = "/claude/v1/messages/batches/msgbatch_1"
        got = httpx.get(gateway.url + path, headers={"x-api-key": KEY}, verify=trust).json()
        assert got["results_url"] == f"https://127.0.0.1:{gateway.port}{path}/results"


@pytest.mark.parametrize("host", ['a"b', "a b", "a/b"])
def test_where_nothing_sensible_says_how_the_gateway_is_reached_the_answer_stays(
    gateway: Gateway, upstream: Upstream, host: str
) -> None:
    assert told(gateway, X_Forwarded_Host=host) == f"{upstream.url}{PATH}/msgbatch_1/results"


def test_an_address_that_is_not_the_provider_s_own_stays(gateway: Gateway) -> None:
    assert told(gateway, "?elsewhere") == f"https://api.elsewhere.example{PATH}/msgbatch_1/results"


def test_an_answer_that_comes_coded_all_the_same_is_read(gateway: Gateway, upstream: Upstream) -> None:
    assert told(gateway, "?coded") == gateway.url + "/claude/v1/messages/batches/msgbatch_1/results"
    assert upstream.seen[-1].header("accept-encoding") == "identity"


def test_an_answer_that_is_too_long_to_be_held_passes_as_it_is(gateway: Gateway, upstream: Upstream) -> None:
    assert told(gateway, "?long") == f"{upstream.url}{PATH}/msgbatch_1/results"
