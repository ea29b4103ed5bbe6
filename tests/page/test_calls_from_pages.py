"""A page in Chromium calls models through the gateway, as SDKs do that are allowed to run in browsers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from support.gateway import Gateway
from support.upstream import LAST_CHUNK, Seen, Step, Upstream, answer, chunk, chunked_head

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

KEY, POOR = "sk-test-pages", "sk-test-pages-poor"
CONFIG = """
[providers.openai]
kind = "openai"
base_url = "{url}"
api_key = "sk-real"

[providers.strict]
kind = "gemini"
base_url = "{url}/strict"
api_key = "sk-real"

[providers.simulated]
kind = "simulated"
first_token_seconds = 0.0
token_seconds = 0.0

[[prices]]
provider = "simulated"
model = "*"
input_per_mtok = 2.5
output_per_mtok = 10.0

[[keys]]
id = "k"
secret = "sk-test-pages"
team = "t"
workflow = "w"

[[keys]]
id = "poor"
secret = "sk-test-pages-poor"
team = "poor"
workflow = "w"

[[quotas]]
name = "poor-total"
match = {{ team = "poor" }}
usd = 0.0
window = "total"
"""
USED = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
WHOLE = {"model": "gpt-4o-mini", "choices": [{"index": 0, "message": {"content": "hello"}}], "usage": USED}
STREAMED = (
    {"model": "gpt-4o-mini", "choices": [{"index": 0, "delta": {"content": "hello"}}]},
    {"model": "gpt-4o-mini", "choices": [], "usage": USED},
)
LISTED = {"authorization", "content-type", "x-goog-api-key"}
CALL = """async ([url, headers, body]) => {
    try {
        const answer = await fetch(url, {method: 'POST', headers, body: JSON.stringify(body)})
        const seen = ['retry-after', 'x-should-retry', 'x-spendgate-request-id', 'x-request-id']
        const shown = Object.fromEntries(seen.map(name => [name, answer.headers.get(name)]))
        return {status: answer.status, text: await answer.text(), ...shown}
    } catch (error) { return {error: String(error)} }
}"""


def script(seen: Seen) -> Iterable[Step]:
    """As OpenAI answers a browser; below ``/strict`` as Gemini does, which lists the fields that may come."""
    if seen.target == "/page":
        return [answer(b"<!doctype html><title>a page</title>", "text/html")]
    page = {"Access-Control-Allow-Origin": "*"}
    if seen.method == "OPTIONS":
        asked = seen.header("access-control-request-headers") or ""
        if seen.target.startswith("/strict") and {name.strip() for name in asked.split(",")} - LISTED:
            return [answer(b"", status=403)]
        return [answer(b"", headers={**page, "Access-Control-Allow-Headers": asked, "Access-Control-Max-Age": "600"})]
    page |= {"Access-Control-Expose-Headers": "X-Request-ID", "X-Request-ID": "req-of-the-provider"}
    if not json.loads(seen.body).get("stream"):
        return [answer(json.dumps(WHOLE).encode(), headers=page)]
    lines = [chunk(b"data: " + json.dumps(one).encode() + b"\n\n") for one in STREAMED]
    return [chunked_head("text/event-stream", headers=page), *lines, chunk(b"data: [DONE]\n\n"), LAST_CHUNK]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(script) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("pages"), CONFIG.format(url=upstream.url)) as running:
        yield running


@pytest.fixture
def page(browser: Browser, upstream: Upstream) -> Iterator[Page]:
    """A page of another origin than the gateway's."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(upstream.url + "/page")
    yield page
    context.close()


def call(page: Page, gateway: Gateway, path: str, body: dict[str, Any], key: str = KEY, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()} or {"authorization": f"Bearer {key}"}
    return page.evaluate(CALL, [gateway.url + path, {**named, "content-type": "application/json"}, body])


CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}


def test_a_page_calls_and_the_ledger_has_the_call_alone(page: Page, gateway: Gateway) -> None:
    got = call(page, gateway, "/openai/v1/chat/completions", CHAT)
    assert (got["status"], json.loads(got["text"]), got["x-request-id"]) == (200, WHOLE, "req-of-the-provider")
    (record,) = gateway.records()
    assert (record["method"], record["team"], record["usage"]) == (
        "POST", "t", {"input_tokens_total": 3, "output_tokens_total": 4}
    )  # fmt: skip


def test_a_page_reads_a_stream(page: Page, gateway: Gateway) -> None:
    got = call(page, gateway, "/openai/v1/chat/completions", {**CHAT, "stream": True})
    assert got["text"] == f"data: {json.dumps(STREAMED[0])}\n\ndata: [DONE]\n\n"


def test_a_page_names_its_workflow_also_where_a_provider_lists_the_fields(page: Page, gateway: Gateway) -> None:
    path, body = "/strict/v1beta/models/gemini-2.5-flash:generateContent", {"contents": []}
    named = {"x_spendgate_key": KEY, "x_spendgate_workflow": "page", "x_spendgate_tag_env": "prod"}
    assert call(page, gateway, path, body, **named)["status"] == 200
    assert (gateway.records()[0]["workflow"], gateway.records()[0]["tags"]) == ("page", {"env": "prod"})
    assert call(page, gateway, path, body, **named, api_revision="1") == {"error": "TypeError: Failed to fetch"}


def test_a_page_reads_why_it_is_refused(page: Page, gateway: Gateway) -> None:
    unknown = call(page, gateway, "/openai/v1/chat/completions", CHAT, "sk-wrong")
    assert (unknown["status"], json.loads(unknown["text"])["error"]["code"]) == (401, "invalid_api_key")
    poor = call(page, gateway, "/openai/v1/chat/completions", CHAT, POOR)
    assert (poor["status"], poor["x-should-retry"]) == (429, "false")
    assert gateway.get("/api/requests/" + poor["x-spendgate-request-id"])["refused_by"] == "poor-total"
    assert call(page, gateway, "/nowhere/v1/chat/completions", CHAT)["status"] == 404


def test_the_built_in_provider_answers_a_page(page: Page, gateway: Gateway) -> None:
    got = call(page, gateway, "/simulated/v1/chat/completions", CHAT)
    assert json.loads(got["text"])["choices"]
    assert gateway.get("/api/requests/" + got["x-spendgate-request-id"])["cost_nanousd"] > 0
    assert "[DONE]" in call(page, gateway, "/simulated/v1/chat/completions", {**CHAT, "stream": True})["text"]
