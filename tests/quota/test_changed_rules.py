"""Rules that are changed while calls are made: nothing that is in flight or ends meanwhile is forgotten."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path

import aiohttp
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
