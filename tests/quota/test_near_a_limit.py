"""Near a limit: what a call is still allowed, what its answer says, what a refusal tells in the provider's words."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, answer

KINDS = ("openai", "anthropic", "gemini", "mistral", "cohere", "bedrock")
TEAMS = ("clamp", "count", "raised", "over", "shared", "many", "tokens", "excess", "warn", "nested", "past", "nothing")
QUOTAS = """
[[quotas]]
name = "clamp"
match = { team = "clamp" }
per = ["workflow"]
output_tokens = 300
window = "total"
clamp = true

[[quotas]]
name = "count"
match = { team = "count" }
input_tokens = 200
window = "total"

[[quotas]]
name = "raised"
match = { team = "raised" }
requests = 1
window = "total"
[[quotas.overrides]]
requests = 1
from = 2026-01-01
until = 2999-01-01
why = "launch"
[[quotas.overrides]]
requests = 100
from = 2090-01-01
until = 2999-01-01

[[quotas]]
name = "past"
match = { team = "past" }
requests = 0
window = "total"
[[quotas.overrides]]
requests = 100
until = 2026-01-01

[[quotas]]
name = "over"
match = { team = "over" }
per = ["workflow"]
requests = 5
window = "day"

[[quotas]]
name = "shared"
match = { team = "shared" }
per = ["workflow"]
requests = 5
window = "day"
overflow = "shared"

[[quotas]]
name = "many"
match = { team = "many" }
per = ["provider"]
requests = 1
window = "day"

[[quotas]]
name = "tokens"
match = { team = "tokens" }
per = ["provider"]
output_tokens = 20
window = "day"

[[quotas]]
name = "excess"
match = { team = "excess" }
output_tokens = 1000
window = "total"

[[quotas]]
name = "warned"
match = { team = "warn" }
requests = 1
window = "day"
action = "warn"

[[quotas]]
name = "nothing"
match = { team = "nothing" }
concurrent = 0

[[quotas]]
name = "nested-organisation"
match = { team = ["nest*"] }
requests = 3
window = "day"

[[quotas]]
name = "nested-team"
match = { team = "nested" }
requests = 2
window = "week"
week_start = "sunday"
timezone = "Asia/Kathmandu"

[[quotas]]
name = "nested-workflow"
match = { team = "nested", workflow = "w?" }
per = ["workflow", "tag.env"]
requests = 1
window = "rolling 1h"
"""


def config(url: str, most: int = 10_000) -> str:
    providers = "".join(
        f'[providers.{kind}]\nkind = "{kind}"\nbase_url = "{url}"\napi_key = "real"\n' for kind in (*KINDS, "azure")
    )
    keys = "".join(
        f'[[keys]]\nid = "{team}"\nsecret = "sk-test-near-{team}"\nteam = "{team}"\nworkflow = "w1"\n' for team in TEAMS
    )
    return f"max_quota_counters = {most}\n[server]\n" + providers + keys + QUOTAS


def script(seen: Seen) -> Iterator[Step]:
    """Each dialect's usage: 10 tokens in; out as many as the prompt says, else 3."""
    said = json.loads(seen.body)
    out = 2000 if "too much" in json.dumps(said) else 3
    usage = {"prompt_tokens": 10, "completion_tokens": out, "total_tokens": 10 + out, "input_tokens": 10,
             "output_tokens": out, "inputTokens": 10, "outputTokens": out, "totalTokens": 10 + out,
             "billed_units": {"input_tokens": 10, "output_tokens": out},
             "tokens": {"input_tokens": 10, "output_tokens": out}}  # fmt: skip
    document = {"model": "m", "choices": [], "usage": usage,
                "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": out}}  # fmt: skip
    yield answer(json.dumps(document).encode())


