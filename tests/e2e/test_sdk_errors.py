"""Eight real SDKs raise their own exceptions: on a refusal of the gateway, and on an error of the provider's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import anthropic
import boto3
import cohere
import groq
import httpx
import ollama
import openai
import pytest
from botocore import UNSIGNED
from botocore.config import Config as BotoConfig
from botocore.exceptions import ClientError
from cohere.core.api_error import ApiError
from google import genai
from google.genai import errors as genai_errors
from google.genai import types as genai_types
from mistralai.client import Mistral
from mistralai.client import errors as mistral_errors
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, answer

KEY, NARROW, POOR = "sk-test-errors", "sk-test-errors-narrow", "sk-test-errors-poor"
CONFIG = """
[[keys]]
id = "sdk"
secret = "sk-test-errors"
team = "research"
workflow = "evals"

[[keys]]
id = "narrow"
secret = "sk-test-errors-narrow"
team = "narrow"
workflow = "evals"
models = ["none-*"]

[[keys]]
id = "poor"
secret = "sk-test-errors-poor"
team = "poor"
workflow = "evals"

[[quotas]]
name = "poor-total"
match = { team = "poor" }
requests = 0
window = "total"
"""
OPENAI_ERROR = b'{"error":{"message":"so it is","type":"server_error","param":null,"code":null}}'
ERRORS = {
    "openai": OPENAI_ERROR,
    "groq": OPENAI_ERROR,
    "anthropic": b'{"type":"error","error":{"type":"api_error","message":"so it is"}}',
    "gemini": b'{"error":{"code":%d,"message":"so it is","status":"INTERNAL"}}',
    "mistral": b'{"object":"error","message":"so it is","type":"invalid_request_error","code":"1"}',
    "cohere": b'{"message":"so it is"}',
    "bedrock": b'{"message":"so it is"}',
    "ollama": b'{"error":"so it is"}',
}
AWS_TYPES = {400: "ValidationException", 429: "ThrottlingException", 500: "InternalServerException"}
MESSAGES: Any = [{"role": "user", "content": "hi"}]


def script(seen: Seen) -> Iterable[Step]:
    """The error that ``x-error`` names, in the shape of the provider that ``x-kind`` names."""
    status, kind = int(seen.header("x-error") or 500), seen.header("x-kind") or "openai"
    body = ERRORS[kind] % status if kind == "gemini" else ERRORS[kind]
    headers = {"x-amzn-errortype": AWS_TYPES[status]} if kind == "bedrock" else {}
    return [answer(body, status=status, headers=headers)]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(script) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    providers = "".join(
        f'[providers.{kind}]\nkind = "{kind}"\nbase_url = "{upstream.url}"\napi_key = "real-{kind}"\n'
        for kind in ERRORS
    )
    with Gateway(tmp_path_factory.mktemp("errors"), providers + CONFIG) as running:
        yield running


def spent(answer: Any, stream: bool) -> None:
    for _ in answer if stream else ():
        pass


def call_openai(url: str, key: str, headers: dict[str, str], stream: bool) -> None:
    client = openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0, default_headers=headers)
    spent(client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, stream=stream), stream)


def call_groq(url: str, key: str, headers: dict[str, str], stream: bool) -> None:
    client = groq.Groq(base_url=url, api_key=key, max_retries=0, default_headers=headers)
    spent(client.chat.completions.create(model="llama-3.3-70b", messages=MESSAGES, stream=stream), stream)


def call_anthropic(url: str, key: str, headers: dict[str, str], stream: bool) -> None:
    client = anthropic.Anthropic(base_url=url, api_key=key, max_retries=0, default_headers=headers)
    spent(client.messages.create(model="claude-sonnet-4-5", max_tokens=9, messages=MESSAGES, stream=stream), stream)


def call_gemini(url: str, key: str, headers: dict[str, str], stream: bool) -> None:
    options = genai_types.HttpOptions(base_url=url, headers=headers)
    client = genai.Client(api_key=key, http_options=options, vertexai=False)
    if stream:
        spent(client.models.generate_content_stream(model="gemini-2.5-flash", contents="hi"), stream)
    else:
        client.models.generate_content(model="gemini-2.5-flash", contents="hi")


def call_mistral(url: str, key: str, headers: dict[str, str], stream: bool) -> None:
    client = Mistral(server_url=url, api_key=key, client=httpx.Client(headers=headers))
    chat = client.chat.stream if stream else client.chat.complete
    spent(chat(model="mistral-small", messages=MESSAGES), stream)


def call_cohere(url: str, key: str, headers: dict[str, str], stream: bool) -> None:
    client = cohere.ClientV2(api_key=key, base_url=url, httpx_client=httpx.Client(headers=headers))
    chat: Any = client.chat_stream if stream else client.chat
    spent(chat(model="command-r", messages=MESSAGES, request_options={"max_retries": 0}), stream)


def call_bedrock(url: str, key: str, headers: dict[str, str], stream: bool) -> None:
    settings = BotoConfig(signature_version=UNSIGNED, retries={"max_attempts": 0})
    client = boto3.client("bedrock-runtime", region_name="us-east-1", endpoint_url=url, config=settings)

    def add(request: Any, **_: Any) -> None:
        for name, value in {**headers, "Authorization": f"Bearer {key}"}.items():
            request.headers[name] = value

    client.meta.events.register("before-sign.bedrock-runtime.*", add)
    messages = [{"role": "user", "content": [{"text": "hi"}]}]
    converse = client.converse_stream if stream else client.converse
    spent(converse(modelId="amazon.nova-lite-v1:0", messages=messages).get("stream"), stream)


def call_ollama(url: str, key: str, headers: dict[str, str], stream: bool) -> None:
    client = ollama.Client(host=url, headers={**headers, "Authorization": f"Bearer {key}"})
    spent(client.chat(model="llama3.2", messages=MESSAGES, stream=stream), stream)


CALLS: dict[str, Callable[[str, str, dict[str, str], bool], None]] = {
    "openai": call_openai,
    "groq": call_groq,
    "anthropic": call_anthropic,
    "gemini": call_gemini,
    "mistral": call_mistral,
    "cohere": call_cohere,
    "bedrock": call_bedrock,
    "ollama": call_ollama,
}
OPENAI_LIKE = {401: "AuthenticationError", 403: "PermissionDeniedError", 429: "RateLimitError"}
OWN: dict[str, dict[int, str]] = {
    "openai": OPENAI_LIKE,
    "groq": OPENAI_LIKE,
    "anthropic": OPENAI_LIKE,
    "gemini": dict.fromkeys((401, 403, 429), "ClientError"),
    "mistral": dict.fromkeys((401, 403, 429), "SDKError"),
    "cohere": {401: "UnauthorizedError", 403: "ForbiddenError", 429: "TooManyRequestsError"},
    "bedrock": {401: "UnrecognizedClientException", 403: "AccessDeniedException", 429: "ServiceQuotaExceededException"},
    "ollama": dict.fromkeys((401, 403, 429), "ResponseError"),
}
"""Status of a refusal → the exception's name in the provider's own SDK."""
OF_SDKS = (
    openai.APIStatusError, groq.APIStatusError, anthropic.APIStatusError, genai_errors.APIError,
    mistral_errors.MistralError, ApiError, ClientError, ollama.ResponseError,
)  # fmt: skip


def raised(kind: str, url: str, key: str, stream: bool, status: int = 500) -> tuple[str, int, str]:
    """The exception of an SDK: its name, its status, and all that it says."""
    with pytest.raises(OF_SDKS) as caught:
        CALLS[kind](url, key, {"x-error": str(status), "x-kind": kind}, stream)
    error: Any = caught.value
    if isinstance(error, ClientError):
        found = error.response
        return found["Error"]["Code"], found["ResponseMetadata"]["HTTPStatusCode"], str(error)
    code = getattr(error, "status_code", None) or getattr(error, "code", 0)
    # Cohere's text holds the answer's fields too, of which one is the gateway's own
    return type(error).__name__, code, str(getattr(error, "body", None) or error)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("key", "status"), [("sk-wrong", 401), (NARROW, 403), (POOR, 429)])
@pytest.mark.parametrize("kind", CALLS)
def test_a_refusal_raises_the_sdks_own_exception(
    gateway: Gateway, upstream: Upstream, kind: str, key: str, status: int, stream: bool
) -> None:
    before = len(upstream.seen)
    name, code, said = raised(kind, f"{gateway.url}/{kind}", key, stream)
    assert name == OWN[kind][status]
    assert code == (400 if (kind, status) == ("bedrock", 429) else status)
    if status == 429:
        assert "poor-total" in said
    assert len(upstream.seen) == before


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("status", [400, 429, 500])
@pytest.mark.parametrize("kind", CALLS)
def test_an_error_of_the_provider_raises_the_same_exception_as_without_the_gateway(
    gateway: Gateway, upstream: Upstream, kind: str, status: int, stream: bool
) -> None:
    straight = raised(kind, upstream.url, "sk-any", stream, status)
    through = raised(kind, f"{gateway.url}/{kind}", KEY, stream, status)
    assert through == straight
    assert (through[1], "so it is" in through[2]) == (status, True)
