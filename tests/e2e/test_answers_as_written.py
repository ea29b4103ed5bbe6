"""What the SDKs' own clients take of an answer's spelling, the gateway takes too, and a reason is the provider's."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Iterator

import httpx
import pytest
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream

CONFIG = """
[providers.p]
kind = "openai"
base_url = "{url}"
api_key = "sk-real"

[[keys]]
id = "k"
secret = "sk-test-as-written"
team = "t"
workflow = "w"
"""
CALL = {"model": "gpt-4o-mini", "messages": [], "max_tokens": 5}
HEADERS = {"Authorization": "Bearer sk-test-as-written", "Content-Type": "application/json"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 4}
BODY = json.dumps({"model": "gpt-4o-mini", "choices": [], "usage": USAGE}).encode()
FIELDS = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED = HEAD + b"%x%b\r\n%b\r\n0\r\n\r\n"
plays: dict[str, bytes] = {
    "blank": CHUNKED % (len(BODY), b" ", BODY),
    "padded": CHUNKED % (len(BODY), b"     ", BODY),
    "tab": CHUNKED % (len(BODY), b"\t", BODY),
    "nameless": b"HTTP/1.1 200 \r\n" + FIELDS + BODY,
    "short": b"HTTP/1.1 400\r\n" + FIELDS + BODY,
    "own": b"HTTP/1.1 429 Slow Down Please\r\n" + FIELDS + BODY,
}


def script(seen: Seen) -> Iterable[Step]:
    yield plays[seen.header("x-play") or ""]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(script) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("as_written"), CONFIG.format(url=upstream.url)) as running:
        yield running


def by_httpx(base: str, play: str) -> tuple[int, str, bytes]:
    answer = httpx.post(base + "/v1/chat/completions", json=CALL, headers={**HEADERS, "x-play": play})
    return answer.status_code, answer.reason_phrase, answer.content


def by_http_client(base: str, play: str) -> tuple[int, str, bytes]:
    host, _, path = base.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=10)
    target = f"/{path}/v1/chat/completions" if path else "/v1/chat/completions"
    connection.request("POST", target, json.dumps(CALL), {**HEADERS, "x-play": play})
    answer = connection.getresponse()
    return answer.status, answer.reason, answer.read()


@pytest.mark.parametrize("play", plays)
def test_an_answer_reads_the_same_as_without_the_gateway(gateway: Gateway, upstream: Upstream, play: str) -> None:
    for call in (by_httpx, by_http_client):
        for _ in range(2):
            assert call(gateway.url + "/p", play) == call(upstream.url, play)
    record = gateway.records(limit=1)[0]
    assert record["outcome"] == "completed"
    assert record["status"] != 200 or record["usage"] == {"input_tokens_total": 3, "output_tokens_total": 4}


def test_an_answer_of_the_gateways_own_has_its_usual_reason(gateway: Gateway) -> None:
    url = gateway.url + "/p/v1/chat/completions"
    refused = httpx.post(url, json=CALL, headers={"Authorization": "Bearer sk-wrong"})
    assert (refused.status_code, refused.reason_phrase) == (401, "Unauthorized")
