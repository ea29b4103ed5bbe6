"""Through a real gateway: who a call is charged to, what its provider gets to see, who is turned away."""

from __future__ import annotations

import http.client
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.gateway import Gateway
from support.upstream import Seen, Upstream, answer

OWN = "sk-provider-own-key-4242"
DEMO, LIMITED, EXPIRED = "sk-virtual-demo-0001", "sk-virtual-limited-0002", "sk-virtual-expired-0003"
CONFIG = f"""
[providers.held]
kind = "openai"
base_url = "URL"
api_key = "{OWN}"
[providers.claude]
kind = "anthropic"
base_url = "URL"
api_key = "{OWN}"
[providers.google]
kind = "gemini"
base_url = "URL"
api_key = "{OWN}"
[providers.open]
kind = "openai"
base_url = "URL"
[[keys]]
id = "demo"
secret = "{DEMO}"
team = "search"
workflow = "ranking"
tags = {{ env = "prod", region = "eu" }}
[[keys]]
id = "limited"
secret = "{LIMITED}"
team = "support"
workflow = "bot"
models = ["gpt-4o-mini*"]
providers = ["held"]
[[keys]]
id = "expired"
secret = "{EXPIRED}"
team = "support"
workflow = "bot"
expires = 2020-01-01
"""
CHAT = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]})
USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def reply(_: Seen) -> list[bytes]:
    return [answer(json.dumps({"model": "gpt-4o-mini", "choices": [], "usage": USAGE}).encode())]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(reply) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("keys"), CONFIG.replace("URL", upstream.url)) as running:
        yield running


