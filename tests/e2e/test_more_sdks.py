"""The SDKs of Mistral, Cohere, AWS, Groq and Ollama: parsed objects, exceptions, signatures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import cohere
import corpus
import groq
import httpx
import ollama
import pytest
from botocore import UNSIGNED
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config as BotoConfig
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from mistralai.client import Mistral
from mistralai.client import errors as mistral_errors
from support.gateway import Gateway
from support.replay import replay
from support.upstream import Upstream

KEY = "sk-test-more-sdks"
MISTRAL_TYPES = {401: "invalid_request_error", 403: "invalid_request_error", 429: "rate_limited"}
KINDS = ("mistral", "cohere", "bedrock", "groq", "ollama")
AWS_KEY, AWS_SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with replay({case.id: case for case in corpus.cases()}) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    providers = "".join(
        f'[providers.{kind}]\nkind = "{kind}"\nbase_url = "{upstream.url}"\napi_key = "real-{kind}-secret"\n'
        for kind in KINDS
    )
    config = f"""
{providers}
[providers.signed]
kind = "bedrock"
base_url = "{upstream.url}"
aws = {{ region = "us-east-1", access_key_id = "{AWS_KEY}", secret_access_key = "{AWS_SECRET}" }}

[[keys]]
id = "sdk"
secret = "{KEY}"
team = "research"
workflow = "evals"

[[keys]]
id = "poor"
secret = "sk-test-more-poor"
team = "poor"
workflow = "evals"

[[keys]]
id = "narrow"
secret = "sk-test-more-narrow"
team = "narrow"
workflow = "evals"
models = ["none-*"]

[[quotas]]
name = "poor-total"
match = {{ team = "poor" }}
requests = 0
window = "total"
"""
    with Gateway(tmp_path_factory.mktemp("more"), config) as running:
        yield running


def plain(value: Any) -> Any:
    """A parsed object as plain data."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", warnings=False)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)


def call_mistral(case: corpus.Case, url: str, key: str) -> Any:
    client = Mistral(server_url=url, api_key=key, client=httpx.Client(headers={"x-case": case.id}))
    body = json.loads(case.request_body)
    if case.api == "embeddings":
        return plain(client.embeddings.create(model=body["model"], inputs=body["input"]))
    messages = [{"role": "user", "content": "hi"}]
    if case.stream:
        return [plain(event) for event in client.chat.stream(model=body["model"], messages=messages)]
    return plain(client.chat.complete(model=body["model"], messages=messages))


def call_cohere(case: corpus.Case, url: str, key: str) -> Any:
    http = httpx.Client(headers={"x-case": case.id})
    body = json.loads(case.request_body)
    model = body.get("model", "command")
    if case.api == "cohere_v1_chat":
        client: Any = cohere.Client(api_key=key, base_url=url, httpx_client=http)
        if case.stream:
            return [plain(event) for event in client.chat_stream(message="hi", model=model)]
        return plain(client.chat(message="hi", model=model))
    v2: Any = cohere.ClientV2(api_key=key, base_url=url, httpx_client=http)
    messages = [{"role": "user", "content": "hi"}]
    if case.api == "cohere_v2_chat" and case.stream:
        return [plain(event) for event in v2.chat_stream(model=model, messages=messages)]
    if case.api == "cohere_v2_chat":
        return plain(v2.chat(model=model, messages=messages))
    return plain(v2.rerank(model=model, query="q", documents=["a", "b"]))


def boto(url: str, key: str | None, case: str) -> Any:
    """A client as boto3 makes it for a Bedrock API key; without a key it sends none."""
    settings = BotoConfig(signature_version=UNSIGNED, retries={"max_attempts": 0})
    client = boto3.client("bedrock-runtime", region_name="us-east-1", endpoint_url=url, config=settings)

    def add(request: Any, **_: Any) -> None:
        request.headers["x-case"] = case
        if key is not None:
            request.headers["Authorization"] = f"Bearer {key}"

    client.meta.events.register("before-sign.bedrock-runtime.*", add)
    return client


def call_bedrock(case: corpus.Case, url: str, key: str) -> Any:
    client = boto(url, key, case.id)
    model = case.path.split("/model/")[1].rsplit("/", 1)[0].replace("%3A", ":")
    messages = [{"role": "user", "content": [{"text": "hi"}]}]
    try:
        if case.api == "converse" and case.stream:
            return [plain(event) for event in client.converse_stream(modelId=model, messages=messages)["stream"]]
        if case.api == "converse":
            result = client.converse(modelId=model, messages=messages)
        elif case.stream:
            return [plain(e) for e in client.invoke_model_with_response_stream(modelId=model, body=b"{}")["body"]]
        else:
            return client.invoke_model(modelId=model, body=b"{}")["body"].read()
    except ClientError as error:
        return error.response["Error"]
    result.pop("ResponseMetadata")
    return plain(result)


def call_groq(case: corpus.Case, url: str, key: str) -> Any:
    client = groq.Groq(base_url=url, api_key=key, max_retries=0, default_headers={"x-case": case.id})
    body = json.loads(case.request_body)
    arguments: dict[str, Any] = {"model": body["model"], "messages": [{"role": "user", "content": "hi"}]}
    try:
        if case.stream:
            return [plain(chunk) for chunk in client.chat.completions.create(stream=True, **arguments)]
        return plain(client.chat.completions.create(**arguments))
    except groq.APIError as error:
        return type(error).__name__, error.body


