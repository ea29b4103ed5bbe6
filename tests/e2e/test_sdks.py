"""Real, unmodified SDKs: what they get through the gateway equals what they get straight from the provider."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import anthropic
import corpus
import genai_prices
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors
from google.genai import types as genai_types
from support.gateway import Gateway
from support.replay import KEY
from support.upstream import Upstream

OPENAI_CALLS = {
    "chat": ("chat.completions", ("messages", "model")),
    "responses": ("responses", ("input", "model")),
    "completions": ("completions", ("prompt", "model")),
    "embeddings": ("embeddings", ("input", "model")),
}
PRICE_LISTS = {"openai": "openai", "anthropic": "anthropic", "gemini": "google"}


def dump(value: Any) -> Any:
    """A parsed object as plain data."""
    return value.model_dump(mode="json", warnings=False) if hasattr(value, "model_dump") else str(value)


def failure(error: Exception) -> tuple[str, Any]:
    """An SDK's exception: its type and what it read from the body."""
    return type(error).__name__, getattr(error, "body", getattr(error, "details", None))


class Called:
    """What one call through an SDK gave."""

    def __init__(self, parsed: Any, request_id: str | None = None) -> None:
        self.parsed = parsed
        self.request_id = request_id


def openai_arguments(case: corpus.Case) -> tuple[str, dict[str, Any]]:
    resource, names = OPENAI_CALLS[case.api]
    body = json.loads(case.request_body)
    arguments = {name: body.pop(name) for name in names if name in body}
    arguments.setdefault("model", "gpt-4o-mini")
    if case.api == "embeddings":
        arguments["encoding_format"] = body.pop("encoding_format", "float")
    body.pop("stream", None)
    return resource, {
        **arguments,
        **({"stream": True} if case.stream else {}),
        "extra_body": body,
        "extra_headers": {"x-case": case.id},
    }


def resource_of(client: Any, path: str) -> Any:
    for name in path.split("."):
        client = getattr(client, name)
    return client


def call_openai(case: corpus.Case, base_url: str, key: str) -> Called:
    client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0)
    path, arguments = openai_arguments(case)
    try:
        raw = resource_of(client, path).with_raw_response.create(**arguments)
        parsed = raw.parse()
        return Called(
            [dump(p) for p in parsed] if case.stream else dump(parsed), raw.headers.get("x-spendgate-request-id")
        )
    except openai.APIStatusError as error:
        return Called(failure(error), error.response.headers.get("x-spendgate-request-id"))


async def call_openai_async(case: corpus.Case, base_url: str, key: str) -> Called:
    client = openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0)
    path, arguments = openai_arguments(case)
    try:
        raw = await resource_of(client, path).with_raw_response.create(**arguments)
        parsed = raw.parse()
        result = [dump(p) async for p in parsed] if case.stream else dump(parsed)
        return Called(result, raw.headers.get("x-spendgate-request-id"))
    except openai.APIStatusError as error:
        return Called(failure(error), error.response.headers.get("x-spendgate-request-id"))


def anthropic_arguments(case: corpus.Case) -> dict[str, Any]:
    body = json.loads(case.request_body)
    arguments = {name: body.pop(name) for name in ("messages", "model", "max_tokens") if name in body}
    body.pop("stream", None)
    stream = {"stream": True} if case.stream else {}
    return {**arguments, **stream, "extra_body": body, "extra_headers": {"x-case": case.id}}


def call_anthropic(case: corpus.Case, base_url: str, key: str) -> Called:
    client = anthropic.Anthropic(base_url=base_url, api_key=key, max_retries=0)
    method = "count_tokens" if case.api == "count_tokens" else "create"
    try:
        raw = getattr(client.messages.with_raw_response, method)(**anthropic_arguments(case))
        parsed = raw.parse()
        return Called(
            [dump(p) for p in parsed] if case.stream else dump(parsed), raw.headers.get("x-spendgate-request-id")
        )
    except anthropic.APIStatusError as error:
        return Called(failure(error), error.response.headers.get("x-spendgate-request-id"))