class Ways:
    """One gateway before one provider; ``ask`` sends a body as it is."""

    def __init__(self, gateway: Gateway, upstream: Upstream) -> None:
        self.gateway = gateway
        self.upstream = upstream

    def ask(
        self, team: str, kind: str, body: bytes, *, workflow: str = "w1", path: str = "", **tags: str
    ) -> tuple[int, dict[str, str], Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=20)
        headers = {"x-spendgate-key": f"sk-test-near-{team}", "x-spendgate-workflow": workflow}
        headers |= {f"x-spendgate-tag-{name}": value for name, value in tags.items()}
        headers["Content-Type"] = "application/json"
        connection.request("POST", f"/{kind}{path or PATHS[kind]}", body, headers)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        document = json.loads(response.read())
        connection.close()
        return response.status, found, document

    def standing(self, quota: str, bucket: str = "") -> dict[str, Any]:
        rows: list[dict[str, Any]] = self.gateway.get(f"/api/quotas?quota={quota}")["quotas"]
        return next(row for row in rows if row["bucket"] == bucket)


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    with (
        Upstream(script) as upstream,
        Gateway(tmp_path_factory.mktemp("near"), config(upstream.url)) as gateway,
    ):
        yield Ways(gateway, upstream)


PATHS = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/gemini-2.5-flash:generateContent",
    "mistral": "/v1/chat/completions",
    "cohere": "/v2/chat",
    "bedrock": "/model/anthropic.claude-sonnet-4-5-20250929-v1:0/converse",
}
TALK = '"messages": [{"role": "user", "content": "hi é \\u00e9  "}]'
BODIES: list[tuple[str, str, str]] = [
    ("openai", "", '{"model": "gpt-4o",  "max_tokens":900, ' + TALK + "}"),
    ("openai", "", '{"max_completion_tokens": 900, "model": "gpt-4o", ' + TALK + ', "n": 1}'),
    ("openai", "/v1/responses", '{"model": "gpt-4o", "input": "hi", "max_output_tokens": 900 }'),
    ("openai", "/v1/completions", '{"model": "gpt-3.5-turbo-instruct", "prompt": "hi", "max_tokens": 900}'),
    ("anthropic", "", '{"model":"claude-sonnet-4-5","max_tokens":900,' + TALK + "}"),
    ("gemini", "", '{"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {"maxOutputTokens": 900, "x": 1}}'),
    ("mistral", "", '{"model": "mistral-small-latest", "max_tokens": 900, ' + TALK + "}"),
    ("cohere", "", '{"model": "command-r", "max_tokens": 900, ' + TALK + "}"),
    (
        "bedrock",
        "",
        '{"messages": [{"role": "user", "content": [{"text": "hi"}]}], "inferenceConfig": {"maxTokens": 900}}',
    ),
]


@pytest.mark.parametrize(("kind", "path", "body"), BODIES)
def test_a_clamp_changes_the_one_number_and_the_answer_says_so(ways: Ways, kind: str, path: str, body: str) -> None:
    workflow = f"flow-{BODIES.index((kind, path, body))}"
    status, headers, _ = ways.ask("clamp", kind, body.encode(), path=path, workflow=workflow)
    assert status == 200
    assert headers["x-spendgate-clamped"] == "300"
    assert ways.upstream.seen[-1].body.decode() == body.replace("900", "300")
    # a call that fits passes as it came
    small = body.replace("900", "20")
    status, headers, _ = ways.ask("clamp", kind, small.encode(), path=path, workflow=workflow)
    assert (status, headers.get("x-spendgate-clamped")) == (200, None)
    assert ways.upstream.seen[-1].body.decode() == small
    assert ways.standing("clamp", workflow)["used"] == 6


def test_a_body_without_a_limit_is_clamped_by_adding_one(ways: Ways) -> None:
    status, headers, _ = ways.ask("clamp", "openai", b'{"model": "gpt-4o", "messages": []}', workflow="none")
    assert (status, headers["x-spendgate-clamped"]) == (200, "300")
    sent = json.loads(ways.upstream.seen[-1].body)
    assert sent in ({"model": "gpt-4o", "messages": [], key: 300} for key in ("max_tokens", "max_completion_tokens"))


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/openai/v1/chat/completions", "max_completion_tokens"),
        ("/openai/deployments/d/chat/completions?api-version=2024-10-21", "max_completion_tokens"),
        ("/openai/deployments/d/chat/completions?api-version=2024-06-01", "max_tokens"),
        ("/models/chat/completions?api-version=2024-05-01-preview", "max_tokens"),
    ],
)
def test_the_limit_that_is_added_is_one_that_the_version_knows(ways: Ways, path: str, key: str) -> None:
    body = b'{"model": "gpt-4o", "messages": []}'
    status, headers, _ = ways.ask("clamp", "azure", body, path=path, workflow=path[-20:])
    assert (status, headers["x-spendgate-clamped"]) == (200, "300")
    assert json.loads(ways.upstream.seen[-1].body) == {"model": "gpt-4o", "messages": [], key: 300}