def call_ollama(case: corpus.Case, url: str, key: str) -> Any:
    client = ollama.Client(host=url, headers={"x-case": case.id, "Authorization": f"Bearer {key}"})
    body = json.loads(case.request_body)
    if case.api == "ollama_chat":
        answer: Any = client.chat(model=body["model"], messages=[{"role": "user", "content": "hi"}], stream=case.stream)
    else:
        answer = client.generate(model=body["model"], prompt="hi", stream=case.stream)
    return [plain(part) for part in answer] if case.stream else plain(answer)


CALLS: dict[str, Callable[[corpus.Case, str, str], Any]] = {
    "mistral": call_mistral,
    "cohere": call_cohere,
    "bedrock": call_bedrock,
    "groq": call_groq,
    "ollama": call_ollama,
}
SKIPPED_APIS = ("cohere_v1_generate", "cohere_embed", "chat")
CASES = [
    p
    for p in corpus.of(*KINDS)
    if p.values[0] is None or p.values[0].api not in SKIPPED_APIS or p.values[0].kind in ("mistral", "groq")
]


@pytest.mark.parametrize("case", CASES)
def test_the_sdk_parses_the_same_through_the_gateway(gateway: Gateway, upstream: Upstream, case: corpus.Case) -> None:
    call = CALLS[case.kind]
    straight = call(case, upstream.url, "sk-any")
    before = len(gateway.records())
    through = call(case, f"{gateway.url}/{case.kind}", KEY)
    assert through == straight
    deadline = time.monotonic() + 5
    while len(records := gateway.records()) <= before and time.monotonic() < deadline:
        time.sleep(0.02)  # an SDK may leave a stream before its end
    assert len(records) == before + 1
    if case.usage is not None:
        assert {p: records[0]["usage"].get(p, 0) for p in corpus.PARTS} == {
            p: case.usage.get(p, 0) for p in corpus.PARTS
        }
        assert records[0]["usage_source"] == case.usage_source
        assert records[0]["model"] == case.model


def some(kind: str) -> corpus.Case:
    found = [case for case in corpus.cases() if case.kind == kind and not case.stream and case.status == 200]
    if not found:
        pytest.skip("no recorded exchanges")
    return next(case for case in found if case.api not in SKIPPED_APIS or kind in ("mistral", "groq"))


@pytest.mark.parametrize(
    ("key", "status"), [("sk-wrong", 401), ("sk-test-more-narrow", 403), ("sk-test-more-poor", 429)]
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_raises_the_sdks_own_exception(gateway: Gateway, kind: str, key: str, status: int) -> None:
    case, url = some(kind), f"{gateway.url}/{kind}"
    if kind == "mistral":
        with pytest.raises(mistral_errors.SDKError) as mistral:
            call_mistral(case, url, key)
        assert mistral.value.status_code == status
        # what other readers of Mistral's errors take for one, and show the text of
        told = json.loads(mistral.value.body)
        assert (told["object"], told["type"], told["param"]) == ("error", MISTRAL_TYPES[status], None)
        assert isinstance(told["code"], str)
        assert told["message"] == told.get("detail", told["message"])
    elif kind == "cohere":
        kinds = {401: cohere.UnauthorizedError, 403: cohere.ForbiddenError, 429: cohere.TooManyRequestsError}
        with pytest.raises(kinds[status]):
            call_cohere(case, url, key)
    elif kind == "bedrock":
        error = call_bedrock(case, url, key)
        codes = {401: "UnrecognizedClientException", 403: "AccessDeniedException", 429: "ServiceQuotaExceededException"}
        assert error["Code"] == codes[status]
    elif kind == "groq":
        names = {401: "AuthenticationError", 403: "PermissionDeniedError", 429: "RateLimitError"}
        assert call_groq(case, url, key)[0] == names[status]
    else:
        with pytest.raises(ollama.ResponseError) as refused:
            call_ollama(case, url, key)
        assert refused.value.status_code == status


def test_the_gateway_signs_for_bedrock_with_its_own_credentials(gateway: Gateway, upstream: Upstream) -> None:
    case = next(
        (c for c in corpus.cases() if c.kind == "bedrock" and c.status == 200 and c.path.endswith("%3A0/converse")),
        None,
    )
    if case is None:
        pytest.skip("no recorded exchanges")
    client = boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=gateway.url + "/signed",
        aws_access_key_id="the-caller-has-none",
        aws_secret_access_key="that-counts",
        config=BotoConfig(retries={"max_attempts": 0}),
    )

    def add(request: Any, **_: Any) -> None:
        request.headers["x-case"] = case.id
        request.headers["x-spendgate-key"] = KEY

    client.meta.events.register("before-sign.bedrock-runtime.*", add)
    model = case.path.split("/model/")[1].rsplit("/", 1)[0].replace("%3A", ":")
    client.converse(modelId=model, messages=[{"role": "user", "content": [{"text": "hi"}]}])
    seen = upstream.seen[-1]
    authorization = seen.header("authorization") or ""
    assert f"Credential={AWS_KEY}/" in authorization
    assert "the-caller-has-none" not in str(seen.headers)
    assert [name.lower() for name, _ in seen.headers].count("x-amz-date") == 1
    # the same request, signed by botocore for the same moment, has the same signature
    signed = authorization.split("SignedHeaders=")[1].split(",")[0].split(";")
    headers = {name: seen.header(name) or "" for name in signed if name not in ("host", "x-amz-date")}
    request = AWSRequest(method="POST", url=upstream.url + seen.target, data=seen.body, headers=headers)
    stamp = seen.header("x-amz-date") or ""
    request.context["timestamp"] = stamp
    signer = SigV4Auth(Credentials(AWS_KEY, AWS_SECRET), "bedrock", "us-east-1")
    request.headers["X-Amz-Date"] = stamp
    assert datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) is not None
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    assert authorization.endswith(f"Signature={signature}")