async def call_anthropic_async(case: corpus.Case, base_url: str, key: str) -> Called:
    client = anthropic.AsyncAnthropic(base_url=base_url, api_key=key, max_retries=0)
    method = "count_tokens" if case.api == "count_tokens" else "create"
    try:
        raw = await getattr(client.messages.with_raw_response, method)(**anthropic_arguments(case))
        parsed = await raw.parse()
        result = [dump(p) async for p in parsed] if case.stream else dump(parsed)
        return Called(result, raw.headers.get("x-spendgate-request-id"))
    except anthropic.APIStatusError as error:
        return Called(failure(error), error.response.headers.get("x-spendgate-request-id"))


def genai_client(case: corpus.Case, base_url: str, key: str) -> genai.Client:
    version = "v1beta" if "/v1beta/" in case.path else "v1"
    options = genai_types.HttpOptions(base_url=base_url, api_version=version, headers={"x-case": case.id})
    return genai.Client(api_key=key, http_options=options, vertexai=False)


def genai_model(case: corpus.Case) -> str:
    return case.path.split("/models/")[1].split(":")[0]


def genai_dump(value: Any) -> Any:
    plain = dump(value)
    if isinstance(plain, dict):
        plain.pop("sdk_http_response", None)
    return plain


def genai_request_id(value: Any) -> str | None:
    headers = getattr(getattr(value, "sdk_http_response", None), "headers", None) or {}
    return {k.lower(): v for k, v in headers.items()}.get("x-spendgate-request-id")


def call_genai(case: corpus.Case, base_url: str, key: str) -> Called:
    client = genai_client(case, base_url, key)
    models = client.models
    model = genai_model(case)
    try:
        if case.api == "count_tokens":
            result = models.count_tokens(model=model, contents="hello")
        elif case.api == "gemini_embed":
            result = models.embed_content(model=model, contents="hello")
        elif case.stream:
            parts = list(models.generate_content_stream(model=model, contents="hello"))
            return Called([genai_dump(p) for p in parts], genai_request_id(parts[0]))
        else:
            result = models.generate_content(model=model, contents="hello")
        return Called(genai_dump(result), genai_request_id(result))
    except genai_errors.APIError as error:
        return Called(failure(error))


async def call_genai_async(case: corpus.Case, base_url: str, key: str) -> Called:
    client = genai_client(case, base_url, key)
    models = client.aio.models
    model = genai_model(case)
    if case.stream:
        parts = [part async for part in await models.generate_content_stream(model=model, contents="hello")]
        return Called([genai_dump(p) for p in parts], genai_request_id(parts[0]))
    if case.api != "generate_content":
        return call_genai(case, base_url, key)
    result = await models.generate_content(model=model, contents="hello")
    return Called(genai_dump(result), genai_request_id(result))


CALLS = {
    "openai": (call_openai, call_openai_async, "/v1"),
    "anthropic": (call_anthropic, call_anthropic_async, ""),
    "gemini": (call_genai, call_genai_async, ""),
}


def playable(kind: str) -> list[Any]:
    """The cases that this SDK's public methods can make."""
    apis = {
        "openai": tuple(OPENAI_CALLS),
        "anthropic": ("messages", "count_tokens"),
        "gemini": ("generate_content", "count_tokens", "gemini_embed"),
    }[kind]
    return [p for p in corpus.of(kind) if p.values[0] is None or p.values[0].api in apis]


ALL = [*playable("openai"), *playable("anthropic"), *playable("gemini")]


def check_record(gateway: Gateway, case: corpus.Case, called: Called) -> None:
    """The ledger says what the case expects, at the catalogue's price."""
    if called.request_id is None:
        return
    record = gateway.get("/api/requests/" + called.request_id)
    assert record["status"] == case.status
    assert record["outcome"] == "completed"
    assert record["team"] == "research"
    assert sum(line["nanousd"] for line in record["cost_lines"]) == record["cost_nanousd"]
    if case.usage is None:
        expected = "estimated" if case.billable and case.status == 200 else "none"
        assert record["usage_source"] == expected
        return
    assert record["model"] == case.model
    assert record["usage_source"] == "response"
    assert {part: record["usage"].get(part, 0) for part in corpus.PARTS} == {
        part: case.usage.get(part, 0) for part in corpus.PARTS
    }
    check_cost(case, record)


