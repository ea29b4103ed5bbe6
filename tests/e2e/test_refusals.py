"""Each kind of refusal raises the SDK's own exception, and an SDK that is told not to tries no second time.

The SDKs run as they come: with their own numbers of retries.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import boto3
import cohere
import openai
import pytest
from botocore import UNSIGNED
from botocore.config import Config as BotoConfig
from botocore.exceptions import ClientError
from google import genai
from google.genai import errors as genai_errors
from google.genai import types as genai_types
from mistralai.client import Mistral
from mistralai.client import errors as mistral_errors
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, answer

KINDS = ("openai", "anthropic", "gemini", "mistral", "cohere", "bedrock")
TEAMS = ("spent", "month", "large", "narrow", "busy")
CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"


def config(url: str) -> str:
    providers = "".join(
        f'[providers.{kind}]\nkind = "{kind}"\nbase_url = "{url}"\napi_key = "real"\nunpriced_models = "block"\n'
        for kind in KINDS
    )
    keys = "".join(
        f'[[keys]]\nid = "{team}"\nsecret = "sk-test-{team}-key"\nteam = "{team}"\nworkflow = "w"\n'
        + ('models = ["none-*"]\n' if team == "narrow" else "")
        for team in TEAMS
    )
    return (
        providers
        + keys
        + """
[[quotas]]
name = "spent-total"
match = { team = "spent" }
requests = 0
window = "total"

[[quotas]]
name = "month"
match = { team = "month" }
per = ["provider"]
requests = 1
window = "rolling 30d"

[[quotas]]
name = "large"
match = { team = "large" }
tokens = 50
window = "day"

[[quotas]]
name = "busy"
match = { team = "busy" }
per = ["provider"]
concurrent = 1
"""
    )


def answers(seen: Seen) -> Iterator[Step]:
    """Enough of an answer for each SDK; late where the call says so."""
    if b"hold" in seen.body:
        yield 0.7
    words = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "type": "message",
             "role": "assistant", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn",
             "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}],
             "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "input_tokens": 3,
                       "output_tokens": 2, "inputTokens": 3, "outputTokens": 2, "totalTokens": 5,
                       "billed_units": {"input_tokens": 3, "output_tokens": 2},
                       "tokens": {"input_tokens": 3, "output_tokens": 2}}}  # fmt: skip
    if "converse" in seen.target:
        said = {"role": "assistant", "content": [{"text": "hi"}]}
        words |= {"output": {"message": said}, "stopReason": "end_turn", "metrics": {"latencyMs": 1}}
    elif "chat" in seen.target and "v2" in seen.target:
        words |= {
            "finish_reason": "COMPLETE",
            "message": {"role": "assistant", "content": [{"type": "text", "text": "hi"}]},
        }
    elif "generateContent" in seen.target:
        said = {"role": "model", "parts": [{"text": "hi"}]}
        words = {"candidates": [{"content": said, "finishReason": "STOP"}],
                 "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}}  # fmt: skip
    yield answer(json.dumps(words).encode())


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with (
        Upstream(answers) as upstream,
        Gateway(tmp_path_factory.mktemp("refusals"), config(upstream.url)) as running,
    ):
        yield running


TALK: Any = [{"role": "user", "content": "hi"}]


def ask_openai(url: str, key: str, model: str, stream: bool) -> None:
    client = openai.OpenAI(base_url=url + "/openai/v1", api_key=key)
    client.chat.completions.create(model=model or "gpt-4o", messages=TALK, max_tokens=100, stream=stream)


def ask_anthropic(url: str, key: str, model: str, stream: bool) -> None:
    client = anthropic.Anthropic(base_url=url + "/anthropic", api_key=key)
    client.messages.create(model=model or "claude-sonnet-4-5", messages=TALK, max_tokens=100, stream=stream)


def ask_gemini(url: str, key: str, model: str, stream: bool) -> None:
    options = genai_types.HttpOptions(base_url=url + "/gemini")
    client = genai.Client(api_key=key, http_options=options, vertexai=False)
    limits = genai_types.GenerateContentConfig(max_output_tokens=100)
    if stream:
        list(client.models.generate_content_stream(model=model or "gemini-2.5-flash", contents="hi", config=limits))
    else:
        client.models.generate_content(model=model or "gemini-2.5-flash", contents="hi", config=limits)


def ask_mistral(url: str, key: str, model: str, stream: bool) -> None:
    chat = Mistral(server_url=url + "/mistral", api_key=key).chat
    (chat.stream if stream else chat.complete)(model=model or "mistral-small-latest", messages=TALK, max_tokens=100)


def ask_cohere(url: str, key: str, model: str, stream: bool) -> None:
    client: Any = cohere.ClientV2(api_key=key, base_url=url + "/cohere")
    if stream:
        list(client.chat_stream(model=model or "command-r-08-2024", messages=TALK, max_tokens=100))
    else:
        client.chat(model=model or "command-r-08-2024", messages=TALK, max_tokens=100)


def ask_bedrock(url: str, key: str, model: str, stream: bool) -> None:
    settings = BotoConfig(signature_version=UNSIGNED)
    client = boto3.client("bedrock-runtime", region_name="us-east-1", endpoint_url=url + "/bedrock", config=settings)

    def add(request: Any, **_: Any) -> None:
        request.headers["Authorization"] = f"Bearer {key}"

    client.meta.events.register("before-sign.bedrock-runtime.*", add)
    call = client.converse_stream if stream else client.converse
    call(
        modelId=model or CLAUDE,
        messages=[{"role": "user", "content": [{"text": "hi"}]}],
        inferenceConfig={"maxTokens": 100},
    )


ASK: dict[str, Callable[[str, str, str, bool], None]] = {
    "openai": ask_openai, "anthropic": ask_anthropic, "gemini": ask_gemini, "mistral": ask_mistral,
    "cohere": ask_cohere, "bedrock": ask_bedrock,
}  # fmt: skip
COHERE = {401: cohere.UnauthorizedError, 403: cohere.ForbiddenError, 429: cohere.TooManyRequestsError}
OTHERS = {401: "AuthenticationError", 403: "PermissionDeniedError", 429: "RateLimitError"}
AWS = {401: "UnrecognizedClientException", 403: "AccessDeniedException", 429: "ServiceQuotaExceededException"}


def refused(gateway: Gateway, kind: str, key: str, status: int, *, model: str = "", stream: bool = False) -> str:
    """The SDK raises its exception for ``status``; answers its message."""
    ask = ASK[kind]
    expected: Any = {
        "openai": getattr(openai, OTHERS[status]), "anthropic": getattr(anthropic, OTHERS[status]),
        "gemini": genai_errors.ClientError, "mistral": mistral_errors.SDKError, "cohere": COHERE[status],
        "bedrock": ClientError,
    }[kind]  # fmt: skip
    with pytest.raises(expected) as caught:
        ask(gateway.url, key, model, stream)
    error: Any = caught.value
    if kind == "gemini":
        assert error.code == status
    elif kind == "mistral":
        assert error.status_code == status
    elif kind == "bedrock" and not (status == 429 and error.response["Error"]["Code"] == "ThrottlingException"):
        assert error.response["Error"]["Code"] == AWS[status]
    return str(error) + str(getattr(error, "body", ""))


def tries(gateway: Gateway, team: str) -> int:
    return sum(record["outcome"] == "rejected" and record["team"] == team for record in gateway.records())


TOLD_MORE = {("cohere", False): 3}
"""Cohere's SDK reads no ``x-should-retry``; it retries whole answers."""


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_quota_that_waiting_does_not_reopen_is_told_once(gateway: Gateway, kind: str, stream: bool) -> None:
    before = tries(gateway, "spent")
    assert "spent-total" in refused(gateway, kind, "sk-test-spent-key", 429, stream=stream)
    assert tries(gateway, "spent") - before == TOLD_MORE.get((kind, stream), 1)
    assert gateway.records(team="spent")[0]["status"] == (400 if kind == "bedrock" else 429)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("cohere", "bedrock")])
