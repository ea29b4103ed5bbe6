"""Rules that are changed while calls are made: nothing that is in flight or ends meanwhile is forgotten."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, answer

CONFIG = """
[providers.openai]
kind = "openai"
base_url = "{url}"
api_key = "sk-real"

[[keys]]
id = "k"
secret = "sk-test-changed"
team = "t"
workflow = "w"

[[prices]]
provider = "openai"
model = "*"
input_per_mtok = 1.0
output_per_mtok = 1.0
"""
BUDGET = """
[[quotas]]
name = "budget"
match = {{ team = "t" }}
usd = {usd}
window = "total"
"""
TOKENS = 500


def script(seen: Seen) -> Iterator[Step]:
    yield random.Random(len(seen.body)).random() * 0.1
    usage = {"prompt_tokens": 10, "completion_tokens": TOKENS - 10, "total_tokens": TOKENS}
    yield answer(json.dumps({"model": "m", "choices": [], "usage": usage}).encode())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_limit_that_is_raised_by_a_reload_is_told_to_have_room_again(tmp_path: Path, workers: int) -> None:
    """Whoever was told that it is exhausted waits for that."""
    with Upstream(script) as upstream:
        text = f"[server]\nworkers = {workers}\n" + CONFIG.format(url=upstream.url)
        rule = '[[quotas]]\nname = "calls"\nper = ["workflow"]\nrequests = {most}\nwindow = "total"\n'
        with Gateway(tmp_path, text + rule.format(most=1)) as gateway:
            assert call(gateway) == 200
            until(lambda: call(gateway) == 429 and told(gateway) == ["exhausted"])
            gateway.write(text + rule.format(most=1000))
            gateway.reload()
            until(lambda: sorted(told(gateway)) == ["exhausted", "reopened", "rule_changed"])
            assert call(gateway) == 200


def told(gateway: Gateway) -> list[str]:
    return [event["kind"] for event in gateway.get("/api/events")["events"]]


def call(gateway: Gateway) -> int:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": TOKENS})
    headers = {"Authorization": "Bearer sk-test-changed", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    connection.request("POST", "/openai/v1/chat/completions", body, headers)
    status = connection.getresponse().status
    connection.close()
    return status


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


async def test_a_budget_that_is_changed_under_load_counts_every_call(tmp_path: Path) -> None:
    with Upstream(script) as upstream:
        text = CONFIG.format(url=upstream.url)
        with Gateway(tmp_path, text + BUDGET.format(usd=100)) as gateway:
            body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": TOKENS}
            url = gateway.url + "/openai/v1/chat/completions"
            headers = {"Authorization": "Bearer sk-test-changed"}
            stop = asyncio.Event()

            async def client(session: aiohttp.ClientSession) -> int:
                done = 0
                while not stop.is_set():
                    async with session.post(url, json=body, headers=headers) as response:
                        assert response.status == 200, await response.text()
                        await response.read()
                        done += 1
                return done

            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
                clients = [asyncio.create_task(client(session)) for _ in range(30)]
                for number in range(8):
                    await asyncio.sleep(0.2)
                    gateway.write(text + BUDGET.format(usd=101 + number))
                    await asyncio.to_thread(gateway.post, "/api/reload")
                stop.set()
                calls = sum(await asyncio.gather(*clients))
            assert gateway.post("/api/quotas/verify")["differences"] == []
            [row] = gateway.get("/api/quotas")["quotas"]
            assert (row["limit"], row["reserved"]) == (108.0, 0)
            assert round(row["used"] * 1e9) == calls * TOKENS * 1000