def check_cost(case: corpus.Case, record: dict[str, Any]) -> None:
    usage = case.usage or {}
    parts = {
        "input_tokens": usage.get("input_tokens_total", 0),
        "output_tokens": usage.get("output_tokens_total", 0),
        "cache_read_tokens": usage.get("cache_read_tokens", 0),
        "cache_write_tokens": usage.get("cache_write_tokens", 0),
        "input_audio_tokens": usage.get("input_audio_tokens", 0),
        "output_audio_tokens": usage.get("output_audio_tokens", 0),
        "web_searches": usage.get("web_search_requests", 0),
    }
    try:
        price = genai_prices.calc_price(
            genai_prices.Usage(**parts),
            case.model,
            provider_id=PRICE_LISTS[case.kind],
            price_context={"service_tier": record["service_tier"]} if record["service_tier"] else None,
        )
    except LookupError:
        assert not record["priced"]
        return
    assert record["priced"]
    exact = price.total_price * Decimal(10**9)
    assert abs(Decimal(record["cost_nanousd"]) - exact) <= len(record["cost_lines"])


@pytest.mark.parametrize("case", ALL)
def test_a_sync_sdk_parses_the_same_and_the_ledger_is_exact(
    gateway: Gateway, upstream: Upstream, case: corpus.Case
) -> None:
    call, _, path = CALLS[case.kind]
    straight = call(case, upstream.url + path, "sk-any")
    through = call(case, f"{gateway.url}/{case.kind}{path}", KEY)
    assert through.parsed == straight.parsed
    check_record(gateway, case, through)


@pytest.mark.parametrize("case", ALL)
async def test_an_async_sdk_parses_the_same(gateway: Gateway, upstream: Upstream, case: corpus.Case) -> None:
    _, call, path = CALLS[case.kind]
    straight = await call(case, upstream.url + path, "sk-any")
    through = await call(case, f"{gateway.url}/{case.kind}{path}", KEY)
    assert through.parsed == straight.parsed


def test_the_virtual_key_never_reaches_the_provider(gateway: Gateway, upstream: Upstream) -> None:
    for seen in upstream.seen:
        if seen.header("authorization") != "Bearer sk-any":
            assert KEY not in str(seen.headers) + seen.target
        assert not any(name.lower().startswith("x-spendgate") for name, _ in seen.headers)


@pytest.mark.parametrize(
    ("key", "exception", "status"),
    [("sk-wrong", "AuthenticationError", 401), ("sk-test-narrow-key", "PermissionDeniedError", 403),
     ("sk-test-poor-key", "RateLimitError", 429)],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_refusal_raises_the_sdks_own_exception(
    gateway: Gateway, kind: str, key: str, exception: str, status: int
) -> None:
    module: Any = openai if kind == "openai" else anthropic
    if kind == "openai":
        create = openai.OpenAI(base_url=gateway.url + "/openai/v1", api_key=key).chat.completions.create
    else:
        create = anthropic.Anthropic(base_url=gateway.url + "/anthropic", api_key=key).messages.create
    with pytest.raises(getattr(module, exception)) as caught:
        create(
            model="gpt-4o-mini" if kind == "openai" else "claude-sonnet-4-5",
            max_tokens=10,
            messages=[{"role": "user", "content": "hi"}],
        )
    response = caught.value.response
    assert response.status_code == status
    record = gateway.get("/api/requests/" + response.headers["x-spendgate-request-id"])
    assert record["outcome"] == "rejected"
    assert record["cost_nanousd"] == 0
    if status == 429:
        assert record["refused_by"] == "poor-total"
        assert response.headers["x-should-retry"] == "false"
        assert "poor-total" in caught.value.message


@pytest.mark.parametrize(("key", "status"), [("sk-wrong", 401), ("sk-test-narrow-key", 403), ("sk-test-poor-key", 429)])
def test_a_refusal_is_an_api_error_of_google_genai(gateway: Gateway, key: str, status: int) -> None:
    options = genai_types.HttpOptions(base_url=gateway.url + "/gemini")
    client = genai.Client(api_key=key, http_options=options, vertexai=False)
    with pytest.raises(genai_errors.ClientError) as caught:
        client.models.generate_content(model="gemini-2.5-flash", contents="hi")
    assert caught.value.code == status
