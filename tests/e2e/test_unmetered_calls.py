"""Calls that no one can count: a provider may be told to let none through, or those of some paths alone."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI, PermissionDeniedError
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, answer

KEY = "sk-test-unmetered"
CONFIG = """
[providers.openai]
kind = "openai"
base_url = "{url}"
api_key = "real"
unmetered_calls = "block"

[providers.some]
kind = "openai"
base_url = "{url}"
api_key = "real"
unmetered_calls = ["/v1/files*", "/v1/uploads*"]

[providers.open]
kind = "openai"
base_url = "{url}"
api_key = "real"

[providers.claude]
kind = "anthropic"
base_url = "{url}"
api_key = "real"
unmetered_calls = "block"

[[keys]]
id = "k"
secret = "sk-test-unmetered"
team = "t"
workflow = "w"
"""


def script(seen: Seen) -> Iterator[Step]:
    yield answer(json.dumps({"id": "x", "usage": {"prompt_tokens": 9, "completion_tokens": 2}}).encode())


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(script) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("unmetered"), CONFIG.format(url=upstream.url)) as running:
        yield running


def call(gateway: Gateway, method: str, path: str, **more: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    body = json.dumps({"model": "gpt-4o-mini", "prompt": "a cat", "messages": []})
    headers = {"x-spendgate-key": KEY, "content-type": "application/json"}
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    connection.request(method, path, body if method in ("POST", "PUT", "PATCH") else None, headers)
    reply = connection.getresponse()
    said = json.loads(reply.read() or b"null")
    connection.close()
    return reply.status, said


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/openai/v1/videos"),
        ("POST", "/v1/videos"),
        ("POST", "/openai/v1/fine_tuning/jobs"),
        ("POST", "/openai/v1/files"),
        ("PUT", "/openai/v1/files/x"),
        ("POST", "/some/v1/videos"),
        ("POST", "/some/v1/files/../videos"),
        ("POST", "/some/v1/files/%2e%2e/videos"),
        ("POST", "/claude/v1/files"),
    ],
)
def test_what_nobody_can_count_is_refused_and_never_sent(
    gateway: Gateway, upstream: Upstream, method: str, path: str
) -> None:
    before = len(upstream.seen)
    status, said = call(gateway, method, path)
    assert (status, len(upstream.seen)) == (403, before)
    message = said["error"]["message"]
    assert "unmetered_calls" in message
    assert path.rpartition("/")[2] in message


def test_a_method_that_means_another_is_that_one(gateway: Gateway, upstream: Upstream) -> None:
    before = len(upstream.seen)
    assert call(gateway, "GET", "/openai/v1/videos", x_http_method_override="POST")[0] == 403
    assert len(upstream.seen) == before


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/openai/v1/chat/completions"),
        ("POST", "/openai/v1/moderations"),
        ("POST", "/openai/v1/batches"),
        ("GET", "/openai/v1/videos/video_1"),
        ("DELETE", "/openai/v1/files/file_1"),
        ("POST", "/some/v1/files"),
        ("POST", "/some//v1/uploads/upload_1/parts?x=y"),
        ("POST", "/open/v1/videos"),
        ("POST", "/claude/v1/messages/count_tokens"),
    ],
)
def test_what_is_counted_is_free_or_is_allowed_goes_through(
    gateway: Gateway, upstream: Upstream, method: str, path: str
) -> None:
    before = len(upstream.seen)
    assert call(gateway, method, path)[0] == 200
    assert len(upstream.seen) == before + 1


def test_a_refusal_is_the_sdks_own_exception_and_has_a_record(gateway: Gateway) -> None:
    client = OpenAI(api_key=KEY, base_url=f"{gateway.url}/openai/v1", max_retries=0)
    with pytest.raises(PermissionDeniedError) as refused:
        client.vector_stores.create(name="x")
    assert refused.value.code == "unmetered_call"
    record = gateway.records()[0]
    assert (record["outcome"], record["path"], record["cost_nanousd"]) == ("rejected", "/v1/vector_stores", 0)


@pytest.mark.parametrize("value", ['"blok"', "false", '["v1/files"]', "[1]"])
def test_a_mistake_in_it_is_told_with_its_place(tmp_path: Path, value: str) -> None:
    config = CONFIG.format(url="http://127.0.0.1:9").replace('"block"', value, 1)
    told = Gateway(tmp_path, config).cli("check", check=False)
    assert told.returncode != 0
    assert "providers.openai.unmetered_calls" in told.stderr + told.stdout
    assert 'must be "allow", "block" or a list of patterns of paths, like ["/v1/files*"]' in told.stderr + told.stdout
