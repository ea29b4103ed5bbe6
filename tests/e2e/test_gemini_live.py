"""Gemini's Live API through the gateway: bytes both ways, a record for each turn, its model from the first message."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from google import genai
from google.genai import types
from support.gateway import Gateway
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import Server, ServerConnection, serve

KEY = "sk-test-live"
PATH = "/gemini/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
VERTEX = "/vertex/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent"
MODEL = "gemini-3.8-live"
CONFIG = """
[providers.gemini]
kind = "gemini"
base_url = "http://127.0.0.1:{port}"
api_key = "real-google"

[providers.vertex]
kind = "vertex"
base_url = "http://127.0.0.1:{port}"
api_key = "real-google"

[[prices]]
provider = "gemini"
model = "*"
web_search_seen_per_k = 14

[[prices]]
provider = "vertex"
model = "*"
web_search_seen_per_k = 14

[[keys]]
id = "k"
secret = "sk-test-live"
team = "t"
workflow = "w"

[[keys]]
id = "bound"
secret = "sk-test-live-bound"
team = "bound"
workflow = "w"
models = ["gemini-2.5*"]

[[keys]]
id = "few"
secret = "sk-test-live-few"
team = "few"
workflow = "w"

[[quotas]]
name = "few-tokens"
match = {{ team = "few", model = "gemini-3.8-live" }}
tokens = 300
window = "total"
"""
META = {
    "promptTokenCount": 522,
    "responseTokenCount": 42,
    "totalTokenCount": 564,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 332}, {"modality": "AUDIO", "tokenCount": 165}],
    "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 42}],
    "thoughtsTokenCount": 136,
}
READ = {"input_tokens_total": 522, "output_tokens_total": 178, "reasoning_tokens": 136, "input_audio_tokens": 165,
        "output_audio_tokens": 42}  # fmt: skip
SAID = {"serverContent": {"modelTurn": {"parts": [{"text": "so it goes"}]}}}


def converse(connection: ServerConnection) -> None:
    """Answers the setup, then each client's message with a turn; ``stop`` is left in the middle of it."""

    def say(message: dict[str, Any]) -> None:
        connection.send(json.dumps(message).encode())

    try:
        setup = json.loads(connection.recv())
        assert "setup" in setup
        say({"setupComplete": {}})
        for raw in connection:
            say(SAID)
            if "stop" in str(raw):
                continue
            grounded = {"webSearchQueries": ["a", "", "b", "a"]} if "search" in str(raw) else None
            say(
                {"serverContent": {"generationComplete": True, **({"groundingMetadata": grounded} if grounded else {})}}
            )
            say({"serverContent": {"turnComplete": True}, "usageMetadata": META})
    except ConnectionClosed:
        return


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(converse, "127.0.0.1", 0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Iterator[Gateway]:
    config = CONFIG.format(port=server.socket.getsockname()[1])
    with Gateway(tmp_path_factory.mktemp("live"), config) as running:
        yield running


def session(gateway: Gateway, path: str = PATH, key: str = KEY, model: str = f"models/{MODEL}") -> ClientConnection:
    connection = connect(gateway.url.replace("http", "ws") + path, additional_headers={"x-spendgate-key": key})
    connection.send(json.dumps({"setup": {"model": model}}))
    return connection


def says(connection: ClientConnection, text: str) -> None:
    connection.send(json.dumps({"clientContent": {"turns": [{"parts": [{"text": text}]}], "turnComplete": True}}))


def until(connection: ClientConnection, mark: str) -> list[Any]:
    found: list[Any] = []
    while not found or mark not in json.dumps(found[-1]):
        found.append(json.loads(connection.recv(timeout=20)))
    return found


def records(gateway: Gateway, api: str, count: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 20
    while True:
        found = [one for one in gateway.records() if one["api"] == api]
        if len(found) >= count or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("path", "model"),
    [(PATH, f"models/{MODEL}"), (VERTEX, f"projects/p/locations/l/publishers/google/models/{MODEL}")],
)
def test_each_turn_is_a_record_at_its_models_price(gateway: Gateway, path: str, model: str) -> None:
    before = len(records(gateway, "live", 0))
    with session(gateway, path, model=model) as connection:
        assert json.loads(connection.recv(timeout=20)) == {"setupComplete": {}}
        says(connection, "Hello")
        assert until(connection, "turnComplete")[0] == SAID
        # a turn that the client saw the end of is in the ledger
        assert len(records(gateway, "live", before + 1)) == before + 1
        says(connection, "search")
        until(connection, "turnComplete")
    found = sorted(records(gateway, "live", before + 2), key=lambda one: one["request_id"])[before:]
    assert [one["usage"] for one in found] == [READ, {**READ, "web_searches_seen": 2}]
    for one in found:
        assert (one["model"], one["usage_source"], one["priced"], one["stream"]) == (MODEL, "response", True, True)
    # 0.75 and 4.5 dollars a million tokens of text, 3 and 12 of sound, 14 a thousand searches
    cost = (522 - 165) * 750 + 165 * 3000 + 136 * 4500 + 42 * 12_000
    assert [one["cost_nanousd"] for one in found] == [cost, cost + 2 * 14_000_000]


def test_googles_own_sdk_which_speaks_tls_alone_talks_through_the_gateway(tmp_path: Path, server: Server) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    files = 'cert = "cert.pem"\nkey = "key.pem"\n'
    secured = f"[server]\n[server.tls]\n{files}[server.admin_tls]\n{files}"
    config = secured + CONFIG.format(port=server.socket.getsockname()[1])

    async def talk(url: str) -> list[Any]:
        options = types.HttpOptions(base_url=f"{url}/gemini", async_client_args={"ssl": trust})
        client = genai.Client(api_key=KEY, http_options=options)
        async with client.aio.live.connect(model=MODEL, config={"response_modalities": ["TEXT"]}) as live:
            await live.send_client_content(turns={"role": "user", "parts": [{"text": "Hi"}]}, turn_complete=True)
            return [message async for message in live.receive()]

    with Gateway(tmp_path, config, trust=trust) as gateway:
        heard = asyncio.run(talk(gateway.url))
        assert [message.text for message in heard if message.text] == ["so it goes"]
        assert [one["usage"] for one in records(gateway, "live", 1)] == [READ]


def test_a_turn_that_was_left_in_the_middle_is_estimated(gateway: Gateway) -> None:
    connection = session(gateway)
    connection.recv(timeout=20)
    says(connection, "stop")
    connection.recv(timeout=20)
    connection.socket.shutdown(socket.SHUT_RDWR)
    deadline = time.monotonic() + 20
    while not (found := [one for one in records(gateway, "live", 1) if one["usage_source"] == "estimated"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (found[0]["outcome"], found[0]["model"]) == ("client_disconnected", MODEL)
    assert found[0]["usage"]["output_tokens_total"] > 0


@pytest.mark.parametrize(
    ("key", "first", "why"),
    [
        ("sk-test-live-bound", {"setup": {"model": f"models/{MODEL}"}}, "may not use model"),
        ("sk-test-live-few", {"setup": {"model": f"models/{MODEL}"}}, "few-tokens"),
        (KEY, {"clientContent": {}}, "setup"),
    ],
)
def test_a_model_that_may_not_be_used_ends_the_session_before_the_provider_hears_of_it(
    gateway: Gateway, key: str, first: dict[str, Any], why: str
) -> None:
    connection = connect(gateway.url.replace("http", "ws") + PATH, additional_headers={"x-spendgate-key": key})
    connection.send(json.dumps(first))
    with pytest.raises(ConnectionClosed) as closed:
        connection.recv(timeout=20)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    assert why in closed.value.rcvd.reason


def test_a_turn_in_progress_when_the_gateway_is_killed_counts_whole(tmp_path: Path, server: Server) -> None:
    config = CONFIG.format(port=server.socket.getsockname()[1]).replace("tokens = 300\n", "tokens = 100000000\n")
    names = ("spendgate_quota_used", "spendgate_quota_reserved")

    def counted(running: Gateway) -> list[str]:
        lines = [line for line in running.metrics().splitlines() if line.startswith(names)]
        return [line.split()[-1] for line in lines]

    with Gateway(tmp_path, config) as first:
        connection = session(first, key="sk-test-live-few")
        connection.recv(timeout=20)
        says(connection, "stop")
        connection.recv(timeout=20)
        used, held = counted(first)
        first.kill()
        connection.socket.close()
    with Gateway(tmp_path, config) as second:
        assert float(held) > 0
        assert counted(second) == [held, used]


def test_other_sockets_of_googles_are_refused(gateway: Gateway) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(gateway.url.replace("http", "ws") + "/gemini/ws/other", additional_headers={"x-spendgate-key": KEY})
    assert refused.value.response.status_code == 501
