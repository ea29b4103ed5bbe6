"""Many calls of random true cost against a small budget: what the provider counts never passes the limit."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import aiohttp
import pytest
from support.gateway import Gateway
from support.upstream import LAST_CHUNK, RESET, Seen, Step, Upstream, answer, chunk, chunked_head

INPUT, OUTPUT = 150, 600
"""Nanodollars a token, of the price below."""
BUDGET_NANOUSD = 6_000_000
CONFIG = """
[providers.openai]
kind = "openai"
base_url = "{url}"
api_key = "sk-real"

[[keys]]
id = "k"
secret = "sk-test-never-over"
team = "t"
workflow = "w"

[[prices]]
provider = "openai"
model = "*"
input_per_mtok = 0.15
output_per_mtok = 0.6

[[quotas]]
name = "budget"
match = {{ team = "t" }}
usd = {usd}
window = "total"
clamp = {clamp}
extend = {extend}
warn_at = [{warn}]

[[quotas]]
name = "{extra}"
usd = 1000.0
window = "day"

[on_disconnect]
policy = "{policy}"
"""
LONG_BUDGET_NANOUSD = 85_500_000
"""About 300 of the long streams below."""
HEADERS = {"Authorization": "Bearer sk-test-never-over", "Content-Type": "application/json"}


class Provider:
    """Counts what it would charge for every call that it has taken."""

    def __init__(self, seed: int, *, paced: bool = False) -> None:
        self.rng = random.Random(seed)
        self.paced = paced
        self.charged = 0

    def script(self, seen: Seen) -> Iterable[Step]:
        body = json.loads(seen.body)
        limit = body.get("max_completion_tokens", body.get("max_tokens", 0))
        used = self.rng.randint(1, limit)
        tokens_in = max(1, len(body["messages"][0]["content"]) // 4)
        luck = self.rng.random()
        if luck < 0.05:
            yield RESET
            return
        if luck < 0.08:
            yield answer(b'{"error": {"message": "overloaded"}}', status=503)
            return
        self.charged += tokens_in * INPUT + used * OUTPUT
        usage = {"prompt_tokens": tokens_in, "completion_tokens": used, "total_tokens": tokens_in + used}
        if not body.get("stream"):
            yield self.rng.random() * 0.05
            yield answer(json.dumps({"model": "m", "choices": [], "usage": usage}).encode())
            return
        yield chunked_head("text/event-stream")
        if self.paced:
            self.charged -= used * OUTPUT
            yield from self.speak(used)
        else:
            words = {"model": "m", "choices": [{"index": 0, "delta": {"content": "words " * used}}]}
            yield chunk(b"data: " + json.dumps(words).encode() + b"\n\n")
            yield self.rng.random() * 0.05
        last = b"data: " + json.dumps({"model": "m", "choices": [], "usage": usage}).encode() + b"\n\ndata: [DONE]\n\n"
        yield chunk(last) + LAST_CHUNK

    def speak(self, words: int) -> Iterable[Step]:
        """A word at a time, each charged when it is made."""
        said = {"model": "m", "choices": [{"index": 0, "delta": {"content": " word"}}]}
        piece = chunk(b"data: " + json.dumps(said).encode() + b"\n\n")
        for _ in range(words):
            self.charged += OUTPUT
            yield piece
            yield 0.002


async def call(session: aiohttp.ClientSession, gateway: Gateway, rng: random.Random, *, long: bool = False) -> int:
    body = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": "x" * rng.randint(1, 60)}],
        "max_tokens": rng.randint(400, 1500) if long else rng.randint(5, 60),
        "stream": long or rng.random() < 0.5,
    }
    patience = aiohttp.ClientTimeout(total=rng.uniform(0.01, 0.2) if rng.random() < 0.05 else 60)
    try:
        url = gateway.url + "/openai/v1/chat/completions"
        async with session.post(url, json=body, headers=HEADERS, timeout=patience) as response:
            await response.read()
            return response.status
    except (aiohttp.ClientError, TimeoutError, ConnectionError):
        return 0


async def rush(
    gateway: Gateway,
    calls: int,
    rng: random.Random,
    *,
    long: bool = False,
    at_once: int = 400,
    heard: list[int] | None = None,
) -> list[int]:
    """All calls' statuses; ``heard`` gets each as it comes."""

    async def one() -> int:
        status = await call(session, gateway, rng, long=long)
        if heard is not None:
            heard.append(status)
        return status

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=at_once)) as session:
        return await asyncio.gather(*(one() for _ in range(calls)))


def config(url: str, budget_nanousd: int, *, clamp: bool = False, extend: bool = False, drain: bool = False) -> str:
    """The configuration, but for the names of the further rule and the threshold."""
    return CONFIG.format(
        url=url,
        usd=budget_nanousd / 1e9,
        clamp=str(clamp).lower(),
        extend=str(extend).lower(),
        policy="drain" if drain else "cancel",
        extra="{extra}",
        warn="{warn}",
    )


def gauge(gateway: Gateway, name: str) -> float:
    return gateway.value(name, bucket="", quota="budget", unit="usd")


def show(what: str, calls: int, taken: int, charged: int, used: int, budget: int = BUDGET_NANOUSD) -> None:
    """The figures of a round, for those who ran it."""
    spent, counted = charged / budget, used / budget
    sys.stderr.write(
        f"\n{what}: {calls:,} calls, {taken:,} of them sent; spent {spent:.1%} of the limit, counted {counted:.1%}; "
        f"overspend {max(0, charged - budget)}"
    )