def post(gateway: Gateway, path: str, headers: dict[str, str], body: str = CHAT) -> tuple[int, Any, str]:
    """Status, JSON body, request id."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        return response.status, json.loads(response.read()), response.getheader("x-spendgate-request-id") or ""
    finally:
        connection.close()


def wire(seen: Seen) -> str:
    """All that the provider got of a head."""
    return f"{seen.target}\n" + "\n".join(f"{name}: {value}" for name, value in seen.headers)


@pytest.mark.parametrize(
    ("path", "headers", "own"),
    [
        ("/held/v1/chat/completions", {"Authorization": f"Bearer {DEMO}"}, ("authorization", f"Bearer {OWN}")),
        ("/held/v1/chat/completions", {"x-spendgate-key": DEMO}, ("authorization", f"Bearer {OWN}")),
        ("/held/v1/chat/completions", {"api-key": DEMO, "X-API-KEY": DEMO}, ("authorization", f"Bearer {OWN}")),
        ("/claude/v1/messages", {"x-api-key": DEMO}, ("x-api-key", OWN)),
        ("/claude/v1/messages", {"Authorization": f"Bearer {DEMO}"}, ("x-api-key", OWN)),
        ("/google/v1beta/models/gemini-2.5-flash:generateContent", {"x-goog-api-key": DEMO}, ("x-goog-api-key", OWN)),
        (f"/google/v1beta/models/g:generateContent?key={DEMO}&alt=json", {}, ("x-goog-api-key", OWN)),
    ],
)
def test_the_providers_key_takes_the_place_of_the_virtual_one(
    gateway: Gateway, upstream: Upstream, path: str, headers: dict[str, str], own: tuple[str, str]
) -> None:
    status, _, request_id = post(gateway, path, headers)
    assert status == 200
    seen = upstream.seen[-1]
    assert seen.header(own[0]) == own[1]
    assert wire(seen).count(OWN) == 1
    assert DEMO not in wire(seen)
    assert "x-spendgate" not in wire(seen).lower()
    record = gateway.get(f"/api/requests/{request_id}")
    assert (record["team"], record["workflow"], record["key_id"]) == ("search", "ranking", "demo")
    assert DEMO not in json.dumps(record)


def test_where_the_gateway_has_no_key_the_callers_own_passes_through(gateway: Gateway, upstream: Upstream) -> None:
    headers = {"x-spendgate-key": DEMO, "Authorization": "Bearer sk-callers-own"}
    assert post(gateway, "/open/v1/chat/completions", headers)[0] == 200
    assert upstream.seen[-1].header("authorization") == "Bearer sk-callers-own"
    assert DEMO not in wire(upstream.seen[-1])


def test_a_virtual_key_is_no_credential_for_a_provider(gateway: Gateway, upstream: Upstream) -> None:
    for headers in ({"Authorization": f"Bearer {DEMO}"}, {"x-spendgate-key": DEMO, "Authorization": f"Bearer {DEMO}"}):
        post(gateway, "/open/v1/chat/completions", headers)
        assert DEMO not in wire(upstream.seen[-1])
        assert upstream.seen[-1].header("authorization") is None


def test_headers_refine_workflow_and_tags_but_never_the_team(gateway: Gateway, upstream: Upstream) -> None:
    headers = {
        "Authorization": f"Bearer {DEMO}",
        "x-spendgate-workflow": "nightly",
        "X-Spendgate-Tag-Env": "test",
        "x-spendgate-tag-job": "42",
        "x-spendgate-team": "somebody-else",
    }
    record = gateway.get("/api/requests/" + post(gateway, "/held/v1/chat/completions", headers)[2])
    assert (record["team"], record["workflow"]) == ("search", "nightly")
    assert record["tags"] == {"env": "test", "job": "42", "region": "eu"}
    assert "x-spendgate" not in wire(upstream.seen[-1]).lower()


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer sk-nobody"}, {"x-api-key": EXPIRED}])
def test_who_has_no_valid_key_gets_401_and_the_provider_hears_nothing(
    gateway: Gateway, upstream: Upstream, headers: dict[str, str]
) -> None:
    before = len(upstream.seen)
    status, body, request_id = post(gateway, "/held/v1/chat/completions", headers)
    assert status == 401
    assert body["error"]["code"] == "invalid_api_key"
    assert post(gateway, "/claude/v1/messages", headers)[1]["error"]["type"] == "authentication_error"
    assert len(upstream.seen) == before
    record = gateway.get(f"/api/requests/{request_id}")
    assert (record["outcome"], record["cost_nanousd"], record["team"]) == ("rejected", 0, "unattributed")


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({}, "No API key was sent"),
        ({"api-key": "sk-unknown"}, "This API key is unknown"),
        ({"Authorization": f"Bearer {'t' * 2000}"}, "too long for a gateway key"),
        ({"x-spendgate-key": "t" * 2000}, "too long for a gateway key"),
    ],
)
def test_who_has_no_valid_key_is_told_what_is_wrong_with_the_one_that_was_sent(
    gateway: Gateway, headers: dict[str, str], told: str
) -> None:
    status, body, _ = post(gateway, "/held/v1/chat/completions", headers)
    assert status == 401
    assert told in body["error"]["message"]


@pytest.mark.parametrize(
    ("path", "model", "named"),
    [
        ("/held/v1/chat/completions", "gpt-4o", 'model "gpt-4o"'),
        ("/open/v1/chat/completions", "gpt-4o-mini", 'provider "open"'),
    ],
)
def test_what_a_key_may_not_use_is_403_and_names_it(gateway: Gateway, path: str, model: str, named: str) -> None:
    body = CHAT.replace("gpt-4o-mini", model)
    status, answered, _ = post(gateway, path, {"Authorization": f"Bearer {LIMITED}"}, body)
    assert status == 403
    assert named in answered["error"]["message"]
    assert post(gateway, "/held/v1/chat/completions", {"Authorization": f"Bearer {LIMITED}"})[0] == 200


def test_without_required_keys_a_stranger_is_unattributed_and_untrusted_headers_say_nothing(
    upstream: Upstream, tmp_path: Path
) -> None:
    rules = "[attribution]\nrequire_key = false\ntrusted_headers = false\n"
    with Gateway(tmp_path, rules + CONFIG.replace("URL", upstream.url)) as gateway:
        headers = {"Authorization": "Bearer sk-callers-own", "x-spendgate-workflow": "mine"}
        status, _, request_id = post(gateway, "/open/v1/chat/completions", headers)
        assert status == 200
        assert upstream.seen[-1].header("authorization") == "Bearer sk-callers-own"
        record = gateway.get(f"/api/requests/{request_id}")
        assert (record["team"], record["workflow"], record["key_id"]) == ("unattributed", "unattributed", "")
        headers = {"Authorization": f"Bearer {DEMO}", "x-spendgate-workflow": "mine"}
        record = gateway.get("/api/requests/" + post(gateway, "/held/v1/chat/completions", headers)[2])
        assert (record["team"], record["workflow"]) == ("search", "ranking")


def test_a_reload_takes_new_keys_and_refuses_old_ones(upstream: Upstream, tmp_path: Path) -> None:
    config = CONFIG.replace("URL", upstream.url)
    with Gateway(tmp_path, config) as gateway:
        gateway.write(config.replace(DEMO, "sk-virtual-renewed-0009"))
        gateway.reload()
        path, renewed = "/held/v1/chat/completions", {"Authorization": "Bearer sk-virtual-renewed-0009"}
        for _ in range(100):
            if post(gateway, path, renewed)[0] == 200:
                break
        assert post(gateway, path, renewed)[0] == 200
        assert post(gateway, path, {"Authorization": f"Bearer {DEMO}"})[0] == 401
        gateway.write(config.replace("[providers.held]", "[provider.held]"))
        gateway.reload()
        deadline = time.monotonic() + 20
        while 'Did you mean "providers"?' not in gateway.log() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert 'provider: unknown key. Did you mean "providers"?' in gateway.log()
        assert post(gateway, path, renewed)[0] == 200


def test_secrets_of_the_environment_that_end_with_a_line_break_are_taken_without_it(tmp_path: Path) -> None:
    """As many secret stores hand them out: the request to the provider would end at it."""
    config = """
    [server]
    admin_token = "env:ADMIN"
    [providers.held]
    kind = "openai"
    base_url = "URL"
    api_key = "env:OWN"
    [[keys]]
    id = "demo"
    secret = "env:DEMO"
    team = "search"
    workflow = "ranking"
    """
    env = {"ADMIN": "an-admin-token-16\n", "OWN": OWN + "\r\n", "DEMO": DEMO + "\n"}
    with Upstream(reply) as upstream, Gateway(tmp_path, config.replace("URL", upstream.url), env=env) as gateway:
        assert post(gateway, "/held/v1/chat/completions", {"Authorization": f"Bearer {DEMO}"})[0] == 200
        (seen,) = upstream.seen
        assert (seen.header("authorization"), seen.body.decode()) == (f"Bearer {OWN}", CHAT)
        request = urllib.request.Request(
            gateway.admin + "/api/me", headers={"Authorization": "Bearer an-admin-token-16"}
        )
        with urllib.request.urlopen(request, timeout=10) as answered:
            assert answered.status == 200