def test_an_exact_count_lets_a_call_pass_that_its_bytes_would_not(ways: Ways) -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 6
    body = json.dumps({"model": "gpt-4o", "max_tokens": 9, "messages": [{"role": "user", "content": text}]}).encode()
    assert len(body) > 200
    status, headers, _ = ways.ask("count", "openai", body)
    assert (status, "x-spendgate-clamped" in headers) == (200, False)
    assert ways.upstream.seen[-1].body == body
    record = ways.gateway.get(f"/api/requests/{headers['x-spendgate-request-id']}")
    assert 10 <= record["reserved_input_tokens"] <= 200
    long = body.replace(b"dog. ", b"dog. " * 40)
    assert ways.ask("count", "openai", long)[0] == 429


def test_a_raise_in_the_configuration_holds_between_its_dates_alone(ways: Ways) -> None:
    body = b'{"model": "gpt-4o", "max_tokens": 9, "messages": []}'
    assert [ways.ask("raised", "openai", body)[0] for _ in range(3)] == [200, 200, 429]
    row = ways.standing("raised")
    assert (row["limit"], row["raised_by"]) == (2, 1)
    assert ways.ask("past", "openai", body)[0] == 429


def test_callers_make_no_more_counters_than_are_allowed(tmp_path: Path) -> None:
    body = b'{"model": "gpt-4o", "max_tokens": 9, "messages": []}'
    with Upstream(script) as upstream, Gateway(tmp_path, config(upstream.url, most=40)) as gateway:
        ways = Ways(gateway, upstream)
        answers = [ways.ask("over", "openai", body, workflow=f"made-up-{n}")[0] for n in range(60)]
        allowed = answers.count(200)
        assert 10 < allowed <= 40
        assert answers == [200] * allowed + [429] * (60 - allowed)
        # a rule that says so counts the rest together
        shared = [ways.ask("shared", "openai", body, workflow=f"made-up-{n}")[0] for n in range(8)]
        assert shared == [200] * 5 + [429] * 3
        assert ways.standing("shared", "other")["used"] == 5
        assert ways.ask("over", "openai", body, workflow="made-up-0")[0] == 200
        assert gateway.post("/api/quotas/verify")["differences"] == []


