"""What any request to a Google API may ask for beside its operation: no way around a quota."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, answer

KEY = "sk-test-google"
CONFIG = """
[providers.gemini]
kind = "gemini"
base_url = "{url}"
api_key = "sk-real"

[[prices]]
provider = "gemini"
model = "*"
input_per_mtok = 1.0
output_per_mtok = 10.0

[[keys]]
id = "k"
secret = "sk-test-google"
team = "t"
workflow = "w"

[[quotas]]
name = "budget"
tokens = 12000
window = "total"
"""
PATH = "/gemini/v1beta/models/gemini-2.5-pro:generateContent"
BODY = json.dumps({"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {"maxOutputTokens": 5000}})
SAID = {"candidates": [{"content": {"parts": [{"text": "so"}]}, "finishReason": "STOP"}]}


def script(seen: Seen) -> Iterator[Step]:
    """Thinks for 4,000 tokens, and tells so unless it is asked not to."""
    usage = {"promptTokenCount": 2, "candidatesTokenCount": 1, "thoughtsTokenCount": 4000, "totalTokenCount": 4003}
    if seen.header("x-goog-fieldmask") or "fields" in seen.target:
        yield answer(json.dumps(SAID).encode())
    elif "proto" in seen.target:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 6\r\n\r\n"
        yield head + b"\x0a\x04\x0a\x02so"
    else:
        yield answer(json.dumps({**SAID, "usageMetadata": usage}).encode())


def ask(gateway: Gateway, method: str = "POST", query: str = "", **more: str) -> int:
    connection = http.client.HTTPConnection(gateway.url.partition("//")[2], timeout=20)
    headers = {"x-goog-api-key": KEY, "content-type": "application/json"}
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    connection.request(method, PATH + query, BODY.encode(), headers)
    reply = connection.getresponse()
    reply.read()
    connection.close()
    return reply.status


@pytest.mark.parametrize(
    ("query", "more"),
    [("?fields=candidates", {}), ("?%24fields=candidates", {}), ("?alt=proto", {}), ("?$alt=proto", {}),
     ("", {"X_Goog_FieldMask": "candidates"})],
)  # fmt: skip
def test_an_answer_that_was_asked_not_to_tell_its_usage_counts_whole(
    tmp_path: Path, query: str, more: dict[str, str]
) -> None:
    with Upstream(script) as upstream, Gateway(tmp_path, CONFIG.format(url=upstream.url)) as gateway:
        assert ask(gateway, query=query, **more) == 200
        record = gateway.records()[0]
        assert record["usage_source"] == "estimated"
        used = gateway.value("spendgate_quota_used", quota="budget", unit="tokens")
        assert used == record["reserved_input_tokens"] + record["reserved_output_tokens"] > 5000
        # what is shown is the estimate, the same everywhere
        assert record["usage"].get("output_tokens_total", 0) < 50
        cost = gateway.value("spendgate_cost_usd_total", team="t")
        assert cost == pytest.approx(record["cost_nanousd"] / 1e9)
        assert ask(gateway, query=query, **more) == 200
        assert ask(gateway, query=query, **more) == 429
        gateway.stop()
        gateway.start()
        assert gateway.value("spendgate_quota_used", quota="budget", unit="tokens") == 2 * used


@pytest.mark.parametrize("query", ["", "?alt=json", "?prettyPrint=false"])
def test_what_is_reported_counts_as_it_is(tmp_path: Path, query: str) -> None:
    with Upstream(script) as upstream, Gateway(tmp_path, CONFIG.format(url=upstream.url)) as gateway:
        assert ask(gateway, query=query) == 200
        assert gateway.value("spendgate_quota_used", quota="budget", unit="tokens") == 4003


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH"])
def test_a_request_that_means_post_is_held_as_one(tmp_path: Path, method: str) -> None:
    with Upstream(script) as upstream, Gateway(tmp_path, CONFIG.format(url=upstream.url)) as gateway:
        assert ask(gateway, method, X_HTTP_Method_Override="POST") == 200
        assert gateway.value("spendgate_quota_used", quota="budget", unit="tokens") == 4003
        assert ask(gateway, method) == 200
        assert gateway.value("spendgate_quota_used", quota="budget", unit="tokens") == 4003
