"""Every way a call can end: the client, the provider and the ledger each see what they should."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.gateway import Gateway
from support.upstream import CLOSE, LAST_CHUNK, RESET, Seen, Step, Upstream, answer, chunk, chunked_head

CONFIG = """
[providers.openai]
kind = "openai"
base_url = "{url}"
api_key = "sk-real"
head_seconds = 1.0
idle_seconds = 1.0

[providers.nowhere]
kind = "openai"
base_url = "http://127.0.0.1:9"
api_key = "sk-real"

[providers.anthropic]
kind = "anthropic"
base_url = "{url}"
api_key = "sk-real"

[[keys]]
id = "k"
secret = "sk-test-ends"
team = "t"
workflow = "w"

[[quotas]]
name = "all"
usd = 1000.0
window = "month"

[on_disconnect]
policy = "{policy}"
"""
USAGE = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
WORDS = [f"word{number} " for number in range(30)]


def event(document: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def words(count: int, gap: float = 0.0) -> Iterator[Step]:
    for word in WORDS[:count]:
        yield chunk(
            event({"model": "gpt-4o-mini", "choices": [{"index": 0, "delta": {"content": word}}], "usage": None})
        )
        if gap:
            yield gap


def final() -> bytes:
    return chunk(event({"model": "gpt-4o-mini", "choices": [], "usage": USAGE}) + b"data: [DONE]\n\n")


def script(seen: Seen) -> Iterable[Step]:
    match seen.header("x-play"):
        case "reset before head":
            return [RESET]
        case "close before head":
            return [CLOSE]
        case "silent":
            return [5.0]
        case "garbage":
            return [b"SMTP 220 hello\r\n\r\n", CLOSE]
        case "stream broken":
            return [chunked_head("text/event-stream"), *words(10), CLOSE]
        case "stream reset":
            return [chunked_head("text/event-stream"), *words(10), 0.05, RESET]
        case "stream stalls":
            return [chunked_head("text/event-stream"), *words(5), 5.0]
        case "body short":
            whole = answer(json.dumps({"model": "gpt-4o-mini", "usage": USAGE}).encode())
            return [whole[:-20], CLOSE]
        case "error in stream":
            error = event({"error": {"message": "overloaded", "type": "server_error"}})
            return [chunked_head("text/event-stream"), *words(3), chunk(error), LAST_CHUNK]
        case "error answer":
            return [
                answer(b'{"error":{"message":"slow down","type":"requests"}}', status=429, headers={"retry-after": "7"})
            ]
        case "no usage":
            return [chunked_head("text/event-stream"), *words(20), chunk(b"data: [DONE]\n\n"), LAST_CHUNK]
        case "goes on":
            return [chunked_head("text/event-stream"), *words(3), final(), 0.2, chunk(b": still here\n\n"), LAST_CHUNK]
        case "odd usage":
            odd = {"prompt_tokens": -5, "completion_tokens": "12", "total_tokens": 1e99, "prompt_tokens_details": "x"}
            return [answer(json.dumps({"model": "gpt-4o-mini", "choices": [], "usage": odd}).encode())]
        case "slow stream":
            return [chunked_head("text/event-stream"), *words(30, 0.03), final(), LAST_CHUNK]
        case _:
            return [chunked_head("text/event-stream"), *words(3), final(), LAST_CHUNK]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(script) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    text = CONFIG.format(url=upstream.url, policy="drain")
    with Gateway(tmp_path_factory.mktemp("ends"), text) as running:
        yield running


def request(play: str, *, stream: bool = True, provider: str = "openai", ask: bool = True) -> bytes:
    body: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 90}
    if stream:
        body["stream"] = True
    if ask:
        body["stream_options"] = {"include_usage": True}
    data = json.dumps(body).encode()
    head = (
        f"POST /{provider}/v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-test-ends\r\n"
        f"Content-Type: application/json\r\nX-Play: {play}\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def exchange(gateway: Gateway, raw: bytes, timeout: float = 10) -> tuple[bytes, bool]:
    """All bytes of the answer, and whether it ended as its framing says."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout) as client:
        client.sendall(raw)
        data = b""
        while not complete(data):
            try:
                piece = client.recv(65536)
            except ConnectionResetError:
                return data, False
            if not piece:
                return data, False
            data += piece
        return data, True


