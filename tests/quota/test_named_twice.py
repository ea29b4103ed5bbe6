"""Requests that two readers may understand differently are refused: what they ask for could not be held."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, answer

from gateway.wire import dialects
from gateway.wire.facts import UNLIMITED, Facts

KEY = "sk-test-twice"
CONFIG = """
[providers.go]
kind = "ollama"
base_url = "{url}"

[providers.local]
kind = "openai-compatible"
base_url = "{url}"
api_key = "sk-real"

[[prices]]
provider = "*"
model = "*"
input_per_mtok = 1.0
output_per_mtok = 10.0

[[keys]]
id = "k"
secret = "sk-test-twice"
team = "t"
workflow = "w"
models = ["small"]

[[quotas]]
name = "budget"
usd = 0.01
window = "total"
"""
MESSAGES = '"messages":[{"role":"user","content":"hi"}]'


def generous(seen: Seen) -> Iterator[Step]:
    usage = {"prompt_tokens": 9, "completion_tokens": 5000}
    counts = {"prompt_eval_count": 9, "eval_count": 5000, "done": True}
    yield answer(json.dumps({"model": "small", "choices": [], "usage": usage, **counts}).encode())


def post(gateway: Gateway, path: str, body: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(gateway.url.partition("//")[2], timeout=20)
    headers = {"x-spendgate-key": KEY, "content-type": "application/json"}
    connection.request("POST", path, body.encode(), headers)
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    return reply.status, text


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/local/v1/chat/completions", '{"model":"small","max_tokens":5000,"max_tokens":5,%s}', "max_tokens"),
        ("/local/v1/chat/completions", '{"model":"large", "model":"small", "max_tokens":5,%s}', "model"),
        ("/local/v1/chat/completions", '{"model":"small","max_tokens":5,"n":100,"\\u006e":1,%s}', "n"),
        ("/go/v1/chat/completions", '{"model":"small","max_tokens":5,"MAX_TOKENS":5000,%s}', "max_tokens"),
        ("/go/api/chat", '{"model":"small","options":{"num_predict":5},"Options":{"num_predict":5000},%s}', "options"),
        ("/go/api/chat", '{"Model":"large","model":"small","options":{"num_predict":5},%s}', "model"),
    ],
)
def test_a_limit_or_a_model_that_is_named_twice_is_refused(tmp_path: Path, path: str, body: str, name: str) -> None:
    with Upstream(generous) as upstream, Gateway(tmp_path, CONFIG.format(url=upstream.url)) as gateway:
        status, said = post(gateway, path, body % MESSAGES)
        assert status == 400
        assert f'\\"{name}\\" more than once' in said
        assert upstream.seen == []
        once = '{"model":"small","max_tokens":5,"Other":1,"other":2,"options":{"num_predict":5},%s}'
        assert post(gateway, path, once % MESSAGES)[0] == 200


@pytest.mark.parametrize(
    ("kind", "path", "body"),
    [
        ("openrouter", "/api/v1/chat/completions", '{"model":"a","models":["b"],"models":[],%s}'),
        ("perplexity", "/v1/agent", '{"model":"a","models":["b"],"models":[],"input":"x"}'),
        ("perplexity", "/search", '{"query":"q","search_type":"pro","search_type":"web"}'),
        ("anthropic", "/v1/messages", '{"model":"a","max_tokens":5000,"max_tokens":5,%s}'),
        ("anthropic", "/v1/messages/batches", '{"requests":[{"params":{"model":"a"}}],"requests":[]}'),
        ("gemini", "/v1beta/models/g:generateContent", '{"generationConfig":{},"generationConfig":{"a":1}}'),
        ("bedrock", "/model/anthropic.a/invoke", '{"max_tokens":5000,"max_tokens":5,%s}'),
        ("cohere", "/v2/chat", '{"model":"a","max_tokens":5000,"max_tokens":5,%s}'),
    ],
)
def test_every_dialect_that_reads_a_member_reads_it_once(kind: str, path: str, body: str) -> None:
    text = body.replace("%s", MESSAGES).encode()
    assert "more than once" in dialects.get(kind).read(b"POST", path.encode(), b"application/json", text).malformed


INVOKE = "/model/anthropic.claude-opus-4-6-v1/converse"
GENERATE = "/v1beta/models/gemini-2.0-flash:generateContent"


@pytest.mark.parametrize(
    ("kind", "path", "body"),
    [
        ("ollama", "/api/chat", '{"model":"a","options":{"num_predict":5000,"num_predict":5},%s}'),
        ("gemini", GENERATE, '{"generationConfig":{"maxOutputTokens":5000,"maxOutputTokens":5}}'),
        (
            "gemini",
            GENERATE,
            '{"generationConfig":{"candidateCount":8,"x":"' + "x" * 3000 + '","candidateCount":null}}',
        ),
        ("gemini", GENERATE, '{"generation_config":{"candidate\\u005fcount":8,"candidate_count":1}}'),
        ("gemini", GENERATE, '{"generationConfig":{"candidateCount":8,"a":"\\ud800","candidateCount":1}}'),
        ("gemini", "/v1beta/models/imagen:predict", '{"parameters":{"sampleCount":8,"sampleCount":1}}'),
        ("gemini", "/v1beta/interactions", '{"generation_config":{"max_output_tokens":9,"max_output_tokens":5}}'),
        ("bedrock", INVOKE, '{"inferenceConfig":{"maxTokens":5000,"maxTokens":5}}'),
        ("anthropic", "/v1/messages", '{"model":"a","max_tokens":5,"tools":[{"max_uses":9,"max_uses":1}],%s}'),
    ],
)
def test_a_limit_that_is_named_twice_within_the_body_is_refused(kind: str, path: str, body: str) -> None:
    assert "more than once" in facts_of(kind, path, body).malformed


@pytest.mark.parametrize(
    ("kind", "path", "body"),
    [
        (
            "gemini",
            GENERATE,
            '{"generationConfig":{"maxOutputTokens":5},"x":[{"maxOutputTokens":1},{"maxOutputTokens":2}]}',
        ),
        ("anthropic", "/v1/messages", '{"model":"a","max_tokens":5,"tools":[{"max_uses":1},{"max_uses":1}],%s}'),
        ("bedrock", INVOKE, '{"inferenceConfig":{"maxTokens":5},"a":"\\u0041 \\"maxTokens\\" \\"maxTokens\\""}'),
    ],
)
def test_a_limit_that_several_objects_have_is_not_named_twice(kind: str, path: str, body: str) -> None:
    assert facts_of(kind, path, body).malformed == ""


def test_pictures_under_a_name_in_another_case_are_outside_of_the_text() -> None:
    read = dialects.get("ollama").read
    body = '{"model":"m","messages":[{"role":"user","content":"x","%s":["aGk="]}]}'
    for name in ("images", "Images", "IMAGES", "\\u0069mages"):
        assert read(b"POST", b"/api/chat", b"application/json", (body % name).encode()).input_open


def test_a_name_that_is_written_with_escapes_names_the_same() -> None:
    body = b'{"model":"a","mod\\u0065ls":["b"],"input":"x"}'
    facts = dialects.get("perplexity").read(b"POST", b"/v1/agent", b"application/json", body)
    assert "b" in [one.model for one in facts.others]
    own = b'{"model":"a","data_sourc\\u0065s":[],"messages":[]}'
    path = b"/openai/deployments/a/chat/completions?api-version=2025-01-01"
    assert dialects.get("azure").read(b"POST", path, b"application/json", own).input_open


def facts_of(kind: str, path: str, body: str) -> Facts:
    return dialects.get(kind).read(b"POST", path.encode(), b"application/json", body.replace("%s", MESSAGES).encode())


@pytest.mark.parametrize(
    ("config", "choices", "most"),
    [
        ('"candidateCount":3,"maxOutputTokens":50', 3, 50),
        ('"candidateCount":"3","maxOutputTokens":"50"', 3, 50),
        ('"candidateCount":"8e0","maxOutputTokens":50', 8, 50),
        ('"candidateCount":"0.8e1","candidate_count":1', 8, UNLIMITED),
        ('"maxOutputTokens":"1e5","max_output_tokens":5', 1, UNLIMITED),
        ('"candidateCount":null,"maxOutputTokens":null', 1, UNLIMITED),
    ],
)
def test_numbers_of_google_are_held_as_protocol_buffers_read_them(config: str, choices: int, most: int) -> None:
    facts = facts_of("gemini", GENERATE, '{"contents":[],"generationConfig":{' + config + "}}")
    assert (facts.choices, facts.max_output) == (choices, most)


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        ('"max_tokens":5,"n_predict":5000', 5000),
        ('"max_tokens":50,"n_predict":5', 50),
        ('"max_tokens":5,"n_predict":-1', UNLIMITED),
        ('"max_tokens":5,"n_predict":null', UNLIMITED),
        ('"n_predict":5', UNLIMITED),
        ('"max_tokens":5,"max_completion_tokens":-1', UNLIMITED),
    ],
)
def test_a_limit_in_whose_place_another_may_count_is_held_at_the_wider(limits: str, most: int) -> None:
    # llama.cpp takes n_predict before max_tokens
    for path in ("/v1/chat/completions", "/v1/completions"):
        if "max_completion" in limits and "chat" not in path:
            continue
        assert facts_of("openai-compatible", path, '{"model":"m",' + limits + ",%s}").max_output == most


def test_a_clamp_lowers_the_limit_that_counts_in_the_place_of_the_usual_one() -> None:
    dialect = dialects.get("openai-compatible")
    for path in ("/v1/chat/completions", "/v1/completions"):
        body = '{"model":"m","max_tokens":500,"n_predict":5000,"prompt":"x"}'
        lowered = dialect.clamp(facts_of("openai-compatible", path, body), body.encode(), 20)
        assert lowered is not None
        assert json.loads(lowered) == {"model": "m", "max_tokens": 20, "n_predict": 20, "prompt": "x"}


def test_what_converse_hands_to_the_model_is_held_too() -> None:
    path = "/model/anthropic.claude-opus-4-6-v1/converse"

    def facts(config: str, more: str) -> Facts:
        body = '{"inferenceConfig":{' + config + '},"additionalModelRequestFields":' + more + "}"
        return facts_of("bedrock", path, body)

    plain = facts('"maxTokens":10', '{"top_k":200}')
    assert (plain.max_output, plain.choices, plain.input_open, plain.others) == (10, 1, False, ())
    # AWS refuses names that say the same, not those that only some families know
    assert facts('"maxTokens":10', '{"max_completion_tokens":5000}').max_output == 5000
    assert facts("", '{"max_tokens":50}').max_output == UNLIMITED
    assert facts('"maxTokens":10', '{"num_generations":4}').choices == 4
    compacting = '{"context_management":{"edits":[{"type":"compact_20260112"}]},"x":"%s"}' % ("x" * 50_000)
    assert len(facts('"maxTokens":10', compacting).others) == 1
    computer = facts('"maxTokens":10', '{"tools":[{"type":"computer_20250124","name":"computer"}]}')
    assert computer.input_overhead == plain.input_overhead + 1024
    advised = facts('"maxTokens":10', '{"tools":[{"type":"advisor_20260301","model":"large","max_uses":2}]}')
    assert [one.model for one in advised.others] == ["large"]
    for more, lowered in (('{"top_k":2}', True), ('{"max_completion_tokens":5000}', False)):
        body = '{"inferenceConfig":{"maxTokens":100},"additionalModelRequestFields":' + more + "}"
        clamped = dialects.get("bedrock").clamp(facts_of("bedrock", path, body), body.encode(), 20)
        assert (clamped is not None) is lowered


def test_a_template_of_the_caller_may_say_its_input_again_and_again() -> None:
    body = '{"model":"m","max_tokens":5,"chat_template":"{%% for i in range(9999) %%}x{%% endfor %%}",%s}'
    assert facts_of("openai-compatible", "/v1/chat/completions", body.replace("%%", "%")).input_open
    assert not facts_of("openai-compatible", "/v1/chat/completions", '{"chat_template_kwargs":{},%s}').input_open


def test_a_picture_among_texts_to_embed_is_outside_of_the_text() -> None:
    for last, is_open in (('{"image":"https://x/y.png"}', True), ('"{}"', False)):
        facts = facts_of("openai-compatible", "/v1/embeddings", '{"model":"m","input":["a",%s]}'.replace("%s", last))
        assert facts.input_open is is_open
        assert facts.choices == (2 if is_open else 1)


def test_a_text_completion_is_held_by_its_own_limit() -> None:
    body = b'{"model":"claude-2.1","prompt":"x","max_tokens":1,"max_tokens_to_sample":100000}'
    facts = dialects.get("anthropic").read(b"POST", b"/v1/complete", b"application/json", body)
    assert facts.max_output == 100_000
