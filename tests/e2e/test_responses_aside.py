"""Realtime sessions that ask for several responses at once: each is held before the provider hears of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from realtime import CONFIG, USAGE, port_of, records, url
from support.gateway import Gateway
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import Server, ServerConnection, serve

ASIDE = {"type": "response.create", "response": {"conversation": "none", "input": []}}
created: list[dict[str, Any]] = []


def converse(connection: ServerConnection) -> None:
    """Makes what it is asked for when it is told to."""
    begun: list[dict[str, Any]] = []
    for message in connection:
        event = json.loads(message)
        if event["type"] == "nonsense" or event.get("response", {}).get("instructions") == "none of this":
            error = {"type": "invalid_request_error", "message": "no", "event_id": event.get("event_id")}
            connection.send(json.dumps({"type": "error", "event_id": "the server's own", "error": error}))
        elif event["type"] == "response.create":
            created.append(event)
            aside = event.get("response", {}).get("conversation") == "none"
            begun.append({"id": f"r{len(begun)}", "conversation_id": None if aside else "conv"})
            connection.send(json.dumps({"type": "response.created", "response": begun[-1]}))
        elif event["type"] == "finish":
            for response in begun:
                done = {**response, "status": "completed", "usage": USAGE}
                connection.send(json.dumps({"type": "response.done", "response": done}))
            begun = []


@contextmanager
def provider() -> Iterator[Server]:
    with serve(converse, "127.0.0.1", 0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    created.clear()
    with provider() as server:
        text = CONFIG.format(port=port_of(server)).replace("tokens = 2100", "tokens = 6100")
        with Gateway(tmp_path, text) as running:
            yield running


def call(gateway: Gateway, who: str = "few") -> ClientConnection:
    headers = {"Authorization": f"Bearer sk-test-sockets-{who}"}
    return connect(url(gateway), additional_headers=headers)


def quota(gateway: Gateway, what: str, expected: float, name: str = "few-tokens") -> None:
    deadline = time.monotonic() + 10
    while gateway.value(f"spendgate_quota_{what}", quota=name, unit="tokens") != expected:
        assert time.monotonic() < deadline, gateway.value(f"spendgate_quota_{what}", quota=name, unit="tokens")
        time.sleep(0.02)


def begun(connection: ClientConnection) -> None:
    assert json.loads(connection.recv(timeout=10))["type"] == "response.created"


def test_responses_at_once_are_held_each_and_a_session_ends_where_there_is_no_room_for_one(gateway: Gateway) -> None:
    with call(gateway) as connection:
        quota(gateway, "reserved", 2000)
        for number in (1, 2):
            connection.send(json.dumps(ASIDE))
            begun(connection)
            quota(gateway, "reserved", 2000 * (number + 1))
        connection.send(json.dumps(ASIDE))
        with pytest.raises(ConnectionClosedError) as closed:
            connection.recv(timeout=10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
    assert len(created) == 2
    # the provider may have made both: what was held for them counts
    quota(gateway, "reserved", 0)
    quota(gateway, "used", 4000)
    assert [one["usage_source"] for one in records(gateway, "few", "realtime", 2)] == ["estimated"] * 2


def test_a_response_of_which_nothing_came_yet_counts_whole_where_its_client_leaves(gateway: Gateway) -> None:
    with call(gateway) as connection:
        connection.send(json.dumps({"type": "response.create"}))
        begun(connection)
        # the client says goodbye as it should: the provider has read the conversation all the same
    quota(gateway, "reserved", 0)
    quota(gateway, "used", 2000)
    assert [one["outcome"] for one in records(gateway, "few", "realtime", 1)] == ["client_disconnected"]


def test_what_was_held_for_a_response_aside_is_settled_with_it(gateway: Gateway) -> None:
    with call(gateway) as connection:
        for event in (ASIDE, {"type": "response.create"}, ASIDE):
            connection.send(json.dumps(event))
            begun(connection)
        quota(gateway, "reserved", 6000)
        connection.send(json.dumps({"type": "finish"}))
        for _ in range(3):
            assert json.loads(connection.recv(timeout=10))["type"] == "response.done"
        quota(gateway, "reserved", 2000)
        quota(gateway, "used", 3 * 253)
    found = records(gateway, "few", "realtime", 3)
    assert [one["usage_source"] for one in found] == ["response"] * 3
    quota(gateway, "reserved", 0)


def refused(connection: ClientConnection, name: str) -> None:
    asked = {**ASIDE, "event_id": name, "response": {**ASIDE["response"], "instructions": "none of this"}}
    connection.send(json.dumps(asked))
    assert json.loads(connection.recv(timeout=10))["type"] == "error"


def test_what_was_held_for_a_response_aside_that_the_provider_refuses_is_given_back(gateway: Gateway) -> None:
    with call(gateway) as connection:
        for number in range(5):
            refused(connection, f"mine-{number}")
            quota(gateway, "reserved", 2000)
        connection.send(json.dumps({**ASIDE, "event_id": "good"}))
        begun(connection)
        quota(gateway, "reserved", 4000)
        # what the provider makes already it can't have refused, whatever a client calls its messages
        connection.send(json.dumps({"type": "nonsense", "event_id": "good"}))
        assert json.loads(connection.recv(timeout=10))["type"] == "error"
        refused(connection, "another")
        quota(gateway, "reserved", 4000)
        connection.send(json.dumps({"type": "finish"}))
        assert json.loads(connection.recv(timeout=10))["type"] == "response.done"
        quota(gateway, "reserved", 2000)
        quota(gateway, "used", 253)
        gateway.kill()
    gateway.start()
    # the session's own room is all that nobody came back to
    quota(gateway, "used", 2253)


def test_after_a_crash_all_that_was_held_aside_counts(gateway: Gateway) -> None:
    with call(gateway) as connection:
        for _ in range(2):
            connection.send(json.dumps(ASIDE))
            begun(connection)
        gateway.kill()
    gateway.start()
    quota(gateway, "used", 6000)


def test_a_message_in_pieces_is_held_before_it_goes_on(gateway: Gateway) -> None:
    with call(gateway) as connection:
        text = json.dumps(ASIDE).replace("response.create", "response\\u002ecreate")
        connection.send([text[:9], text[9:20], text[20:]])
        begun(connection)
        quota(gateway, "reserved", 4000)
        # one of the conversation's own is what the session holds room for already
        connection.send(json.dumps({"type": "response.create", "response": {"conversation": "auto"}}))
        begun(connection)
        quota(gateway, "reserved", 4000)
