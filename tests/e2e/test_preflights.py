"""A browser's question before a call is the provider's to answer: without a key, for nothing, and within bounds."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from email.message import Message
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, answer

KEY, POOR = "sk-test-preflights", "sk-test-preflights-poor"
CONFIG = """
[server]
max_body_bytes = 1000
{limits}

[providers.p]
kind = "openai"
base_url = "{url}/base"
api_key = "sk-real"

[providers.gone]
kind = "anthropic"
base_url = "http://127.0.0.1:9"
api_key = "sk-real"

[[keys]]
id = "k"
secret = "sk-test-preflights"
team = "t"
workflow = "w"

[[keys]]
id = "poor"
secret = "sk-test-preflights-poor"
team = "poor"
workflow = "w"

[[quotas]]
name = "poor-total"
match = {{ team = "poor" }}
usd = 0.0
window = "total"
"""
PAGE = "https://page.example"
ASKED = "Access-Control-Request-Headers"
QUESTION = {"Origin": PAGE, "Access-Control-Request-Method": "POST", ASKED: "authorization,content-type"}
USED = {"model": "gpt-4o-mini", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}
MAX_AT_ONCE = 16


def script(seen: Seen) -> Iterable[Step]:
    if seen.method != "OPTIONS":
        return [answer(json.dumps(USED).encode())]
    if "/silent" in seen.target:
        return [60.0]
    if "/endless" in seen.target:
        return [answer(b"x" * 100_000)]
    if "/never" in seen.target:
        return [b"HTTP/1.1 403 Not Here\r\nX-Why: no\r\nContent-Length: 4\r\n\r\nnope"]
    fields = f"Access-Control-Allow-Origin: {seen.header('origin')}\r\nX-Twice: a\r\nx-twice: b\r\n"
    if "/forgotten" in seen.target:
        fields += "Access-Control-Max-Age: 0\r\n"
    allowed = f"Access-Control-Allow-Headers: {seen.header(ASKED)}\r\n" if seen.header(ASKED) else ""
    return [f"HTTP/1.1 200 Fine\r\n{fields}{allowed}Content-Length: 2\r\n\r\nok".encode()]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(script) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    config = CONFIG.format(url=upstream.url, limits="")
    with Gateway(tmp_path_factory.mktemp("preflights"), config) as running:
        yield running


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.reason = response.status, response.reason
        self.body = response.read()
        self.headers: Message = response.headers

    def names(self, header: str) -> set[str]:
        """What a header that is a list names, in all its fields."""
        return {one.strip().lower() for value in self.headers.get_all(header, []) for one in value.split(",")}


def ask(gateway: Gateway, path: str, method: str = "OPTIONS", body: object = None, **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, json.dumps(body) if body is not None else None, sent)
    answered = Answer(connection.getresponse())
    connection.close()
    return answered


def call(gateway: Gateway, path: str = "/p/v1/chat/completions", key: str = KEY, **headers: str) -> Answer:
    body = {"model": "gpt-4o-mini", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}
    named = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    return ask(gateway, path, "POST", body, **named, **headers)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def questions(upstream: Upstream, path: str) -> list[Seen]:
    return [seen for seen in upstream.seen if seen.method == "OPTIONS" and seen.target.startswith(path)]


def test_the_providers_answer_comes_back_as_it_is(gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as client:
        lines = "".join(f"{name}: {value}\r\n" for name, value in QUESTION.items())
        client.sendall(f"OPTIONS /p/v1/models HTTP/1.1\r\nHost: g\r\n{lines}Connection: close\r\n\r\n".encode())
        raw = b"".join(iter(lambda: client.recv(65_536), b""))
    assert raw == (
        b"HTTP/1.1 200 Fine\r\nAccess-Control-Allow-Origin: https://page.example\r\nX-Twice: a\r\nx-twice: b\r\n"
        b"Access-Control-Allow-Headers: authorization,content-type\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
    )


def test_a_provider_that_says_no_is_heard(gateway: Gateway) -> None:
    got = ask(gateway, "/p/never", **QUESTION)
    assert (got.status, got.reason, got.body) == (403, "Not Here", b"nope")
    assert got.headers["x-why"] == "no"
    assert "access-control-allow-origin" not in got.headers


def test_no_credential_reaches_the_provider_with_it(gateway: Gateway, upstream: Upstream) -> None:
    secrets = {"Authorization": f"Bearer {KEY}", "x-api-key": KEY, "Cookie": "session=1", "x-spendgate-key": KEY}
    sly = {"X-HTTP-Method-Override": "POST", "Content-Type": "application/json", "X-Anything": "1"}
    got = ask(gateway, f"/p/v1/models/m:generateContent?alt=sse&key={KEY}", body={"a": 1}, **QUESTION, **secrets, **sly)
    assert got.status == 200
    (seen,) = questions(upstream, "/base/v1/models/m")
    assert seen.target == "/base/v1/models/m:generateContent?alt=sse"
    assert seen.body == b""
    assert {name.lower(): value for name, value in seen.headers} == {
        "host": f"127.0.0.1:{upstream.port}",
        "accept-encoding": "identity",
        **{name.lower(): value for name, value in QUESTION.items()},
    }


def test_the_gateways_own_fields_are_allowed_where_the_page_is_and_no_provider_hears_of_them(
    gateway: Gateway, upstream: Upstream
) -> None:
    own = "x-spendgate-key,X-Spendgate-Workflow"
    got = ask(gateway, "/p/own", **{**QUESTION, ASKED: f"authorization,{own},content-type"})
    assert got.names("access-control-allow-headers") == {
        "authorization", "content-type", "x-spendgate-key", "x-spendgate-workflow"
    }  # fmt: skip
    ask(gateway, "/p/own/alone", **{**QUESTION, ASKED: own})
    assert [seen.header(ASKED) for seen in questions(upstream, "/base/own")] == ["authorization,content-type", None]
    refused = ask(gateway, "/p/never", **{**QUESTION, ASKED: own})
    assert "access-control-allow-headers" not in refused.headers


def test_an_answer_that_still_holds_is_given_again(gateway: Gateway, upstream: Upstream) -> None:
    for _ in range(3):
        assert ask(gateway, "/p/again?x=1", **QUESTION).status == 200
    assert len(questions(upstream, "/base/again")) == 1
    other = ask(gateway, "/p/again", **{**QUESTION, "Origin": "https://other.example"})
    assert other.headers["access-control-allow-origin"] == "https://other.example"
    ask(gateway, "/p/again", **{**QUESTION, "Access-Control-Request-Method": "DELETE"})
    ask(gateway, "/p/again", **{**QUESTION, ASKED: "authorization"})
    assert len(questions(upstream, "/base/again")) == 4


@pytest.mark.parametrize("path", ["/forgotten", "/never/twice"])
def test_what_a_browser_would_not_remember_is_asked_again(gateway: Gateway, upstream: Upstream, path: str) -> None:
    ask(gateway, "/p" + path, **QUESTION)
    ask(gateway, "/p" + path, **QUESTION)
    assert len(questions(upstream, "/base" + path)) == 2


def test_it_is_no_call(gateway: Gateway) -> None:
    records = len(gateway.records())
    ask(gateway, f"/p/v1/chat/completions?key={KEY}", **QUESTION)
    ask(gateway, "/gone/v1/messages", **QUESTION)
    ask(gateway, "/nowhere/v1/messages", **QUESTION)
    call(gateway)
    assert [record["method"] for record in gateway.records()[: -records or None]] == ["POST"]


def test_what_follows_it_is_a_call_on_the_same_connection(gateway: Gateway) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    for _ in range(2):
        connection.request("OPTIONS", "/p/v1/chat/completions", headers=QUESTION)
        assert Answer(connection.getresponse()).status == 200
        body = json.dumps({"model": "gpt-4o-mini", "messages": []})
        connection.request("POST", "/p/v1/chat/completions", body, {"Authorization": f"Bearer {KEY}", "Origin": PAGE})
        assert Answer(connection.getresponse()).status == 200
    connection.close()


@pytest.mark.parametrize("path", ["/nowhere/v1/messages", "/", "/p2"])
def test_where_no_provider_is_named_any_page_may_try(gateway: Gateway, path: str) -> None:
    got = ask(gateway, path, **QUESTION)
    assert got.status == 204
    assert got.headers["access-control-allow-origin"] == "*"
    assert got.names("access-control-allow-headers") == {"*", "authorization"}
    assert got.names("access-control-allow-methods") == {"*"}


def test_the_routed_api_asks_the_provider_of_any_model(gateway: Gateway, upstream: Upstream) -> None:
    assert ask(gateway, "/v1/embeddings", **QUESTION).body == b"ok"
    assert len(questions(upstream, "/base/v1/embeddings")) == 1


@pytest.mark.parametrize("lacking", ["Origin", "Access-Control-Request-Method"])
def test_any_other_options_needs_a_key(gateway: Gateway, upstream: Upstream, lacking: str) -> None:
    headers = {name: value for name, value in QUESTION.items() if name != lacking}
    assert ask(gateway, "/p/options", **headers).status == 401
    assert questions(upstream, "/base/options") == []


def test_a_provider_that_cant_be_reached_is_said_so(gateway: Gateway) -> None:
    got = ask(gateway, "/gone/v1/messages", **QUESTION)
    assert (got.status, got.headers["x-spendgate-error"]) == (502, "upstream_connect")


def test_an_answer_without_end_is_given_up(gateway: Gateway) -> None:
    got = ask(gateway, "/p/endless", **QUESTION)
    assert (got.status, got.headers["x-spendgate-error"]) == (502, "upstream_protocol")
    assert ask(gateway, "/p/after", **QUESTION).status == 200


def test_a_provider_is_asked_few_at_once_and_calls_go_on(gateway: Gateway, upstream: Upstream) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in QUESTION.items())
    waiting = [socket.create_connection(("127.0.0.1", gateway.port), 10) for _ in range(MAX_AT_ONCE)]
    for number, client in enumerate(waiting):
        client.sendall(f"OPTIONS /p/silent/{number} HTTP/1.1\r\nHost: g\r\n{lines}\r\n".encode())
    until(lambda: len(questions(upstream, "/base/silent")) == MAX_AT_ONCE)
    got = ask(gateway, "/p/another", **QUESTION)
    assert (got.status, got.headers["x-spendgate-error"]) == (503, "too_many_preflights")
    assert call(gateway).status == 200
    for client in waiting:
        client.close()
    until(lambda: all(seen.closed_early for seen in questions(upstream, "/base/silent")))
    assert ask(gateway, "/p/another", **QUESTION).status == 200


def test_an_address_asks_few_a_minute_and_its_calls_go_on(tmp_path: Path, upstream: Upstream) -> None:
    limits = "[server.limits]\nunknown_keys_per_minute_per_peer = 3"
    with Gateway(tmp_path, CONFIG.format(url=upstream.url, limits=limits)) as gateway:
        assert [ask(gateway, f"/p/few/{number}", **QUESTION).status for number in range(5)] == [200] * 3 + [503] * 2
        assert ask(gateway, "/p/few/0", **QUESTION).status == 200  # known
        assert len(questions(upstream, "/base/few")) == 3
        assert call(gateway).status == 200
        assert gateway.value("spendgate_watched_addresses") == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_metrics_tell_who_answers_in_all_processes(tmp_path: Path, upstream: Upstream, workers: int) -> None:
    limits = f"workers = {workers}\n[server.limits]\nunknown_keys_per_minute_per_peer = 6"
    with Gateway(tmp_path, CONFIG.format(url=upstream.url, limits=limits)) as gateway:
        before = len(questions(upstream, "/base/told"))
        statuses = [ask(gateway, "/p/told", **QUESTION).status for _ in range(8)]
        statuses += [ask(gateway, f"/p/told/{number}", **QUESTION).status for number in range(20)]
        assert ask(gateway, "/nowhere/told", **QUESTION).status == 204
        asked = len(questions(upstream, "/base/told")) - before
        refused = statuses.count(503)
        assert (min(asked, refused) > 0, statuses.count(200)) == (True, 28 - refused)

        def told() -> dict[tuple[str, str], int]:
            found = [sample for sample in samples(gateway) if sample.value]
            return {(one.labels["provider"], one.labels["result"]): int(one.value) for one in found}

        wanted = {"asked": asked, "remembered": 28 - refused - asked, "refused": refused}
        whole = {("p", name): count for name, count in wanted.items()} | {("", "unnamed"): 1}
        until(lambda: told() == whole)


def samples(gateway: Gateway) -> list[Sample]:
    families = text_string_to_metric_families(gateway.metrics())
    return next(family.samples for family in families if family.name == "spendgate_preflights")


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [("/p/v1/chat/completions", "sk-wrong", 401), ("/p/v1/chat/completions", POOR, 429),
     ("/nowhere/v1/chat", KEY, 404), ("/gone/v1/messages", KEY, 502)],
)  # fmt: skip
def test_a_page_can_read_what_the_gateway_itself_answers(gateway: Gateway, path: str, key: str, status: int) -> None:
    got = call(gateway, path, key, Origin=PAGE)
    assert (got.status, got.headers["access-control-allow-origin"]) == (status, "*")
    assert got.headers["access-control-expose-headers"] == "*"
    other = call(gateway, path, key)
    assert other.status == status
    assert not [name for name in other.headers if name.lower().startswith("access-control")]


def test_a_page_can_read_that_its_body_is_too_large(gateway: Gateway) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "Origin": PAGE}
    got = ask(gateway, "/p/v1/chat/completions", "POST", "x" * 2000, **headers)
    assert (got.status, got.headers["access-control-allow-origin"]) == (413, "*")


def test_what_the_provider_answers_is_its_own(gateway: Gateway) -> None:
    got = call(gateway, Origin=PAGE)
    assert got.status == 200
    assert not [name for name in got.headers if name.lower().startswith("access-control")]
