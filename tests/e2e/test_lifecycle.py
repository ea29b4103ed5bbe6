"""Many calls at once, a stop in the middle of streams, a kill in the middle of everything: one record each."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
from collections.abc import Iterable
from pathlib import Path

import aiohttp
import pytest
from support.gateway import Gateway
from support.upstream import LAST_CHUNK, Seen, Step, Upstream, answer, chunk, chunked_head

CONFIG = """
[providers.openai]
kind = "openai"
base_url = "{url}"
api_key = "sk-real"

[[keys]]
id = "k"
secret = "sk-test-lifecycle"
team = "t"
workflow = "w"

[[quotas]]
name = "all"
usd = 1000.0
window = "month"
"""
HEADERS = {"Authorization": "Bearer sk-test-lifecycle", "Content-Type": "application/json"}
numbers = itertools.count(1)


def usage_of(number: int) -> dict[str, int]:
    return {"prompt_tokens": 10 + number % 7, "completion_tokens": 5 + number % 11, "total_tokens": 0}


def body_of(number: int, *, stream: bool) -> bytes:
    messages = [{"role": "user", "content": f"call {number}"}]
    return json.dumps({"model": "gpt-4o-mini", "messages": messages, "max_tokens": 50, "stream": stream}).encode()


def number_in(seen: Seen) -> int:
    return int(json.loads(seen.body)["messages"][0]["content"].split()[1])


def event(document: dict[str, object]) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def play(seen: Seen, gap: float) -> Iterable[Step]:
    number = number_in(seen)
    if not json.loads(seen.body)["stream"]:
        yield gap
        yield answer(json.dumps({"model": "gpt-4o-mini", "choices": [], "usage": usage_of(number)}).encode())
        return
    assert json.loads(seen.body)["stream_options"] == {"include_usage": True}
    yield chunked_head("text/event-stream")
    for word in range(10):
        yield chunk(event({"model": "gpt-4o-mini", "choices": [{"delta": {"content": f"{word} "}}], "usage": None}))
        yield gap
    last = event({"model": "gpt-4o-mini", "choices": [], "usage": usage_of(number)})
    yield chunk(last + b"data: [DONE]\n\n") + LAST_CHUNK


async def call(
    session: aiohttp.ClientSession, gateway: Gateway, number: int, *, stream: bool
) -> tuple[str | None, bool]:
    """The request id, where a head came, and whether the answer was seen complete."""
    request_id = None
    try:
        url = gateway.url + "/openai/v1/chat/completions"
        async with session.post(url, data=body_of(number, stream=stream), headers=HEADERS) as response:
            request_id = response.headers.get("x-spendgate-request-id")
            await response.read()
            return request_id, response.status == 200
    except (aiohttp.ClientError, ConnectionError):
        return request_id, False


def session_of() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


def check_exact(record: dict[str, object], number: int) -> None:
    usage = usage_of(number)
    assert record["usage_source"] == "response"
    assert record["usage"] == {
        "input_tokens_total": usage["prompt_tokens"],
        "output_tokens_total": usage["completion_tokens"],
    }
    assert record["cost_nanousd"] == usage["prompt_tokens"] * 150 + usage["completion_tokens"] * 600


async def test_a_thousand_concurrent_calls_have_one_exact_record_each(tmp_path: Path) -> None:
    with (
        Upstream(lambda seen: play(seen, 0.02)) as upstream,
        Gateway(tmp_path, CONFIG.format(url=upstream.url), fresh=True) as gateway,
    ):
        async with session_of() as session:
            calls = [call(session, gateway, number, stream=number % 2 == 0) for number in range(1000)]
            results = await asyncio.gather(*calls)
        assert all(complete for _, complete in results)
        records = {record["request_id"]: record for record in await asyncio.to_thread(gateway.records)}
        assert len(records) == 1000
        for number, (request_id, _) in enumerate(results):
            assert request_id is not None
            assert records[request_id]["outcome"] == "completed"
            check_exact(records[request_id], number)
        total = sum(record["cost_nanousd"] for record in records.values())
        metric = next(line for line in gateway.metrics().splitlines() if line.startswith("spendgate_cost_usd_total{"))
        assert round(float(metric.rsplit(" ", 1)[1]) * 1e9) == total


async def test_sigterm_lets_streams_in_flight_finish_and_settles_them(tmp_path: Path) -> None:
    with (
        Upstream(lambda seen: play(seen, 0.1)) as upstream,
        Gateway(tmp_path, CONFIG.format(url=upstream.url), fresh=True) as gateway,
    ):
        async with session_of() as session:
            calls = [asyncio.create_task(call(session, gateway, number, stream=True)) for number in range(100)]
            while len(upstream.seen) < 100:
                await asyncio.sleep(0.02)
            assert gateway.process is not None
            gateway.process.send_signal(signal.SIGTERM)
            results = await asyncio.gather(*calls)
        assert all(complete for _, complete in results)
        assert await asyncio.to_thread(gateway.process.wait, 20) == 0
        gateway.start()
        records = {record["request_id"]: record for record in await asyncio.to_thread(gateway.records)}
        assert len(records) == 100
        for number, (request_id, _) in enumerate(results):
            assert request_id is not None
            assert records[request_id]["outcome"] == "completed"
            check_exact(records[request_id], number)


async def kill_in_the_middle(tmp_path: Path, calls: int, delay: float) -> None:
    """Kill -9 under load, start again, compare the ledger with what the upstream and the clients saw."""
    with Upstream(lambda seen: play(seen, 0.03)) as upstream:
        gateway = Gateway(tmp_path, CONFIG.format(url=upstream.url), fresh=True).start()
        async with session_of() as session:
            tasks = [asyncio.create_task(call(session, gateway, n, stream=n % 3 != 0)) for n in range(calls)]
            await asyncio.sleep(delay)
            gateway.kill()
            results = await asyncio.gather(*tasks)
        received = sorted(number_in(seen) for seen in upstream.seen)
        with gateway:
            records = await asyncio.to_thread(gateway.records)
            gateway.cli("report")
        by_id = {record["request_id"]: record for record in records}
        assert len(by_id) == len(records)
        assert len(records) >= len(received)
        assert {record["outcome"] for record in records} <= {"completed", "recovered"}
        for number, (request_id, complete) in enumerate(results):
            if complete:
                assert request_id is not None
                assert by_id[request_id]["outcome"] == "completed"
                check_exact(by_id[request_id], number)
            elif request_id is not None:
                assert request_id in by_id


@pytest.mark.parametrize("delay", [0.05, 0.15, 0.25, 0.35])
async def test_kill_9_in_the_middle_of_100_calls_loses_none(tmp_path: Path, delay: float) -> None:
    await kill_in_the_middle(tmp_path, 100, delay)


def test_a_stop_without_calls_is_clean(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, CONFIG.format(url="http://127.0.0.1:9"), fresh=True).start()
    assert gateway.stop() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_start_says_which_optional_providers_it_leaves_out(tmp_path: Path, workers: int) -> None:
    config = (
        f'[server]\nworkers = {workers}\n[providers.simulated]\nkind = "simulated"\n'
        '[providers.later]\nkind = "openai"\napi_key = "env:NOT_SET_BY_ANY_TEST"\noptional = true\n'
    )
    with Gateway(tmp_path, config, fresh=True) as gateway:
        assert gateway.stop() == 0
    told = 'spendgate leaves out provider "later": the environment variable NOT_SET_BY_ANY_TEST is not set'
    assert gateway.log().splitlines().count(told) == 1
    assert "simulated" not in gateway.log()


def test_what_the_first_calls_need_is_loaded_before_there_are_any(tmp_path: Path) -> None:
    with Gateway(tmp_path, CONFIG.format(url="http://127.0.0.1:9"), fresh=True) as gateway:
        assert "spendgate_vocabularies 2.0" in gateway.metrics()
