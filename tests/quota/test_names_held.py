"""What is held where a model's name is not what answers, or a request is not what it seems."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, answer

from gateway.wire import dialects
from gateway.wire.facts import Facts

KEY = "sk-test-names"
CONFIG = """
[providers.azure]
kind = "azure"
base_url = "{url}"
api_key = "sk-real"

[[keys]]
id = "k"
secret = "sk-test-names"
team = "t"
workflow = "w"
models = ["small*", "gpt-4o"]

[[quotas]]
name = "budget"
usd = 1000.0
window = "total"
"""
CHAT = {"max_tokens": 1000, "messages": [{"role": "user", "content": "hi"}]}


def script(seen: Seen) -> Iterator[Step]:
    usage = {"prompt_tokens": 9, "completion_tokens": 2}
    yield answer(json.dumps({"model": "gpt-4o-2024-11-20", "choices": [], "usage": usage}).encode())


def call(gateway: Gateway, deployment: str, **more: Any) -> int:
    connection = http.client.HTTPConnection(gateway.url.partition("//")[2], timeout=20)
    path = f"/azure/openai/deployments/{deployment}/chat/completions?api-version=2024-10-21"
    headers = {"x-spendgate-key": KEY, "content-type": "application/json"}
    connection.request("POST", path, json.dumps({**CHAT, **more}), headers)
    reply = connection.getresponse()
    reply.read()
    connection.close()
    return reply.status


def test_azure_answers_with_the_deployment_of_the_path_whatever_model_the_body_names(tmp_path: Path) -> None:
    with Upstream(script) as upstream, Gateway(tmp_path, CONFIG.format(url=upstream.url)) as gateway:
        assert call(gateway, "large", model="small") == 403
        assert call(gateway, "small", model="small-1") == 200
        assert len(upstream.seen) == 1


def test_a_deployment_without_a_price_is_held_at_that_of_the_model_that_it_is_said_to_be_or_was(tmp_path: Path) -> None:
    with Upstream(script) as upstream, Gateway(tmp_path, CONFIG.format(url=upstream.url)) as gateway:
        assert call(gateway, "small-told", model="gpt-4o") == 200
        assert call(gateway, "small-new") == 200
        assert call(gateway, "small-new") == 200
        held = [record["reserved_nanousd"] for record in sorted(gateway.records(), key=lambda one: one["started_at"])]
        assert held[0] > 1000 * 10_000
        assert held[1] == 0
        assert held[2] > 1000 * 10_000


ROUTED = """
[providers.aws]
kind = "bedrock"
base_url = "{url}"
api_key = "real"

[[keys]]
id = "k"
secret = "sk-test-names"
team = "t"
workflow = "w"
"""


def test_a_prompt_router_is_held_and_charged_at_the_price_of_the_model_that_it_chose(tmp_path: Path) -> None:
    chosen = "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0"

    def routed(seen: Seen) -> Iterator[Step]:
        usage = {"inputTokens": 1000, "outputTokens": 1000, "totalTokens": 2000}
        yield answer(json.dumps({"usage": usage, "trace": {"promptRouter": {"invokedModelId": chosen}}}).encode())

    router = "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Adefault-prompt-router%2Fanthropic.claude%3A1"
    asked = {"messages": [{"role": "user", "content": [{"text": "hi"}]}], "inferenceConfig": {"maxTokens": 1000}}
    with Upstream(routed) as upstream, Gateway(tmp_path, ROUTED.format(url=upstream.url)) as gateway:
        for _ in range(2):
            connection = http.client.HTTPConnection(gateway.url.partition("//")[2], timeout=20)
            headers = {"x-spendgate-key": KEY, "content-type": "application/json"}
            connection.request("POST", f"/aws/model/{router}/converse", json.dumps(asked), headers)
            assert connection.getresponse().status == 200
            connection.close()
        first, second = sorted(gateway.records(), key=lambda one: one["started_at"])
        assert (first["reserved_nanousd"], first["cost_nanousd"]) == (0, 1_500_000)
        assert second["reserved_nanousd"] >= second["cost_nanousd"] == 1_500_000


STORED = """
[providers.openai]
kind = "openai"
base_url = "{url}"
api_key = "sk-real"

[[keys]]
id = "k"
secret = "sk-test-names"
team = "t"
workflow = "w"