def complete(data: bytes) -> bool:
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return False
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        return body.endswith(b"\r\n0\r\n\r\n") or body == b"0\r\n\r\n"
    length = int(lower.split(b"content-length: ")[1].split(b"\r\n")[0])
    return len(body) >= length


def field(data: bytes, name: str) -> str:
    for line in data.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]:
        key, _, value = line.partition(": ")
        if key.lower() == name:
            return value
    return ""


def record_of(gateway: Gateway, data: bytes, seconds: float = 5) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        try:
            found: dict[str, Any] = gateway.get("/api/requests/" + field(data, "x-spendgate-request-id"))
            return found
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


@pytest.mark.parametrize(
    ("play", "provider", "status", "outcome"),
    [
        ("reset before head", "openai", 502, "upstream_error"),
        ("close before head", "openai", 502, "upstream_error"),
        ("garbage", "openai", 502, "upstream_error"),
        ("any", "nowhere", 502, "upstream_error"),
        ("silent", "openai", 504, "upstream_timeout"),
    ],
)
def test_a_provider_that_never_answers_costs_nothing_and_is_named(
    gateway: Gateway, play: str, provider: str, status: int, outcome: str
) -> None:
    data, whole = exchange(gateway, request(play, provider=provider))
    assert whole
    assert int(data.split(b" ", 2)[1]) == status
    assert field(data, "x-spendgate-error").startswith("upstream_")
    record = record_of(gateway, data)
    assert record["outcome"] == outcome
    assert record["cost_nanousd"] == 0
    assert record["usage_source"] == "none"


@pytest.mark.parametrize("play", ["stream broken", "stream reset", "stream stalls"])
def test_a_stream_that_breaks_off_never_looks_complete_and_is_estimated(gateway: Gateway, play: str) -> None:
    data, whole = exchange(gateway, request(play))
    assert not whole
    assert b"word4" in data
    record = record_of(gateway, data)
    assert record["outcome"] == ("upstream_timeout" if play == "stream stalls" else "upstream_error")
    assert record["usage_source"] == "estimated"
    assert record["usage"]["output_tokens_total"] > 0
    assert record["cost_nanousd"] > 0


def test_a_body_shorter_than_declared_never_looks_complete(gateway: Gateway) -> None:
    data, whole = exchange(gateway, request("body short", stream=False))
    assert not whole
    assert record_of(gateway, data)["outcome"] == "upstream_error"


def test_an_error_answer_passes_byte_for_byte_at_no_cost(gateway: Gateway) -> None:
    data, _ = exchange(gateway, request("error answer"))
    assert data.startswith(b"HTTP/1.1 429 Whatever\r\n")
    assert data.endswith(b'{"error":{"message":"slow down","type":"requests"}}')
    assert field(data, "retry-after") == "7"
    record = record_of(gateway, data)
    assert (record["outcome"], record["status"], record["cost_nanousd"]) == ("completed", 429, 0)


def test_an_error_inside_a_stream_is_passed_on_and_what_was_said_is_estimated(gateway: Gateway) -> None:
    data, whole = exchange(gateway, request("error in stream"))
    assert whole
    assert b"overloaded" in data
    record = record_of(gateway, data)
    assert (record["status"], record["usage_source"]) == (200, "estimated")


def test_an_answer_without_usage_is_estimated_from_its_text(gateway: Gateway) -> None:
    data, _ = exchange(gateway, request("no usage"))
    record = record_of(gateway, data)
    assert record["usage_source"] == "estimated"
    assert 40 <= record["usage"]["output_tokens_total"] <= 80
    assert "spendgate_usage_estimated_total{" in gateway.metrics()


