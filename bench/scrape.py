"""What scrapes of 50,000 series do to calls: their latency with and without, at a running gateway.

``python bench/scrape.py [label sets]``; each label set has four series. Latency is measured at the client. Rounds with
and without scrapes follow each other in one run, so that a busy machine slows both alike; their ratio is what counts.
The scraper reads and does nothing with it: a Prometheus works elsewhere.
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
SECONDS = 4.0
ROUNDS = 8
SCRAPER = """
import sys, time, urllib.request as u
while 1:
    began = time.time()
    got = u.urlopen(u.Request(sys.argv[1], headers={"Accept-Encoding": "gzip"})).read()
    print(len(got), round(time.time() - began, 2), flush=True)
    time.sleep(1)
"""


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


def at(times: list[float], share: float) -> float:
    return times[int(len(times) * share)] * 1e3


async def lags(session: aiohttp.ClientSession, admin: str) -> tuple[int, int]:
    """Ticks of the event loop's own clock so far, and those more than 5 ms late."""
    async with session.get(admin + "/metrics") as answer:
        text = await answer.text()
    name = "spendgate_event_loop_lag_seconds"
    return tuple(
        int(float(line.split()[1]))
        for start in (f"{name}_count", f'{name}_bucket{{le="0.005"}}')
        for line in text.splitlines()
        if line.startswith(start)
    )


async def scraped(url: str, until: asyncio.Event) -> list[str]:
    """Scrape, a second apart, from another process; answers bytes and seconds of each scrape."""
    scraper = await asyncio.create_subprocess_exec(sys.executable, "-c", SCRAPER, url, stdout=asyncio.subprocess.PIPE)
    await until.wait()
    scraper.terminate()
    assert scraper.stdout is not None
    return (await scraper.stdout.read()).decode().split("\n")[:-1]


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder, Gateway(Path(folder), CONFIG) as gateway:
        url = f"{gateway.url}/simulated/v1/chat/completions"
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        times: dict[bool, list[float]] = {False: [], True: []}
        late = {False: [0, 0], True: [0, 0]}
        scrapes: list[str] = []
        async with aiohttp.ClientSession(headers=headers) as session:
            await prime(session, url, count)
            for turn in range(2 * ROUNDS):
                scraping, ended = turn % 2 == 1, asyncio.Event()
                before = await lags(session, gateway.admin)
                scraper = asyncio.create_task(scraped(gateway.admin + "/metrics", ended)) if scraping else None
                times[scraping] += await load(session, url)
                ended.set()
                if scraper is not None:
                    scrapes += await scraper
                ticks, quick = (
                    now - then for now, then in zip(await lags(session, gateway.admin), before, strict=True)
                )
                late[scraping][0] += ticks
                late[scraping][1] += ticks - quick
        print(f"scrapes (bytes, seconds): {'; '.join(scrapes)}")
        print("| calls | p50 ms | p90 ms | p99 ms | p99.9 ms | loop late by > 5 ms |")
        print("| --- | --- | --- | --- | --- | --- |")
        shares = (0.5, 0.9, 0.99, 0.999)
        quiet, busy = ([at(sorted(times[scraping]), share) for share in shares] for scraping in (False, True))
        for name, row, (ticks, slow) in (
            ("no scrape", quiet, late[False]),
            ("scrapes a second apart", busy, late[True]),
        ):
            print(f"| {name} | {' | '.join(f'{value:.1f}' for value in row)} | {slow} of {ticks} |")
        print(f"| ratio | {' | '.join(f'{b / q:.2f}' for q, b in zip(quiet, busy, strict=True))} | |")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 12_500))