def test_what_a_refusal_tells_in_each_providers_own_headers(ways: Ways) -> None:
    small = {kind: body.replace("900", "5") for kind, path, body in BODIES if not path}
    told = {}
    for kind in KINDS:
        assert ways.ask("many", kind, small[kind].encode())[0] == 200
        status, headers, document = ways.ask("many", kind, small[kind].encode())
        assert status == 429
        seconds = int(headers["retry-after"])
        assert 0 < seconds <= 86_400
        assert 'Quota \\"many\\"' in json.dumps(document)
        told[kind] = headers, document, seconds
    for kind in ("openai", "mistral", "cohere"):
        headers, _, seconds = told[kind]
        assert headers["x-ratelimit-limit-requests"] == "1"
        assert headers["x-ratelimit-remaining-requests"] == "0"
        assert headers["x-ratelimit-reset-requests"] == f"{seconds}s"
        assert seconds - 1 <= int(headers["retry-after-ms"]) / 1000 <= seconds
    headers, document, _ = told["anthropic"]
    assert headers["anthropic-ratelimit-requests-limit"] == "1"
    assert headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert headers["anthropic-ratelimit-requests-reset"].endswith("T00:00:00Z")
    assert document["error"]["type"] == "rate_limit_error"
    _, document, seconds = told["gemini"]
    assert {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{seconds}s"} in document["error"][
        "details"
    ]
    assert document["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert told["bedrock"][0]["x-amzn-errortype"] == "ThrottlingException"


def test_tokens_are_told_by_the_side_where_the_provider_does_so(ways: Ways) -> None:
    body = '{"model":"claude-sonnet-4-5","max_tokens":20,' + TALK + "}"
    assert ways.ask("tokens", "anthropic", body.encode())[0] == 200
    status, headers, _ = ways.ask("tokens", "anthropic", body.encode())
    assert status == 429
    assert headers["anthropic-ratelimit-output-tokens-limit"] == "20"
    assert headers["anthropic-ratelimit-output-tokens-remaining"] == "17"
    body = body.replace("claude-sonnet-4-5", "gpt-4o")
    assert ways.ask("tokens", "openai", body.encode())[0] == 200
    assert ways.ask("tokens", "openai", body.encode())[1]["x-ratelimit-remaining-tokens"] == "17"


def test_a_streaming_call_is_refused_before_its_stream_starts(ways: Ways) -> None:
    body = b'{"model": "gpt-4o", "stream": true, "max_tokens": 9, "messages": []}'
    status, headers, document = ways.ask("past", "openai", body)
    assert (status, headers["content-type"]) == (429, "application/json")
    assert document["error"]["code"] == "insufficient_quota"


def test_a_provider_that_uses_more_than_it_was_allowed_is_booked_at_the_truth_and_told(ways: Ways) -> None:
    body = b'{"model": "gpt-4o", "max_tokens": 9, "messages": [{"role": "user", "content": "too much"}]}'
    assert ways.ask("excess", "openai", body)[0] == 200
    assert ways.standing("excess")["used"] == 2000
    assert 'spendgate_reservation_exceeded_total{api="chat",dialect="openai"} 1.0' in ways.gateway.metrics()
    assert ways.ask("excess", "openai", body)[0] == 429


def test_a_rule_that_only_warns_lets_calls_through_and_tells_of_it(ways: Ways) -> None:
    body = b'{"model": "gpt-4o", "max_tokens": 9, "messages": []}'
    assert [ways.ask("warn", "openai", body)[0] for _ in range(3)] == [200] * 3
    assert ways.standing("warned")["used"] == 3
    told = [event for event in ways.gateway.get("/api/events")["events"] if event["quota"] == "warned"]
    assert [(event["kind"], event["detail"]) for event in told] == [("threshold", "100 %")]


def test_a_limit_of_nothing_is_told_as_what_it_is(ways: Ways) -> None:
    status, headers, document = ways.ask("nothing", "openai", b'{"model": "gpt-4o", "messages": []}')
    assert (status, headers["x-should-retry"]) == (429, "false")
    assert document["error"]["message"].endswith("The limit is 0: no call gets through.")


def test_a_call_fits_all_that_match_organisation_team_workflow_and_tag(ways: Ways) -> None:
    body = b'{"model": "gpt-4o", "max_tokens": 9, "messages": []}'

    def told(workflow: str, env: str) -> str:
        status, headers, document = ways.ask("nested", "openai", body, workflow=workflow, env=env)
        if status == 200:
            record = ways.gateway.get(f"/api/requests/{headers['x-spendgate-request-id']}")
            return ",".join(record["quotas"])
        assert status == 429
        return str(document["error"]["message"]).split('"')[1]

    assert told("w1", "prod") == "nested-organisation,nested-team,nested-workflow"
    assert told("w1", "prod") == "nested-workflow"
    assert told("w1", "dev") == "nested-organisation,nested-team,nested-workflow"
    assert told("w2", "dev") == "nested-team"
    rows = ways.gateway.get("/api/quotas")["quotas"]
    used = {(row["quota"], row["bucket"]): row["used"] for row in rows if row["quota"].startswith("nested")}
    assert used["nested-organisation", ""] == used["nested-team", ""] == 2
    assert used["nested-workflow", "w1|prod"] == used["nested-workflow", "w1|dev"] == 1
