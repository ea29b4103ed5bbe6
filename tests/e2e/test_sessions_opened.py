"""Which sessions over WebSocket are opened, for which key and model, and with which provider; which are refused."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from realtime import CONFIG, KEY, asked, port_of, provider, seen, url
from support.gateway import Gateway
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with (
        provider() as server,
        Gateway(tmp_path_factory.mktemp("opened"), CONFIG.format(port=port_of(server))) as running,
    ):
        yield running


@pytest.mark.parametrize("key", [KEY, "sk-wrong"])
def test_a_browser_sends_its_key_among_the_subprotocols_and_the_provider_never_hears_of_it(
    gateway: Gateway, key: str
) -> None:
    offers = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{key}")]
    if key != KEY:
        with pytest.raises(InvalidStatus) as refused:
            connect(url(gateway), subprotocols=offers)
        assert refused.value.response.status_code == 401
        return
    with connect(url(gateway), subprotocols=offers) as connection:
        assert json.loads(connection.recv())["type"] == "session.created"
        assert connection.subprotocol == "realtime"
    assert seen[-1]["sec-websocket-protocol"] == "realtime"
    assert seen[-1]["authorization"] == "Bearer sk-real-openai"


@pytest.mark.parametrize(
    ("path", "provider", "sent"),
    [
        ("realtime?model=voice&x=%20", "openai", "/v1/realtime?model=gpt-realtime&x=%20"),
        ("realtime?model=gpt-realtime", "strict", "/v1/realtime?model=gpt-realtime"),
        ("responses", "openai", "/v1/responses"),
    ],
)
def test_the_api_that_is_routed_by_model_has_its_sessions_too(
    gateway: Gateway, path: str, provider: str, sent: str
) -> None:
    address = f"ws://127.0.0.1:{gateway.port}/v1/{path}"
    with connect(address, additional_headers={"Authorization": f"Bearer {KEY}"}) as connection:
        connection.recv()
        connection.send(json.dumps({"type": "response.create", "model": "gpt-4o-mini", "input": "hi"}))
        while json.loads(connection.recv())["type"] not in ("response.done", "response.completed"):
            pass
        assert asked[-1] == sent
        record = gateway.records()[0]
    assert (record["provider"], record["usage_source"]) == (provider, "response")
    assert record["model"] in ("gpt-realtime", "gpt-4o-mini")


@pytest.mark.parametrize("query", ["mod%65l=never-allowed", "MODEL=never-allowed", "model=%6Eever-allowed"])
def test_a_model_is_the_one_that_the_query_names_however_it_is_written(gateway: Gateway, query: str) -> None:
    address = f"ws://127.0.0.1:{gateway.port}/openai/v1/realtime?{query}"
    with pytest.raises(InvalidStatus) as refused:
        connect(address, additional_headers={"Authorization": "Bearer sk-test-sockets-bound"})
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("query", ["model=gpt-4o&model=gpt-realtime", "model=gpt-4o&mod%65l=b", "model=a&deployment=b"])
def test_a_session_whose_query_names_two_models_is_refused(gateway: Gateway, query: str) -> None:
    before = len(asked)
    address = f"ws://127.0.0.1:{gateway.port}/openai/v1/realtime?{query}"
    with pytest.raises(InvalidStatus) as refused:
        connect(address, additional_headers={"Authorization": f"Bearer {KEY}"})
    assert refused.value.response.status_code == 400
    assert len(asked) == before
    same = f"ws://127.0.0.1:{gateway.port}/openai/v1/realtime?model=gpt-realtime&deployment=gpt-realtime"
    with connect(same, additional_headers={"Authorization": f"Bearer {KEY}"}) as connection:
        connection.recv()


def test_a_session_is_refused_where_its_models_provider_has_none(gateway: Gateway) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(
            f"ws://127.0.0.1:{gateway.port}/v1/realtime?model=never",
            additional_headers={"Authorization": f"Bearer {KEY}"},
        )
    assert refused.value.response.status_code == 501


@pytest.mark.parametrize("path", ["other", "realtime/translations?model=gpt-realtime", "live/sessions"])
def test_other_upgrades_are_refused_with_501_and_told_which_are_not(gateway: Gateway, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(
            f"ws://127.0.0.1:{gateway.port}/openai/v1/{path}", additional_headers={"Authorization": f"Bearer {KEY}"}
        )
    assert refused.value.response.status_code == 501
    assert "it knows OpenAI's /realtime and /responses" in refused.value.response.body.decode()


def test_an_unknown_key_is_refused_before_the_upgrade(gateway: Gateway) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(url(gateway), additional_headers={"Authorization": "Bearer sk-wrong"})
    assert refused.value.response.status_code == 401


@pytest.mark.parametrize(
    ("path", "key", "told"),
    [
        ("openai/v1/realtime?model=gpt-realtime", "sk-test-sockets-bound", "may not use model"),
        ("strict/v1/realtime?model=unheard-of", KEY, "No price is known"),
    ],
)
def test_a_model_that_may_not_be_used_is_refused_before_the_upgrade(
    gateway: Gateway, path: str, key: str, told: str
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{gateway.port}/{path}", additional_headers={"Authorization": f"Bearer {key}"})
    assert refused.value.response.status_code == 403
    assert told in refused.value.response.body.decode()
