"""Request bodies that come compressed: what is metered goes on as it was read, anything else as it came."""

from __future__ import annotations

import gzip
import json
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterable, Iterator

import brotli
import pytest
import zstandard
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream

KEY = "sk-test-coded"
CONFIG = """
[server]
max_body_bytes = 100000

[providers.p]
kind = "openai"
base_url = "{url}"
api_key = "sk-real"

[[keys]]
id = "k"
secret = "sk-test-coded"
team = "t"
workflow = "w"

[[keys]]
id = "bound"
secret = "sk-test-coded-bound"
team = "t"
workflow = "w"
models = ["gpt-4o-mini"]
"""
ANSWER = json.dumps({"model": "gpt-4o-mini", "usage": {"prompt_tokens": 3, "completion_tokens": 4}}).encode()
BODY = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}).encode()
CODINGS = {
    "gzip": gzip.compress(BODY, mtime=0),
    "deflate": zlib.compress(BODY),
    "br": brotli.compress(BODY),
    "zstd": zstandard.compress(BODY),
    "gzip, zstd": zstandard.compress(gzip.compress(BODY, mtime=0)),
}


def script(_: Seen) -> Iterable[Step]:
    return [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(script) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("coded"), CONFIG.format(url=upstream.url)) as running:
        yield running


def call(gateway: Gateway, path: str, coding: str, body: bytes, key: str = KEY) -> tuple[int, bytes, str]:
    request = urllib.request.Request(f"{gateway.url}/p{path}", data=body, method="POST")
    request.add_header("Authorization", f"Bearer {key}")
    request.add_header("Content-Type", "application/json")
    request.add_header("Content-Encoding", coding)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read(), answer.headers["x-spendgate-request-id"]
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers["x-spendgate-request-id"]


@pytest.mark.parametrize("coding", CODINGS)
def test_what_is_metered_is_read_and_goes_on_without_its_coding(
    gateway: Gateway, upstream: Upstream, coding: str
) -> None:
    # the second head is known byte for byte but for its length
    for _ in range(2):
        status, answer, request_id = call(gateway, "/v1/chat/completions", coding, CODINGS[coding])
        assert (status, answer) == (200, ANSWER)
        assert upstream.seen[-1].body == BODY
        assert upstream.seen[-1].header("content-encoding") is None
        record = gateway.get(f"/api/requests/{request_id}")
        assert (record["model_requested"], record["request_bytes"]) == ("gpt-4o-mini", len(CODINGS[coding]))
        assert record["cost_nanousd"] == 3 * 150 + 4 * 600


def test_a_stream_is_asked_for_its_usage_as_if_it_had_come_plain(gateway: Gateway, upstream: Upstream) -> None:
    body = json.dumps({"model": "gpt-4o-mini", "messages": [], "stream": True}).encode()
    assert call(gateway, "/v1/chat/completions", "gzip", gzip.compress(body))[0] == 200
    assert json.loads(upstream.seen[-1].body)["stream_options"] == {"include_usage": True}
    assert upstream.seen[-1].header("content-encoding") is None


@pytest.mark.parametrize(
    ("coding", "body"),
    [*CODINGS.items(), ("aes128gcm", b"\0\1"), ("gzip", b"no gzip")],
    ids=[*CODINGS, "unknown", "no gzip"],
)
def test_what_is_not_metered_goes_on_as_it_came(gateway: Gateway, upstream: Upstream, coding: str, body: bytes) -> None:
    assert call(gateway, "/v1/files", coding, body)[0] == 200
    assert upstream.seen[-1].body == body
    assert upstream.seen[-1].header("content-encoding") == coding


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("aes128gcm", BODY),
        ("gzip", b"no gzip"),
        ("gzip", gzip.compress(BODY + b" " * 100_000, mtime=0)),
        ("gzip, gzip, gzip, gzip, gzip", BODY),
    ],
    ids=["unknown", "broken", "too large", "too many"],
)
def test_what_can_not_be_read_is_refused_and_why(
    gateway: Gateway, upstream: Upstream, coding: str, body: bytes
) -> None:
    before = len(upstream.seen)
    for path in ("/v1/chat/completions", "/v1/audio/transcriptions"):
        status, answer, _ = call(gateway, path, coding, body)
        assert status == 400
        assert f'its Content-Encoding is "{coding}"' in json.loads(answer)["error"]["message"]
    # nor may it hide a model
    assert call(gateway, "/v1/videos", coding, body, "sk-test-coded-bound")[0] == 400
    assert len(upstream.seen) == before


def test_a_coding_hides_no_model_that_may_not_be_used(gateway: Gateway, upstream: Upstream) -> None:
    before = len(upstream.seen)
    body = gzip.compress(json.dumps({"model": "gpt-4o", "messages": []}).encode())
    assert call(gateway, "/v1/chat/completions", "gzip", body, "sk-test-coded-bound")[0] == 403
    assert call(gateway, "/v1/videos", "gzip", body, "sk-test-coded-bound")[0] == 403
    assert len(upstream.seen) == before
