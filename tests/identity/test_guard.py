"""Who guesses keys is held off, its neighbours are not; whoever calls too often waits."""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.gateway import Gateway

from gateway.identity.guard import FORGET_SECONDS, MAX_WATCHED, Guard, GuardLimits, scope

FIRST, SECOND, ADMIN = "sk-guard-first-key", "sk-guard-second-key", "an-admin-token-of-the-guard"
CONFIG = f"""
[server]
admin_token = "{ADMIN}"
[server.limits]
LIMIT
[logging]
format = "json"
[providers.simulated]
kind = "simulated"
first_token_seconds = 0.0
token_seconds = 0.0
[[keys]]
id = "first"
secret = "{FIRST}"
team = "search"
workflow = "ranking"
[[keys]]
id = "second"
secret = "{SECOND}"
team = "search"
workflow = "ranking"
"""
GUESSES = 5


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with Gateway(tmp_path, CONFIG.replace("LIMIT", f"unknown_keys_per_minute_per_peer = {GUESSES}")) as running:
        yield running


def call(gateway: Gateway, key: str, source: str = "127.0.0.1") -> tuple[int, dict[str, str]]:
    """Status and head of one call from an address of this machine; every call's bytes are the same but for its key."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10, source_address=(source, 0))
    body = json.dumps({"model": "gpt-4o", "max_tokens": 2, "messages": [{"role": "user", "content": "hi"}]})
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request("POST", "/simulated/v1/chat/completions", body, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders())


def metric(gateway: Gateway, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", gateway.metrics(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_who_guesses_keys_learns_nothing_past_the_bound_and_its_neighbours_go_on(gateway: Gateway) -> None:
    assert call(gateway, SECOND, "127.0.0.2")[0] == 200
    assert call(gateway, "sk-guess-0")[0] == 401
    assert call(gateway, FIRST)[0] == 200
    statuses = [call(gateway, f"sk-guess-{number}")[0] for number in range(1, 12)]
    assert statuses == [401] * (GUESSES - 1) + [429] * (12 - GUESSES)
    status, headers = call(gateway, SECOND)
    assert status == 429, "a guess that hits looks like one that does not"
    assert 0 < int(headers["retry-after"]) <= 60 / GUESSES
    assert call(gateway, FIRST)[0] == 200, "what worked from this address goes on"
    assert call(gateway, SECOND, "127.0.0.2")[0] == 200, "another address is not concerned"
    assert metric(gateway, 'spendgate_refusals_total{reason="too_many_unknown_keys"}') == 13 - GUESSES
    assert metric(gateway, "spendgate_watched_addresses") == 1
    with pytest.raises(openai.RateLimitError):
        openai.OpenAI(base_url=f"{gateway.url}/simulated/v1", api_key="sk-x", max_retries=0).models.list()


def test_who_sends_no_key_guesses_none(gateway: Gateway) -> None:
    for _ in range(3 * GUESSES):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{gateway.url}/simulated/v1/models", timeout=10)
        assert refused.value.code == 401
    assert call(gateway, FIRST)[0] == 200


def test_calls_beyond_an_addresss_rate_wait(tmp_path: Path) -> None:
    with Gateway(tmp_path, CONFIG.replace("LIMIT", "calls_per_second_per_peer = 3")) as gateway:
        statuses = [call(gateway, FIRST)[0] for _ in range(40)]
        assert statuses[:3] == [200] * 3
        assert set(statuses) == {200, 429}
        assert call(gateway, FIRST, "127.0.0.2")[0] == 200
        refused = statuses.count(429)
        assert metric(gateway, 'spendgate_refusals_total{reason="too_many_calls"}') == refused
        gateway.write(CONFIG.replace("LIMIT", ""))
        request = urllib.request.Request(f"{gateway.admin}/api/reload", b"", {"Authorization": f"Bearer {ADMIN}"})
        urllib.request.urlopen(request, timeout=10).close()
        assert {call(gateway, FIRST)[0] for _ in range(20)} == {200}


def test_who_guesses_admin_tokens_is_held_off(gateway: Gateway) -> None:
    def ask(token: str) -> int:
        request = urllib.request.Request(f"{gateway.admin}/api/me", headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert [ask(f"guess-{number}") for number in range(80)] == [401] * 60 + [429] * 20
    assert ask(ADMIN) == 429
    for token in (ADMIN, "guess-form"):
        form = urllib.request.Request(f"{gateway.admin}/ui/login", f"token={token}".encode())
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(form, timeout=10)
        assert refused.value.code == 429
    assert metric(gateway, "spendgate_admin_wrong_tokens_total") == 81
    assert gateway.stop() == 0
    lines = [json.loads(line) for line in gateway.log().splitlines() if '"wrong token"' in line]
    assert {line["by"] for line in lines} == {"127.0.0.1"}
    assert [line["path"] for line in lines] == ["/api/me"] * 80 + ["/ui/login"]
    assert "guess-" not in gateway.log()


@pytest.mark.parametrize(
    ("peer", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
    ],
)
def test_what_one_client_has_of_addresses(peer: str, other: str, same: bool) -> None:
    assert (scope(peer) == scope(other)) is same


class Time:
    now = 0.0


def guard(**limits: int) -> tuple[Guard, Time]:
    time = Time()
    return Guard(GuardLimits(**limits), lambda: time.now), time


def test_memory_is_bounded_however_many_addresses_there_are() -> None:
    watching, _ = guard(calls_per_second=1, unknown_keys_per_minute=1)
    for number in range(60_000):
        peer = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        watching.unknown(peer)
        watching.called(peer)
    assert len(watching.watched) == MAX_WATCHED
    assert len(watching._rated) <= 50_000
    for number in range(5_000):
        watching.known(peer, f"key-{number}")
    assert len(watching.watched[peer].keys) <= 1_000


def test_an_address_is_forgotten_once_it_has_been_quiet() -> None:
    watching, time = guard(unknown_keys_per_minute=10)
    watching.unknown("10.0.0.1")
    assert watching.active
    time.now = FORGET_SECONDS + 1
    watching.known("10.0.0.1", "key")
    assert not watching.active


@settings(max_examples=60)
@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.sampled_from(["10.0.0.1", "10.0.0.2"]), st.floats(0, 30)), max_size=120),
)
def test_no_address_ever_tries_more_than_its_bound_in_any_minute(limit: int, events: list[tuple[str, float]]) -> None:
    watching, time = guard(unknown_keys_per_minute=limit)
    tried: dict[str, list[float]] = {}
    for peer, step in events:
        time.now += step
        wait = watching.unknown(peer)
        if not wait:
            tried.setdefault(peer, []).append(time.now)
        else:
            assert 0 < wait <= 60 / limit + 1e-6
    for moments in tried.values():
        for moment in moments:
            # a bucket that was full at the start of the minute, and what ran in during it
            assert sum(moment <= other < moment + 60 for other in moments) <= 2 * limit