def test_a_stream_that_goes_on_after_its_terminal_event_reaches_the_client_whole(gateway: Gateway) -> None:
    data, whole = exchange(gateway, request("goes on"))
    assert whole
    assert b": still here" in data
    assert record_of(gateway, data)["usage"] == {"input_tokens_total": 100, "output_tokens_total": 50}


def test_absurd_usage_is_taken_as_far_as_it_makes_sense(gateway: Gateway) -> None:
    data, whole = exchange(gateway, request("odd usage", stream=False))
    assert whole
    record = record_of(gateway, data)
    assert record["usage"]["output_tokens_total"] == 12
    assert record["usage"].get("input_tokens_total", 0) >= 0


def test_a_client_that_did_not_ask_for_usage_sees_none_of_it(gateway: Gateway) -> None:
    data, whole = exchange(gateway, request("plain", ask=False))
    assert whole
    assert b"usage" not in data
    assert data.count(b"data: {") == 3
    record = record_of(gateway, data)
    assert record["usage_source"] == "response"
    assert record["usage"] == {"input_tokens_total": 100, "output_tokens_total": 50}


async def hang_up(gateway: Gateway, rng: random.Random) -> str:
    """Send a call, leave at a random moment; the request id if a head was seen."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(request("slow stream", ask=rng.random() < 0.5))
    data = b""
    deadline = asyncio.get_running_loop().time() + rng.uniform(0.0, 0.9)
    while (left := deadline - asyncio.get_running_loop().time()) > 0:
        try:
            piece = await asyncio.wait_for(reader.read(4096), left)
        except TimeoutError:
            break
        if not piece:
            break
        data += piece
    if rng.random() < 0.5:
        writer.transport.abort()
    else:
        writer.close()
    return field(data, "x-spendgate-request-id") if b"\r\n\r\n" in data else ""


async def settled(gateway: Gateway, seconds: float) -> list[dict[str, Any]]:
    """All records, once no call is open."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        text = await asyncio.to_thread(gateway.metrics)
        if "spendgate_ledger_open_requests 0.0" in text and "spendgate_client_connections 0.0" in text:
            break
        await asyncio.sleep(0.1)
    return await asyncio.to_thread(gateway.records)


@pytest.mark.parametrize("policy", ["drain", "cancel"])
async def test_500_clients_that_hang_up_have_one_record_each(tmp_path: Path, policy: str) -> None:
    rng = random.Random(11)
    with Upstream(script) as upstream:
        with Gateway(tmp_path, CONFIG.format(url=upstream.url, policy=policy)) as gateway:
            ids = []
            for _ in range(5):
                ids += await asyncio.gather(*(hang_up(gateway, rng) for _ in range(100)))
            # Connections are accepted in their order: once this one is answered, none of the others is still to come.
            await asyncio.to_thread(exchange, gateway, request("plain"))
            records = await settled(gateway, 30)
            held = [line for line in gateway.metrics().splitlines() if line.startswith("spendgate_quota_reserved{")]
        by_id = {record["request_id"]: record for record in records}
        assert len(by_id) == len(records)
        assert len(records) >= len(upstream.seen)
        assert all(request_id in by_id for request_id in ids if request_id)
        assert [line for line in held if not line.endswith(" 0.0")] == []
        sent = [record for record in records if record["response_bytes"] or record["outcome"] == "completed"]
        if policy == "drain":
            for record in sent:
                assert record["usage"] == {"input_tokens_total": 100, "output_tokens_total": 50}
                assert record["usage_source"] == "response"
        else:
            left = [seen for seen in upstream.seen if not seen.done]
            assert left
            assert all(seen.closed_early for seen in left)
            gone = [record for record in sent if record["outcome"] == "client_disconnected"]
            assert gone
            assert all(record["usage_source"] == "estimated" for record in gone if record["usage_source"] != "response")
