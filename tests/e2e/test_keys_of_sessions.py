"""A session over WebSocket ends with the key that opened it."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

import pytest
from realtime import CONFIG, KEY, port_of, provider
from support.gateway import Gateway
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

ASK = json.dumps({"type": "response.create", "model": "gpt-4o-mini", "input": "hi"})
DONE = ("response.done", "response.completed")
LONGER_THAN_A_KEY = 1.2
"""A revoked key works no longer than a second."""
ENDED = "1008 the key of this session has expired or was revoked"


def opened(gateway: Gateway, path: str, key: str) -> ClientConnection:
    address = f"ws://127.0.0.1:{gateway.port}/openai/v1/{path}"
    return connect(address, additional_headers={"Authorization": f"Bearer {key}"})


def told(session: ClientConnection) -> str:
    """What a session says in place of an answer; empty where it answers."""
    try:
        session.send(ASK)
        while json.loads(session.recv(timeout=10))["type"] not in DONE:
            pass
    except ConnectionClosed as closed:
        return f"{closed.rcvd.code} {closed.rcvd.reason}" if closed.rcvd is not None else "nothing"
    return ""


def heard(session: ClientConnection) -> str:
    """Why a session ends whose client only listens."""
    try:
        while True:
            session.recv(timeout=10)
    except ConnectionClosed as closed:
        return f"{closed.rcvd.code} {closed.rcvd.reason}" if closed.rcvd is not None else "nothing"


@pytest.mark.parametrize("path", ["realtime?model=gpt-realtime", "responses"])
def test_a_revoked_key_opens_nothing_more_in_a_session_that_stands(tmp_path: Path, path: str) -> None:
    with provider() as server, Gateway(tmp_path, CONFIG.format(port=port_of(server))) as gateway:
        made = gateway.post("/api/keys", {"team": "t", "workflow": "w"})
        with opened(gateway, path, made["secret"]) as session, opened(gateway, path, KEY) as other:
            assert not told(session)
            revoke = urllib.request.Request(f"{gateway.admin}/api/keys/{made['id']}", method="DELETE")
            urllib.request.urlopen(revoke, timeout=10).close()
            time.sleep(LONGER_THAN_A_KEY)
            assert told(session) == ENDED
            assert not told(other)


@pytest.mark.parametrize("path", ["realtime?model=gpt-realtime", "responses"])
def test_a_session_whose_client_is_silent_ends_with_its_key_too(tmp_path: Path, path: str) -> None:
    with provider() as server, Gateway(tmp_path, CONFIG.format(port=port_of(server))) as gateway:
        made = gateway.post("/api/keys", {"team": "t", "workflow": "w"})
        with opened(gateway, path, made["secret"]) as session, opened(gateway, path, KEY) as other:
            assert not told(session)
            revoke = urllib.request.Request(f"{gateway.admin}/api/keys/{made['id']}", method="DELETE")
            urllib.request.urlopen(revoke, timeout=10).close()
            assert heard(session) == ENDED
            assert not told(other)


def test_a_key_that_a_reload_takes_away_ends_its_session_and_no_other(tmp_path: Path) -> None:
    with provider() as server, Gateway(tmp_path, CONFIG.format(port=port_of(server))) as gateway:
        made = gateway.post("/api/keys", {"team": "t", "workflow": "w"})
        with opened(gateway, "responses", KEY) as session, opened(gateway, "responses", made["secret"]) as other:
            assert not told(session)
            gateway.write(
                CONFIG.format(port=port_of(server)).replace(f'secret = "{KEY}"', 'secret = "sk-test-another"')
            )
            assert gateway.post("/api/reload")["changed"]
            time.sleep(LONGER_THAN_A_KEY)
            assert told(session) == ENDED
            assert not told(other)


def test_a_key_that_ends_ends_its_session(tmp_path: Path) -> None:
    with provider() as server, Gateway(tmp_path, CONFIG.format(port=port_of(server))) as gateway:
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3))
        made = gateway.post("/api/keys", {"team": "t", "workflow": "w", "expires": ends})
        with opened(gateway, "responses", made["secret"]) as session:
            assert not told(session)
            time.sleep(3 + LONGER_THAN_A_KEY)
            assert told(session) == ENDED
