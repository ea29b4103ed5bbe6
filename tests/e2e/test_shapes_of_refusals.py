"""A provider that speaks several APIs refuses in the shape of the one that was called, whatever comes to be refused."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors
from google.genai import types as genai_types
from support.gateway import Gateway

KINDS = ("anthropic", "bedrock", "gemini", "ollama", "openrouter", "simulated", "vertex")
CONFIG = (
    "".join(
        f'[providers.{kind}]\nkind = "{kind}"\n'
        + ("" if kind == "simulated" else 'base_url = "http://127.0.0.1:9"\napi_key = "real"\n')
        for kind in KINDS
    )
    + """
[[keys]]
id = "narrow"
secret = "sk-test-narrow"
team = "t"
workflow = "w"
models = ["none"]
"""
)
ON_VERTEX = "/vertex/v1/projects/p/locations/l"
OPENAIS = ("anthropic/v1", "bedrock/openai/v1", "gemini/v1beta/openai", "ollama/v1", "openrouter/api/v1",
           "simulated/v1", "vertex/v1/projects/p/locations/l/endpoints/openapi")  # fmt: skip
ANTHROPICS = ("/anthropic/v1/messages", "/openrouter/api/v1/messages", "/simulated/v1/messages",
              "/simulated/v1/messages/count_tokens", ON_VERTEX + "/publishers/anthropic/models/m:rawPredict",
              ON_VERTEX + "/publishers/anthropic/models/count-tokens:rawPredict")  # fmt: skip
GOOGLES = ("/gemini/v1beta/models/m:generateContent", "/simulated/v1beta/models/m:generateContent",
           ON_VERTEX + "/publishers/google/models/m:generateContent")  # fmt: skip
OTHERS = ("/bedrock/model/m/converse", "/ollama/api/chat")
WRONG, NARROW = "sk-test-nobody", "sk-test-narrow"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("shapes"), CONFIG) as running:
        yield running


def refused(gateway: Gateway, path: str, key: str, body: bytes = b'{"model": "m", "messages": []}') -> tuple[int, Any]:
    request = urllib.request.Request(gateway.url + path, data=body, method="POST")
    request.add_header("x-spendgate-key", key)
    request.add_header("Content-Type", "application/json")
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request, timeout=10)
    return error.value.code, json.load(error.value)


@pytest.mark.parametrize(
    ("key", "body", "status"),
    [(WRONG, b"{}", 401), (NARROW, b'{"model": "m", "messages": []}', 403), (NARROW, b"no json", 400)],
    ids=["key", "model", "json"],
)
def test_each_path_is_refused_in_its_own_shape(gateway: Gateway, key: str, body: bytes, status: int) -> None:
    for base in OPENAIS:
        code, told = refused(gateway, f"/{base}/chat/completions", key, body)
        assert (code, set(told["error"])) == (status, {"message", "type", "param", "code"}), base
    for path in ANTHROPICS:
        code, told = refused(gateway, path, key, body)
        assert (code, told["type"], set(told["error"])) == (status, "error", {"type", "message"}), path
    for path in GOOGLES:
        code, told = refused(gateway, path, key, body)
        assert (code, told["error"]["code"]) == (status, status), path
        assert told["error"]["status"].isupper(), path
    for path in OTHERS:
        code, told = refused(gateway, path, key, body)
        assert code == status, path
        assert isinstance(told.get("message", told.get("error")), str), path


def test_sdks_tell_what_the_simulated_provider_refuses(gateway: Gateway) -> None:
    base = gateway.url + "/simulated"
    with pytest.raises(openai.AuthenticationError, match="unknown, expired") as no_openai:
        openai.OpenAI(base_url=base + "/v1", api_key=WRONG).chat.completions.create(model="m", messages=[])
    assert no_openai.value.code == "invalid_api_key"
    with pytest.raises(anthropic.AuthenticationError, match="authentication_error"):
        anthropic.Anthropic(base_url=base, api_key=WRONG).messages.create(model="m", messages=[], max_tokens=1)
    google = genai.Client(api_key=WRONG, http_options=genai_types.HttpOptions(base_url=base))
    with pytest.raises(genai_errors.ClientError, match="401 UNAUTHENTICATED"):
        google.models.generate_content(model="m", contents="hi")