async def one_round(tmp_path: Path, seed: int, calls: int, *, clamp: bool, kill: bool) -> None:
    rng, provider = random.Random(seed), Provider(seed)
    with Upstream(provider.script) as upstream:
        # a call that is read to its end is exact; one that is not may have cost all that it held
        text = config(upstream.url, BUDGET_NANOUSD, clamp=clamp, drain=clamp)
        gateway = Gateway(tmp_path, text.replace("{extra}", "first").replace("{warn}", "0.9")).start()
        heard: list[int] = []
        rushing = asyncio.create_task(rush(gateway, calls, rng, heard=heard))
        statuses: list[int] = []
        for number in range(3):
            # each time another rule is new, and the budget's own is changed
            await asyncio.sleep(0.15)
            gateway.write(text.replace("{extra}", f"other-{number}").replace("{warn}", f"0.{number + 3}"))
            gateway.reload()
        if kill:
            while heard.count(200) < calls // 20 and not rushing.done():
                await asyncio.sleep(0.01)
            gateway.kill()
            statuses += await rushing
            gateway.start()
            rushing = asyncio.create_task(rush(gateway, calls, rng))
        statuses += await rushing
        assert provider.charged <= BUDGET_NANOUSD
        # what is left is used up, call by call
        for _ in range(60):
            more = await rush(gateway, 50, rng)
            statuses += more
            # whose client hung up holds its room until its answer has been read
            if 200 not in more and not gauge(gateway, "spendgate_quota_reserved"):
                break
        assert provider.charged <= BUDGET_NANOUSD
        assert 429 in statuses
        assert 200 in statuses
        # whose client hung up may still be read to its end
        deadline = time.monotonic() + 30
        while gauge(gateway, "spendgate_quota_reserved") and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        assert gauge(gateway, "spendgate_quota_reserved") == 0
        used = round(gauge(gateway, "spendgate_quota_used") * 1e9)
        assert used <= BUDGET_NANOUSD
        if clamp and not kill:
            assert provider.charged >= BUDGET_NANOUSD * 0.98
        assert gateway.post("/api/quotas/verify")["differences"] == []
        show(f"rush {seed}: clamp {clamp}, kill -9 {kill}", len(statuses), len(upstream.seen), provider.charged, used)
        gateway.stop()
        # after a restart the counters are the ledger's again
        gateway.start()
        assert round(gauge(gateway, "spendgate_quota_used") * 1e9) == used
        gateway.stop()


@pytest.mark.parametrize(("clamp", "kill"), [(False, False), (True, False), (False, True)])
async def test_a_budget_is_never_passed_by_a_rush(tmp_path: Path, clamp: bool, kill: bool) -> None:
    await one_round(tmp_path, 5, 600, clamp=clamp, kill=kill)


async def long_streams(tmp_path: Path, seed: int, calls: int, budget: int, at_once: int, *, drain: bool) -> int:
    """Streams that outgrow a budget, with reservations that grow. Answers what the provider charged."""
    rng, provider = random.Random(seed), Provider(seed, paced=True)
    with Upstream(provider.script) as upstream:
        text = config(upstream.url, budget, extend=True, drain=drain).replace("{extra}", "first")
        with Gateway(tmp_path, text.replace("{warn}", "0.9")) as gateway:
            statuses = await rush(gateway, calls, rng, long=True, at_once=at_once)
            assert provider.charged <= budget
            for _ in range(60):
                # until nobody gets in any more
                answers = await rush(gateway, 20, rng, long=True, at_once=at_once)
                statuses += answers
                if set(answers) == {429}:
                    break
            while gauge(gateway, "spendgate_quota_reserved"):
                # streams whose clients are gone are read to their end
                await asyncio.sleep(0.05)
            assert provider.charged <= budget
            assert 429 in statuses
            used = round(gauge(gateway, "spendgate_quota_used") * 1e9)
            assert budget * 0.98 <= used <= budget
            assert gateway.post("/api/quotas/verify")["differences"] == []
            show(f"long streams {seed}", len(statuses), len(upstream.seen), provider.charged, used, budget)
    return provider.charged


async def test_streams_that_grow_never_pass_the_budget_and_use_it_up(tmp_path: Path) -> None:
    await long_streams(tmp_path, 3, 120, BUDGET_NANOUSD, 20, drain=False)


@pytest.mark.prove
@pytest.mark.parametrize("seed", range(6))
async def test_prove_long_streams(tmp_path: Path, seed: int, prove: bool) -> None:
    if not prove:
        pytest.skip("runs in make prove")
    budget = LONG_BUDGET_NANOUSD
    charged = await long_streams(tmp_path, seed, 2000, budget, (100, 200, 400)[seed % 3], drain=seed % 2 == 0)
    assert charged >= budget * 0.98


@pytest.mark.prove
@pytest.mark.parametrize("seed", range(20))
async def test_prove_twenty_rounds_of_two_thousand_calls(tmp_path: Path, seed: int, prove: bool) -> None:
    if not prove:
        pytest.skip("runs in make prove")
    await one_round(tmp_path, seed, 2000, clamp=seed % 2 == 0, kill=seed % 3 == 0)