def test_no_sdk_sleeps_until_a_window_reopens_in_days(gateway: Gateway, kind: str) -> None:
    ASK[kind](gateway.url, "sk-test-month-key", "", False)
    before = tries(gateway, "month")
    assert "It resets at" in refused(gateway, kind, "sk-test-month-key", 429)
    assert tries(gateway, "month") - before == 1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "cohere"])
def test_a_call_that_is_larger_than_its_limit_is_told_once(gateway: Gateway, kind: str) -> None:
    before = tries(gateway, "large")
    assert "larger than the limit" in refused(gateway, kind, "sk-test-large-key", 429)
    assert tries(gateway, "large") - before == 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_key_a_forbidden_model_and_one_without_a_price(gateway: Gateway, kind: str) -> None:
    refused(gateway, kind, "sk-unknown", 401)
    before = tries(gateway, "narrow")
    refused(gateway, kind, "sk-test-narrow-key", 403)
    assert tries(gateway, "narrow") - before == 1
    assert "No price is known" in refused(gateway, kind, "sk-test-large-key", 403, model="a-model-nobody-lists")


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_where_waiting_helps_an_sdk_tries_again_after_the_time_it_was_told(gateway: Gateway, kind: str) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hold"}], "max_tokens": 100}
    if kind == "anthropic":
        body["model"] = "claude-sonnet-4-5"
    path = {"openai": "/openai/v1/chat/completions", "anthropic": "/anthropic/v1/messages"}[kind]
    headers = {"x-spendgate-key": "sk-test-busy-key", "Content-Type": "application/json"}
    request = urllib.request.Request(gateway.url + path, json.dumps(body).encode(), headers)
    first = threading.Thread(target=lambda: urllib.request.urlopen(request, timeout=20).close())
    first.start()
    while not any(row["quota"] == "busy" and row["reserved"] for row in gateway.get("/api/quotas")["quotas"]):
        time.sleep(0.01)
    before = tries(gateway, "busy")
    ASK[kind](gateway.url, "sk-test-busy-key", "", False)
    first.join()
    assert tries(gateway, "busy") - before == 1
