"""Clients that hang up: before, during and after the answer, under both policies and past the drain's limits."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.gateway import Gateway
from support.upstream import LAST_CHUNK, Seen, Step, Upstream, chunk, chunked_head
from usages import SSE, sse

KEY = "sk-test-hang-up"
USAGE = {"prompt_tokens": 100, "completion_tokens": 50}
WORD = {"model": "gpt-4o-mini", "choices": [{"index": 0, "delta": {"content": "fine and warm "}}], "usage": None}
REPORT = {"model": "gpt-4o-mini", "choices": [], "usage": USAGE}
ENDLESS = 60.0
"""Seconds that a stream would go on for, were it not closed."""
CONFIG = """
[providers.openai]
kind = "openai"
base_url = "{url}"
api_key = "sk-real"

[[keys]]
id = "k"
secret = "sk-test-hang-up"
team = "t"
workflow = "w"

[on_disconnect]
{policy}
"""


def script(seen: Seen) -> Iterable[Step]:
    play = seen.header("x-play")
    if play == "slow head":
        yield 0.6
    yield chunked_head(SSE)
    if play == "endless":
        for _ in range(int(ENDLESS / 0.02)):
            yield chunk(sse(WORD))
            yield 0.02
    if play == "large":
        for _ in range(400):
            yield chunk(sse({**WORD, "padding": "x" * 5000}))
            yield 0.01
    for _ in range(10):
        yield chunk(sse(WORD))
        yield 0.02
    yield chunk(sse(REPORT, done=True))
    yield LAST_CHUNK


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(script) as running:
        yield running


def gateway_of(directory: Path, upstream: Upstream, policy: str) -> Gateway:
    return Gateway(directory, CONFIG.format(url=upstream.url, policy=policy))


@pytest.fixture(scope="module")
def draining(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    policy = 'policy = "drain"\nmax_seconds = 1.5\nmax_bytes = 200000'
    with gateway_of(tmp_path_factory.mktemp("drain"), upstream, policy) as running:
        yield running


@pytest.fixture(scope="module")
def cancelling(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    with gateway_of(tmp_path_factory.mktemp("cancel"), upstream, 'policy = "cancel"') as running:
        yield running


def start(gateway: Gateway, play: str, number: int = 0) -> socket.socket:
    body = {"model": "gpt-4o-mini", "stream": True, "stream_options": {"include_usage": True}, "max_tokens": 5000,
            "messages": [{"role": "user", "content": "What will the weather be like?"}]}  # fmt: skip
    data = json.dumps(body).encode()
    client = socket.create_connection(("127.0.0.1", gateway.port), 10)
    head = (
        f"POST /openai/v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nX-Play: {play}\r\n"
        f"X-Number: {number}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    client.sendall(head.encode() + data)
    return client


def read_until(client: socket.socket, mark: bytes) -> bytes:
    data = b""
    while mark not in data:
        piece = client.recv(65536)
        assert piece, data
        data += piece
    return data


def wait_for(seen: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def last_record(gateway: Gateway, before: int) -> dict[str, Any]:
    """The one record that came on top of ``before``."""
    wait_for(lambda: len(gateway.records()) > before)
    records = gateway.records()
    assert len(records) == before + 1
    return records[0]


def used(record: dict[str, Any]) -> tuple[int, int]:
    return record["usage"].get("input_tokens_total", 0), record["usage"].get("output_tokens_total", 0)


@pytest.mark.parametrize("play", ["slow head", "plain"])
def test_a_drained_call_is_exact_though_its_client_left(draining: Gateway, upstream: Upstream, play: str) -> None:
    before, sent = len(draining.records()), len(upstream.seen)
    client = start(draining, play)
    wait_for(lambda: len(upstream.seen) > sent)
    if play == "plain":
        read_until(client, b"warm")
    client.close()
    record = last_record(draining, before)
    assert (record["outcome"], record["usage_source"]) == ("client_disconnected", "response")
    assert used(record) == (100, 50)
    assert upstream.seen[-1].done


@pytest.mark.parametrize("play", ["endless", "large"])
def test_past_its_limits_a_drain_closes_upstream_and_the_rest_is_estimated(
    draining: Gateway, upstream: Upstream, play: str
) -> None:
    before = len(draining.records())
    client = start(draining, play)
    read_until(client, b"warm")
    client.close()
    record = last_record(draining, before)
    assert (record["outcome"], record["usage_source"]) == ("client_disconnected", "estimated")
    assert used(record)[1] > 0
    wait_for(lambda: upstream.seen[-1].closed_early)


@pytest.mark.parametrize("play", ["slow head", "endless"])
def test_a_cancelled_call_is_closed_upstream_and_estimated(cancelling: Gateway, upstream: Upstream, play: str) -> None:
    before, sent = len(cancelling.records()), len(upstream.seen)
    client = start(cancelling, play)
    wait_for(lambda: len(upstream.seen) > sent)
    if play == "endless":
        read_until(client, b"warm")
    client.close()
    wait_for(lambda: upstream.seen[-1].closed_early)
    record = last_record(cancelling, before)
    assert (record["outcome"], record["usage_source"]) == ("client_disconnected", "estimated")
    assert used(record)[0] > 0


def candidates(seen: Seen) -> Iterable[Step]:
    """Two: one ends soon, with a report, the other goes on."""
    yield chunked_head(SSE)
    first = {"index": 0, "content": {"parts": [{"text": "so it goes"}]}, "finishReason": "STOP"}
    yield chunk(sse({"candidates": [first], "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 3}}))
    for _ in range(int(ENDLESS / 0.02)):
        yield chunk(sse({"candidates": [{"index": 1, "content": {"parts": [{"text": "fine and warm "}]}}]}))
        yield 0.02


def test_what_a_second_candidate_says_after_the_first_has_ended_is_estimated(tmp_path: Path) -> None:
    config = CONFIG.replace("openai", "gemini")
    with (
        Upstream(candidates) as upstream,
        Gateway(tmp_path, config.format(url=upstream.url, policy='policy = "cancel"')) as gateway,
    ):
        body = b'{"contents":[{"parts":[{"text":"hi"}]}],"generationConfig":{"candidateCount":2}}'
        client = socket.create_connection(("127.0.0.1", gateway.port), 10)
        client.sendall(
            b"POST /gemini/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse HTTP/1.1\r\nHost: x\r\n"
            b"x-goog-api-key: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (KEY.encode(), len(body), body)
        )
        read_until(client, b"fine and warm")
        client.close()
        record = last_record(gateway, 0)
    assert (record["outcome"], record["usage_source"]) == ("client_disconnected", "estimated")
    assert used(record)[0] == 9
    assert used(record)[1] > 3


def test_a_client_that_leaves_after_the_last_byte_has_a_completed_call(cancelling: Gateway) -> None:
    before = len(cancelling.records())
    client = start(cancelling, "plain")
    read_until(client, b"\r\n0\r\n\r\n")
    client.close()
    record = last_record(cancelling, before)
    assert (record["outcome"], record["usage_source"], used(record)) == ("completed", "response", (100, 50))


async def left_and_closed(tmp_path: Path, upstream: Upstream, clients: int) -> list[float]:
    """Seconds from each client's hang-up to the provider's seeing its own connection closed."""
    rng = random.Random(5)
    with gateway_of(tmp_path, upstream, 'policy = "cancel"') as gateway:
        left: dict[str, float] = {}
        first = len(upstream.seen)

        async def one(number: int) -> None:
            client = await asyncio.to_thread(start, gateway, "endless", number)
            await asyncio.sleep(rng.uniform(0.3, 2.0))
            left[str(number)] = time.monotonic()
            client.close()

        for batch in range(0, clients, 50):
            await asyncio.gather(*(one(number) for number in range(batch, min(batch + 50, clients))))
        seen = upstream.seen[first:]
        await asyncio.to_thread(wait_for, lambda: all(call.closed_early for call in seen))
        await asyncio.to_thread(wait_for, lambda: len(gateway.records()) == clients)
        records = await asyncio.to_thread(gateway.records)
    assert len(seen) == len(records) == clients
    assert {record["outcome"] for record in records} == {"client_disconnected"}
    return sorted(call.closed_at - left[call.header("x-number") or ""] for call in seen)


async def test_a_cancelled_stream_is_closed_upstream_for_each_client(tmp_path: Path, upstream: Upstream) -> None:
    assert len(await left_and_closed(tmp_path, upstream, 20)) == 20


@pytest.mark.prove
@pytest.mark.skipif(not os.environ.get("PROVE"), reason="runs in make prove")
async def test_upstream_is_closed_within_a_second_for_500_clients(tmp_path: Path, upstream: Upstream) -> None:
    took = await left_and_closed(tmp_path, upstream, 500)
    print(f"closed upstream after {took[250] * 1000:.0f} ms (median), {took[-1] * 1000:.0f} ms (longest)")
    assert took[-1] < 1.0
