"""What a scrape of 50,000 series does to calls: their latency with and without one, at a running gateway.

``python bench/scrape.py [label sets]``; each label set has four series. Latency is measured at the client.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.gateway import Gateway

KEY = "sk-bench-scrape-key"
CONFIG = f"""
[metrics]
max_series = 20000
[providers.simulated]
kind = "simulated"
first_token_seconds = 0.0
token_seconds = 0.0
[[prices]]
provider = "simulated"
model = "*"
input_per_mtok = 2.5
output_per_mtok = 10.0
[[keys]]
id = "bench"
secret = "{KEY}"
team = "bench"
workflow = "none"
"""
BODY = b'{"model":"gpt-4o","max_tokens":4,"messages":[{"role":"user","content":"hello"}]}'
RATE = 200.0
SECONDS = 10.0


async def one(session: aiohttp.ClientSession, url: str, workflow: str) -> float:
    began = time.perf_counter()
    async with session.post(url, data=BODY, headers={"x-spendgate-workflow": workflow}) as answer:
        await answer.read()
        assert answer.status == 200, answer.status
    return time.perf_counter() - began


async def prime(session: aiohttp.ClientSession, url: str, count: int) -> None:
    names = iter(range(count))

    async def work() -> None:
        for number in names:
            await one(session, url, f"flow-{number}")

    await asyncio.gather(*(work() for _ in range(32)))


async def load(session: aiohttp.ClientSession, url: str) -> list[float]:
    """Calls at a steady rate, so that a stall is seen by all that fall into it."""
    loop = asyncio.get_running_loop()
    tasks = []
    start = loop.time()
    for number in range(int(RATE * SECONDS)):
        await asyncio.sleep(max(0.0, start + number / RATE - loop.time()))
        tasks.append(asyncio.create_task(one(session, url, "flow-1")))
    return sorted(await asyncio.gather(*tasks))


def told(times: list[float]) -> str:
    return " | ".join(f"{times[int(len(times) * share)] * 1e3:.1f}" for share in (0.5, 0.9, 0.99, 0.999))


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder, Gateway(Path(folder), CONFIG) as gateway:
        url = f"{gateway.url}/simulated/v1/chat/completions"
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        async with aiohttp.ClientSession(headers=headers) as session:
            await prime(session, url, count)
            quiet = await load(session, url)
            program = (
                "import sys,time,urllib.request as u\nwhile 1:\n t=time.time()\n d=u.urlopen(sys.argv[1]).read()\n"
            )
            program += " print(d.count(b'\\n'),round(time.time()-t,2),flush=True)\n time.sleep(1)\n"
            scraper = await asyncio.create_subprocess_exec(
                sys.executable, "-c", program, gateway.admin + "/metrics", stdout=asyncio.subprocess.PIPE
            )
            busy = await load(session, url)
            scraper.terminate()
            assert scraper.stdout is not None
            lines = (await scraper.stdout.read()).decode().split("\n")
        print(f"scrapes (lines, seconds): {'; '.join(line for line in lines if line)}")
        print("| calls | p50 ms | p90 ms | p99 ms | p99.9 ms |\n| --- | --- | --- | --- | --- |")
        print(f"| no scrape | {told(quiet)} |")
        print(f"| a scrape a second | {told(busy)} |")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 12_500))