[[quotas]]
name = "budget"
usd = 1000.0
window = "total"
"""


def test_a_stored_prompt_whose_model_no_request_names_is_held_at_the_dearest_that_answered(tmp_path: Path) -> None:
    models = iter(["gpt-4o-mini", "gpt-4o", "gpt-4o-mini", "gpt-4o-mini"])

    def told(seen: Seen) -> Iterator[Step]:
        usage = {"input_tokens": 9, "output_tokens": 2}
        yield answer(json.dumps({"model": next(models), "status": "completed", "output": [], "usage": usage}).encode())

    with Upstream(told) as upstream, Gateway(tmp_path, STORED.format(url=upstream.url)) as gateway:
        body = json.dumps({"prompt": {"id": "pmpt_1"}, "max_output_tokens": 1000})
        for _ in range(4):
            connection = http.client.HTTPConnection(gateway.url.partition("//")[2], timeout=20)
            headers = {"x-spendgate-key": KEY, "content-type": "application/json"}
            connection.request("POST", "/openai/v1/responses", body, headers)
            assert connection.getresponse().status == 200
            connection.close()
        held = [record["reserved_nanousd"] for record in sorted(gateway.records(), key=lambda one: one["started_at"])]
        assert held[0] == 0
        assert held[1] >= 1000 * 600
        assert held[2] == held[3] >= 1000 * 10_000


def test_vertex_answers_with_the_model_of_the_path() -> None:
    path = b"/v1/projects/p/locations/l/publishers/mistralai/models/mistral-large:rawPredict"
    facts = dialects.get("vertex").read(b"POST", path, b"application/json", b'{"model":"mistral-small","messages":[]}')
    assert facts.model == "mistral-large"


def form(path: str, *fields: tuple[str, str], kind: str = "openai", sound: int = 0) -> Facts:
    head = "--x\r\ncontent-disposition: form-data; name="
    parts = [f'{head}"{name}"\r\n\r\n{value}\r\n' for name, value in fields]
    if sound:
        parts.append(f'{head}"file"; filename="a.mp3"\r\n\r\n' + "a" * sound + "\r\n")
    body = "".join([*parts, "--x--\r\n"]).encode()
    return dialects.get(kind).read(b"POST", path.encode(), b"multipart/form-data; boundary=x", body)


HEARD = "/v1/audio/transcriptions"


@pytest.mark.parametrize(("kind", "model"), [("openai", "whisper-1"), ("groq", "whisper-large-v3"),
                                             ("mistral", "voxtral-mini-latest")])  # fmt: skip
def test_a_recording_is_held_at_the_longest_that_its_bytes_may_last(kind: str, model: str) -> None:
    facts = form(HEARD, ("model", model), kind=kind, sound=75_000)
    assert 100_000 <= facts.units_bound["audio_milliseconds"] < 101_000
    assert facts.unbounded
    assert not form(HEARD, ("model", "gpt-4o-transcribe"), sound=75_000).unbounded


def test_a_recording_that_lies_elsewhere_is_held_at_three_hours() -> None:
    three_hours = 3 * 3600 * 1000
    elsewhere = form(HEARD, ("model", "whisper-large-v3"), ("url", "https://example.com/a.mp3"), kind="groq")
    assert elsewhere.units_bound["audio_milliseconds"] == three_hours
    asked = {"model": "voxtral-mini-latest", "file_url": "https://example.com/a.mp3"}
    said = {"role": "user", "content": [{"type": "input_audio", "input_audio": "https://example.com/a.mp3"}]}
    for path, body in ((HEARD, asked), ("/v1/chat/completions", {"model": "voxtral-small-latest", "messages": [said]})):
        facts = dialects.get("mistral").read(b"POST", path.encode(), b"application/json", json.dumps(body).encode())
        assert facts.units_bound["audio_milliseconds"] == three_hours


def test_a_form_that_names_two_models_is_refused() -> None:
    assert form(HEARD, ("model", "small"), ("model", "large")).malformed
    assert not form(HEARD, ("model", "small"), ("model", "small")).malformed


@pytest.mark.parametrize(("n", "pictures"), [("3", 3), ("0003", 3), (" 3", 128), ("0", 1), ("", 128)])
def test_pictures_that_a_form_asks_for_are_held(n: str, pictures: int) -> None:
    facts = form("/v1/images/edits", ("model", "dall-e-2"), ("n", n))
    assert facts.units_bound == {"output_images": pictures}
    assert form("/v1/images/edits", ("model", "m"), ("svg[model]", "large")).others[0].model == "large"


DISGUISED = """
[providers.local]
kind = "openai-compatible"
base_url = "{url}"
api_key = "sk-real"

[[prices]]
provider = "local"
model = "large"
input_per_mtok = 1.0
output_per_mtok = 10.0

[[keys]]
id = "k"
secret = "sk-test-names"
team = "t"
workflow = "w"

[[quotas]]
name = "budget"
usd = 0.01
window = "total"
"""
FORM = "multipart/form-data; boundary=x"


@pytest.mark.parametrize("types", [[FORM], ["application/json", FORM], [FORM, "application/json"]])
@pytest.mark.parametrize("before", ["", " \r\n\t" * 50])
def test_json_that_says_it_is_a_form_is_held_as_what_it_asks_for(tmp_path: Path, types: list[str], before: str) -> None:
    def generous(seen: Seen) -> Iterator[Step]:
        usage = {"prompt_tokens": 9, "completion_tokens": 5000}
        yield answer(json.dumps({"model": "large", "choices": [], "usage": usage}).encode())

    with Upstream(generous) as upstream, Gateway(tmp_path, DISGUISED.format(url=upstream.url)) as gateway:
        connection = http.client.HTTPConnection(gateway.url.partition("//")[2], timeout=20)
        body = before.encode() + json.dumps({**CHAT, "model": "large", "max_tokens": 5000}).encode()
        connection.putrequest("POST", "/local/v1/chat/completions")
        for name, value in [("x-spendgate-key", KEY), *(("content-type", one) for one in types)]:
            connection.putheader(name, value)
        connection.putheader("content-length", str(len(body)))
        connection.endheaders(body)
        assert connection.getresponse().status == 429
        connection.close()
        assert upstream.seen == []
        assert gateway.value("spendgate_quota_used", quota="budget") == 0
