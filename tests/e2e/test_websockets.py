"""OpenAI's realtime API through the gateway: bytes both ways, a record for each response, quotas in between."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from realtime import CONFIG, HEARD, KEY, port_of, provider, records, seen, url
from support.gateway import Gateway
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with provider() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Iterator[Gateway]:
    directory: Path = tmp_path_factory.mktemp("sockets")
    with Gateway(directory, CONFIG.format(port=port_of(server))) as running:
        yield running


def until_closed(connection: ClientConnection) -> Iterator[str]:
    while True:
        try:
            yield str(connection.recv())
        except ConnectionClosed:
            return


def test_each_response_of_a_realtime_session_is_a_record(gateway: Gateway) -> None:
    before = len(records(gateway, "t", "realtime", 0))
    client = openai.OpenAI(api_key=KEY, base_url=gateway.url + "/openai/v1")
    types = []
    with client.realtime.connect(model="gpt-realtime") as connection:
        for _ in range(3):
            connection.response.create()
            for event in connection:
                types.append(event.type)
                if event.type == "response.done":
                    break
    assert types.count("response.done") == 3
    assert seen[-1]["authorization"] == "Bearer sk-real-openai"
    assert "sec-websocket-extensions" not in seen[-1]
    found = records(gateway, "t", "realtime", before + 3)
    assert len(found) == before + 3
    assert found[0]["usage"] == {
        "input_tokens_total": 132,
        "output_tokens_total": 121,
        "cache_read_tokens": 64,
        "input_audio_tokens": 13,
        "output_audio_tokens": 91,
    }
    assert found[0]["usage_source"] == "response"
    assert found[0]["cost_nanousd"] > 0
    assert sum(line["nanousd"] for line in found[0]["cost_lines"]) == found[0]["cost_nanousd"]
    sessions = records(gateway, "t", "realtime_session", 1)
    assert sessions[0]["cost_nanousd"] == 0


def test_messages_pass_unchanged_in_both_directions(gateway: Gateway) -> None:
    with connect(url(gateway), additional_headers={"Authorization": f"Bearer {KEY}"}) as connection:
        assert json.loads(connection.recv())["type"] == "session.created"
        for size in (0, 1, 125, 126, 65_535, 65_536, 90_000):
            text = json.dumps({"type": "echo", "pad": "ü" * size})
            connection.send(text)
            assert connection.recv() == text


def test_a_client_that_leaves_in_the_middle_of_a_response_is_estimated(gateway: Gateway) -> None:
    before = len(records(gateway, "t", "realtime", 0))
    with connect(url(gateway), additional_headers={"Authorization": f"Bearer {KEY}"}) as connection:
        connection.recv()
        connection.send(json.dumps({"type": "hang"}))
        connection.recv()
        connection.recv()
    found = records(gateway, "t", "realtime", before + 1)
    assert len(found) == before + 1
    assert found[0]["usage_source"] == "estimated"
    assert found[0]["usage"]["output_tokens_total"] >= 4


def test_what_the_client_said_is_billed_by_the_model_that_wrote_it_down(gateway: Gateway) -> None:
    before = len(records(gateway, "t", "realtime", 0))
    with connect(url(gateway), additional_headers={"Authorization": f"Bearer {KEY}"}) as connection:
        connection.recv()
        connection.send(json.dumps({"type": "talk over"}))
        assert [json.loads(connection.recv())["type"] for _ in range(3)][1] == HEARD
        # durable before the client hears of it
        heard = records(gateway, "t", "realtime", before + 1)[0]
    assert (heard["model"], heard["usage_source"], heard["outcome"]) == (
        "gpt-4o-mini-transcribe",
        "response",
        "completed",
    )
    assert heard["usage"] == {"input_tokens_total": 26, "input_audio_tokens": 26, "output_tokens_total": 9}
    assert heard["priced"]
    assert heard["cost_nanousd"] > 0
    # the response in whose middle it came was not lost over it
    rest = records(gateway, "t", "realtime", before + 2)
    assert len(rest) == before + 2
    assert rest[0]["usage_source"] == "estimated"


def test_a_session_that_names_its_model_itself_is_priced(gateway: Gateway) -> None:
    before = len(records(gateway, "t", "realtime", 0))
    unnamed = url(gateway).replace("?model=gpt-realtime", "?call_id=rtc_1")
    with connect(unnamed, additional_headers={"Authorization": f"Bearer {KEY}"}) as connection:
        connection.recv()
        connection.send(json.dumps({"type": "response.create"}))
        while json.loads(connection.recv())["type"] != "response.done":
            pass
        found = records(gateway, "t", "realtime", before + 1)[0]
    assert (found["model_requested"], found["model"], found["priced"]) == ("", "gpt-realtime", True)
    assert found["cost_nanousd"] > 0


def test_responses_over_a_websocket_are_records_too(gateway: Gateway) -> None:
    address = f"ws://127.0.0.1:{gateway.port}/openai/v1/responses"
    with connect(address, additional_headers={"Authorization": f"Bearer {KEY}"}) as connection:
        connection.recv()
        for _ in range(2):
            connection.send(json.dumps({"type": "response.create", "model": "gpt-4o-mini", "input": "hi"}))
            while json.loads(connection.recv())["type"] != "response.completed":
                pass
    found = records(gateway, "t", "responses", 2)
    assert len(found) == 2
    for record in found:
        assert (record["model"], record["usage_source"]) == ("gpt-4o-mini", "response")
        assert record["usage"] == {
            "input_tokens_total": 36,
            "cache_read_tokens": 4,
            "output_tokens_total": 87,
            "reasoning_tokens": 9,
        }
        assert record["cost_nanousd"] == 32 * 150 + 4 * 75 + 87 * 600


def test_a_session_ends_when_the_quota_has_no_room_for_another_response(gateway: Gateway) -> None:
    headers = {"Authorization": "Bearer sk-test-sockets-few"}
    with connect(url(gateway), additional_headers=headers) as connection:
        connection.recv()
        connection.send(json.dumps({"type": "response.create"}))
        kinds = [json.loads(message)["type"] for message in until_closed(connection)]
        assert connection.close_code == 1008
        assert "few-tokens" in (connection.close_reason or "")
    assert kinds[-1] == "response.done"
    assert len(records(gateway, "few", "realtime", 1)) == 1
    with pytest.raises(InvalidStatus) as refused:
        connect(url(gateway), additional_headers=headers)
    assert refused.value.response.status_code == 429


def test_a_response_that_came_although_there_was_no_room_for_it_counts_in_the_quota(gateway: Gateway) -> None:
    with connect(url(gateway), additional_headers={"Authorization": "Bearer sk-test-sockets-two"}) as connection:
        connection.recv()
        connection.send(json.dumps({"type": "twice"}))
        kinds = [json.loads(message)["type"] for message in until_closed(connection)]
        assert "two-tokens" in (connection.close_reason or "")
    assert kinds == ["response.created", "response.done"] * 2
    assert len(records(gateway, "two", "realtime", 2)) == 2
    assert gateway.value("spendgate_quota_used", quota="two-tokens") == 2 * 253
    assert " 0 differences" in gateway.cli("quotas", "verify").stdout


def test_of_responses_that_end_at_once_only_what_follows_them_is_held_and_given_back(
    tmp_path: Path, server: Server
) -> None:
    config = "[server]\nworkers = 2\n" + CONFIG.format(port=port_of(server))
    with Gateway(tmp_path, config.replace("tokens = 2100", "tokens = 9000")) as gateway:
        headers = {"Authorization": "Bearer sk-test-sockets-two"}
        with connect(url(gateway), additional_headers=headers) as connection:
            connection.recv()
            connection.send(json.dumps({"type": "twice"}))
            kinds = [json.loads(connection.recv())["type"] for _ in range(4)]
            assert kinds == ["response.created", "response.done"] * 2
            until_reserved(gateway, 2000)
        until_reserved(gateway, 0)
        assert " 0 differences" in gateway.cli("quotas", "verify").stdout


def until_reserved(gateway: Gateway, wanted: int) -> None:
    deadline = time.monotonic() + 10
    while (found := gateway.value("spendgate_quota_reserved", quota="two-tokens")) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "in a response"])
def test_a_session_that_outlasts_the_drain_is_told_that_the_gateway_restarts(
    tmp_path: Path, server: Server, busy: bool
) -> None:
    config = "[server]\ndrain_seconds = 0.5\n" + CONFIG.format(port=port_of(server))
    with Gateway(tmp_path, config) as gateway:
        with connect(url(gateway), additional_headers={"Authorization": f"Bearer {KEY}"}) as connection:
            connection.recv()
            if busy:
                connection.send(json.dumps({"type": "hang"}))
                while json.loads(connection.recv())["type"] != "response.output_text.delta":
                    pass
            assert gateway.process is not None
            gateway.process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosedError) as closed:
                connection.recv(timeout=10)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        assert gateway.process.wait(20) == 0
        gateway.start()
        found = gateway.records()
    assert sorted(record["api"] for record in found) == ["realtime"] * busy + ["realtime_session"]
    assert {record["outcome"] for record in found} == {"client_disconnected"}
