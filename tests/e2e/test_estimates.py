"""What a model's settled calls teach the estimates of its other calls, whatever the framing of either."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from support.gateway import Gateway
from support.upstream import LAST_CHUNK, Seen, Step, Upstream, answer, chunk, chunked_head
from usages import EVENTS, SSE, aws, sse

KEY = "sk-test-estimates"
WORDS = "so it goes. " * 60
TEXT_TOKENS = len(WORDS) // 4
PROMPT = "Tell me how it goes, at some length and in your own words, if you please."
PATHS = {"anthropic": "/v1/messages", "bedrock": "/model/meta.llama3-8b-instruct-v1:0/{}"}


def anthropic(stream: bool, tokens: tuple[int, int] | None) -> list[Step]:
    usage = {"input_tokens": tokens[0], "output_tokens": tokens[1]} if tokens else {}
    message = {"type": "message", "model": "claude-x", **({"usage": usage} if usage else {})}
    if not stream:
        return [answer(json.dumps({**message, "content": [{"type": "text", "text": WORDS}]}).encode())]
    half = len(WORDS) // 2
    deltas = [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
              for text in (WORDS[:half], WORDS[half:])]  # fmt: skip
    body = sse({"type": "message_start", "message": message}, *deltas, {"type": "message_stop"})
    return [chunked_head(SSE), chunk(body), LAST_CHUNK]


def bedrock(stream: bool, tokens: tuple[int, int] | None) -> list[Step]:
    usage = {"usage": {"inputTokens": tokens[0], "outputTokens": tokens[1]}} if tokens else {}
    if not stream:
        content = {"output": {"message": {"role": "assistant", "content": [{"text": WORDS}]}}}
        return [answer(json.dumps({**content, **usage}).encode())]
    delta = ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": WORDS}})
    return [chunked_head(EVENTS), chunk(aws(delta, ("messageStop", {"stopReason": "end_turn"}))), LAST_CHUNK]


def script(seen: Seen) -> Iterable[Step]:
    kind, stream, tells = (seen.header("x-play") or "").split()
    # what this provider counts: twice what the text suggests for the answer, thrice for the request
    tokens = (60, TEXT_TOKENS * 2) if tells == "tells" else None
    return {"anthropic": anthropic, "bedrock": bedrock}[kind](stream == "stream", tokens)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Upstream(script) as upstream:
        providers = "".join(
            f'[providers.{kind}]\nkind = "{kind}"\nbase_url = "{upstream.url}"\napi_key = "real"\n' for kind in PATHS
        )
        key = f'[[keys]]\nid = "k"\nsecret = "{KEY}"\nteam = "t"\nworkflow = "w"\n'
        with Gateway(tmp_path_factory.mktemp("estimates"), providers + key) as running:
            yield running


def ask(gateway: Gateway, kind: str, *, stream: bool, tells: bool) -> dict[str, Any]:
    """The record of one call."""
    body: dict[str, Any] = {"model": "claude-x", "max_tokens": 4000, "stream": stream, "messages": [
        {"role": "user", "content": PROMPT}]}  # fmt: skip
    if kind == "bedrock":
        body = {"messages": [{"role": "user", "content": [{"text": PROMPT}]}]}
    path = PATHS[kind].format("converse-stream" if stream else "converse")
    play = f"{kind} {'stream' if stream else 'whole'} {'tells' if tells else 'silent'}"
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    connection.request("POST", f"/{kind}{path}", json.dumps(body), {"x-spendgate-key": KEY, "x-play": play,
                                                                    "content-type": "application/json"})  # fmt: skip
    response = connection.getresponse()
    response.read()
    connection.close()
    record: dict[str, Any] = gateway.get("/api/requests/" + response.headers["x-spendgate-request-id"])
    return record


@pytest.mark.parametrize("kind", PATHS)
def test_settled_calls_teach_the_estimates_of_their_model(gateway: Gateway, kind: str) -> None:
    first = ask(gateway, kind, stream=True, tells=False)
    assert first["usage_source"] == "estimated"
    assert first["usage"]["output_tokens_total"] == TEXT_TOKENS
    for _ in range(4):
        assert ask(gateway, kind, stream=False, tells=True)["usage_source"] == "response"
    expected = TEXT_TOKENS * 2
    deadline = time.monotonic() + 20
    while True:  # what is learned is learned in the background
        later = ask(gateway, kind, stream=True, tells=False)
        if later["usage"]["output_tokens_total"] != TEXT_TOKENS or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    assert later["usage_source"] == "estimated"
    assert later["usage"]["output_tokens_total"] == expected
    assert later["usage"]["input_tokens_total"] == 60
