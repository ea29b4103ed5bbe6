"""Names that are no text (half a surrogate pair, NUL, no UTF-8): the call passes and is written down."""

from __future__ import annotations

import http.client
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, answer
from usages import sse

KEY = "sk-test-names"
CONFIG = """
[[keys]]
id = "k"
secret = "sk-test-names"
team = "t"
workflow = "w"

[[keys]]
id = "narrow"
secret = "sk-test-names-narrow"
team = "n"
workflow = "w"
models = ["none-*"]

[[quotas]]
name = "models"
match = { team = "t" }
per = ["model"]
usd = 100.0
window = "day"
"""
USAGE = b'"usage":{"prompt_tokens":3,"completion_tokens":4,"input_tokens":3,"output_tokens":4}'
ODD = rb"m\ud800\u0000\udfff"
ANSWERS: dict[str, tuple[str, bytes]] = {
    "plain": ("application/json", b'{"model":"gpt-4o",' + USAGE + b"}"),
    "odd": ("application/json", b'{"model":"' + ODD + b'","service_tier":"' + ODD + b'",' + USAGE + b"}"),
    "anthropic": ("application/json", b'{"type":"message","model":"' + ODD + b'","usage":{"input_tokens":3,'
                  b'"output_tokens":4,"service_tier":"' + ODD + b'","inference_geo":"' + ODD + b'"}}'),
    "gemini": ("application/json", b'{"modelVersion":"' + ODD + b'","usageMetadata":{"promptTokenCount":3,'
               b'"candidatesTokenCount":4,"serviceTier":"' + ODD + b'"}}'),
    "no usage": ("application/json", b'{"model":"gpt-4o","choices":[{"message":{"content":"' + ODD + b'"}}]}'),
    "no usage, other model": ("application/json", b'{"model":"x","choices":[{"message":{"content":"' + ODD + b'"}}]}'),
    "stream": ("text/event-stream", b'data: {"model":"' + ODD + b'","choices":[{"delta":{"content":"' + ODD
               + b'"}}]}\n\n' + sse(done=True)),
}  # fmt: skip
CHAT = "/openai/v1/chat/completions"
GEMINI = "/gemini/v1beta/models/gemini-2.5-flash"
PLAIN = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}'
CALLS: dict[str, tuple[str, bytes, dict[str, str], str]] = {
    "a request's model": (CHAT, PLAIN.replace(b"gpt-4o", ODD), {}, "plain"),
    "a request's text": (CHAT, PLAIN.replace(b"hi", ODD * 50), {}, "no usage"),
    "a request's text, another model": (CHAT, PLAIN.replace(b"hi", ODD * 9), {}, "no usage, other model"),
    "a request's keys": (CHAT, PLAIN.replace(b"{", b'{"' + ODD + b'":1,', 1), {}, "plain"),
    "a request's tier": (CHAT, PLAIN.replace(b"{", b'{"service_tier":"' + ODD + b'",', 1), {}, "plain"),
    "an answer's model and tier": (CHAT, PLAIN, {}, "odd"),
    "a stream's": (CHAT, PLAIN.replace(b"{", b'{"stream":true,', 1), {}, "stream"),
    "anthropic's": ("/anthropic/v1/messages", PLAIN.replace(b"gpt-4o", ODD), {}, "anthropic"),
    "gemini's": (GEMINI + ":generateContent", b'{"' + ODD + b'":1,"serviceTier":"' + ODD + b'"}', {}, "gemini"),
    "a path": ("/gemini/v1beta/models/%00%ed%a0%80:generateContent", b'{"contents":[]}', {}, "gemini"),
    "a form's model": ("/openai/v1/audio/transcriptions",
                       b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\x00\xed\xa0\x80\r\n--b--\r\n',
                       {"content-type": "multipart/form-data; boundary=b"}, "plain"),
    "a workflow": (CHAT, PLAIN, {"x-spendgate-workflow": "w\xff\xed\xa0\x80"}, "plain"),
    "a tag": (CHAT, PLAIN, {"x-spendgate-tag-env": "\xff\xed\xa0\x80"}, "plain"),
    "a trace": (CHAT, PLAIN, {"traceparent": "00-\xff-\xed-01"}, "plain"),
}  # fmt: skip


def script(seen: Seen) -> Iterable[Step]:
    content_type, body = ANSWERS[seen.header("x-play") or "plain"]
    return [answer(body, content_type)]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Upstream(script) as upstream:
        providers = "".join(
            f'[providers.{kind}]\nkind = "{kind}"\nbase_url = "{upstream.url}"\napi_key = "real"\n'
            for kind in ("openai", "anthropic", "gemini")
        )
        with Gateway(tmp_path_factory.mktemp("names"), providers + CONFIG) as running:
            yield running


def ask(gateway: Gateway, path: str, body: bytes, headers: dict[str, str], key: str = KEY) -> tuple[int, bytes, str]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    connection.request("POST", path, body, {"content-type": "application/json", "x-spendgate-key": key, **headers})
    response = connection.getresponse()
    found = response.status, response.read(), response.headers["x-spendgate-request-id"]
    connection.close()
    return found


@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_text_passes_and_is_written_down(gateway: Gateway, name: str) -> None:
    path, body, headers, play = CALLS[name]
    status, got, request_id = ask(gateway, path, body, {**headers, "x-play": play})
    assert (status, got) == (200, ANSWERS[play][1])
    record: dict[str, Any] = gateway.get(f"/api/requests/{request_id}")
    assert record["outcome"] == "completed"
    assert record["usage_source"] == ("response" if "usage" in got.decode("latin-1") else "estimated")
    assert b"\n" not in str(record).encode()
    assert "spendgate_requests_total" in gateway.metrics()


def test_a_model_whose_name_is_no_text_is_refused_in_words(gateway: Gateway) -> None:
    status, got, request_id = ask(gateway, CHAT, PLAIN.replace(b"gpt-4o", ODD), {}, KEY + "-narrow")
    assert (status, b"models" in got or b"model" in got) == (403, True)
    assert gateway.get(f"/api/requests/{request_id}")["outcome"] == "rejected"


def test_the_ledger_can_be_read_after_all_this(gateway: Gateway) -> None:
    assert gateway.cli("ledger", "export").returncode == 0
    assert gateway.cli("report", "--by", "model", "--format", "json").returncode == 0
    assert "Traceback" not in gateway.log()
