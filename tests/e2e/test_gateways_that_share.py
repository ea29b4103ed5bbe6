"""Several gateways, each with a ledger of its own, share quotas by a store: never over, whichever of them is killed."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections.abc import Iterable
from pathlib import Path

import aiohttp
import pytest
from support.gateway import Gateway
from support.postgresql import database
from support.shared_store import redis_server, store
from support.upstream import Seen, Step, Upstream, answer
from test_never_over import BUDGET_NANOUSD, HEADERS, Provider, config, gauge, rush, show
from test_workers import until, value

STORE = '\n[quota_store]\nurl = "{url}"\n'
KINDS = ["postgresql", "redis"]


def gateways_of(tmp_path: Path, text: str, number: int, workers: int = 1) -> list[Gateway]:
    folders = [tmp_path / f"gateway{place}" for place in range(number)]
    for folder in folders:
        folder.mkdir()
    return [Gateway(folder, f"[server]\nworkers = {workers}\n" + text) for folder in folders]


async def started(gateways: list[Gateway]) -> None:
    await asyncio.gather(*(asyncio.to_thread(gateway.start) for gateway in gateways))


async def one_round(tmp_path: Path, kind: str, seed: int, calls: int, *, workers: int, kills: int) -> None:
    rng, provider = random.Random(seed), Provider(seed)
    folder = tmp_path / "store"
    folder.mkdir()
    with Upstream(provider.script) as upstream, store(kind, folder) as url:
        text = config(upstream.url, BUDGET_NANOUSD, clamp=True, drain=True) + STORE.format(url=url)
        text = text.replace("{extra}", "first").replace("{warn}", "0.9")
        gateways = gateways_of(tmp_path, text, 3, workers)
        await started(gateways)
        statuses: list[int] = []
        rushing = [asyncio.create_task(rush(gateway, calls, rng)) for gateway in gateways]
        for _ in range(kills):
            await asyncio.sleep(rng.uniform(0.1, 0.4))
            place = rng.randrange(len(gateways))
            gateways[place].kill()
            statuses += await rushing[place]
            assert provider.charged <= BUDGET_NANOUSD
            await asyncio.to_thread(gateways[place].start)
            rushing[place] = asyncio.create_task(rush(gateways[place], calls // 2, rng))
        for each in rushing:
            statuses += await each
        assert provider.charged <= BUDGET_NANOUSD
        for _ in range(60):
            # what is left is used up, wherever it lies
            more = [await rush(gateway, 30, rng) for gateway in gateways]
            statuses += [status for each in more for status in each]
            held = sum(gauge(gateway, "spendgate_quota_reserved") for gateway in gateways)
            if not any(200 in each for each in more) and not held:
                break
        assert {200, 429} <= set(statuses)
        assert provider.charged <= BUDGET_NANOUSD
        # each knows what all have used
        for gateway in gateways:
            await asyncio.to_thread(
                until, "it is told", lambda gateway=gateway: _used(gateway) == _used(gateways[0]), 20
            )
            assert gateway.post("/api/quotas/verify")["differences"] == []
        used = _used(gateways[0])
        assert provider.charged <= used <= BUDGET_NANOUSD
        if not kills:
            assert used >= BUDGET_NANOUSD * 0.98
        show(
            f"{kind} {seed}: 3 gateways of {workers}, {kills} killed",
            len(statuses),
            len(upstream.seen),
            provider.charged,
            used,
        )
        for gateway in gateways:
            assert await asyncio.to_thread(gateway.stop) == 0
        # all of it is remembered where it was used
        await started(gateways[:1])
        await asyncio.to_thread(until, "it is told", lambda: _used(gateways[0]) == used, 20)
        gateways[0].stop()


def _used(gateway: Gateway) -> int:
    return round(gauge(gateway, "spendgate_quota_used") * 1e9)


@pytest.mark.parametrize(("kind", "workers", "kills"), [("postgresql", 2, 2), ("redis", 1, 0)])
async def test_a_budget_that_gateways_share_is_never_passed(
    tmp_path: Path, kind: str, workers: int, kills: int
) -> None:
    await one_round(tmp_path, kind, 7, 150, workers=workers, kills=kills)


async def one_call(gateway: Gateway, output: int = 60) -> tuple[int, str]:
    """Status and code of a call that may use so many tokens."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x"}], "max_tokens": output}
    async with (
        aiohttp.ClientSession() as session,
        session.post(gateway.url + "/openai/v1/chat/completions", json=body, headers=HEADERS) as response,
    ):
        said = await response.json()
        return response.status, said.get("error", {}).get("code", "")


COST = 6_150
"""Nanodollars of each of the calls below, which may cost about 36,150."""


def plain(seen: Seen) -> Iterable[Step]:
    usage = {"prompt_tokens": 1, "completion_tokens": 10, "total_tokens": 11}
    yield answer(json.dumps({"model": "m", "choices": [], "usage": usage}).encode())


def text_of(upstream: Upstream, url: str, budget_nanousd: int) -> str:
    text = config(upstream.url, budget_nanousd) + STORE.format(url=url)
    return text.replace("{extra}", "first").replace("{warn}", "0.9")


async def test_without_its_store_a_gateway_spends_what_it_has_and_does_not_know_the_rest(tmp_path: Path) -> None:
    with Upstream(plain) as upstream, redis_server(tmp_path) as redis:
        (gateway,) = gateways_of(tmp_path, text_of(upstream, redis.url, 10_000_000), 1)
        await started([gateway])
        # of 10 millidollars it takes a fourth at first
        assert await one_call(gateway) == (200, "")
        redis.kill()
        await asyncio.to_thread(until, "it is seen", lambda: value(gateway, "spendgate_quota_store_healthy") == 0)
        assert await one_call(gateway) == (200, "")
        assert await one_call(gateway, 8000) == (503, "quota_store_unavailable")
        assert value(gateway, "spendgate_quota_store_failures_total") > 0
        redis.start()
        await asyncio.to_thread(until, "it is seen", lambda: value(gateway, "spendgate_quota_store_healthy") == 1)
        assert await one_call(gateway, 8000) == (200, "")
        assert gateway.log().count("the store of shared quotas can't be used") == 1
        assert await asyncio.to_thread(gateway.stop) == 0


async def test_a_store_that_lost_everything_is_told_anew_before_it_lends(tmp_path: Path) -> None:
    with Upstream(plain) as upstream, redis_server(tmp_path, keeps=False) as redis:
        gateways = gateways_of(tmp_path, text_of(upstream, redis.url, 200_000), 2)
        await started(gateways)
        assert "appendonly" in gateways[0].log()
        # the first room is lent when it is known who lives
        await asyncio.sleep(2.5)
        assert [(await one_call(gateways[number % 2]))[0] for number in range(20)] == [200] * 20
        redis.kill()
        redis.start()
        await asyncio.sleep(3)
        # also who starts now is told what all have used
        assert await asyncio.to_thread(gateways[1].stop) == 0
        await started(gateways[1:])
        await asyncio.to_thread(until, "it is told", lambda: _used(gateways[1]) == 20 * COST, 20)
        for gateway in gateways:
            while (await one_call(gateway))[0] == 200:
                pass
        assert len(upstream.seen) * COST <= 200_000 < len(upstream.seen) * COST + 37_000
        for gateway in gateways:
            assert await asyncio.to_thread(gateway.stop) == 0


async def test_a_copy_of_a_ledger_does_not_share_beside_its_original(tmp_path: Path) -> None:
    with Upstream(plain) as upstream, database() as url:
        one, other = gateways_of(tmp_path, text_of(upstream, url, 1_000_000), 2)
        await started([one])
        assert await one_call(one) == (200, "")
        assert await asyncio.to_thread(one.stop) == 0
        shutil.copytree(one.directory / "data", other.directory / "data")
        await started([one])
        await started([other])
        await asyncio.to_thread(until, "it is seen", lambda: value(one, "spendgate_quota_store_healthy") == 0)
        assert "with a copy of this ledger" in one.log()
        assert await one_call(one) == (503, "quota_store_unavailable")
        assert await one_call(other) == (200, "")
        for gateway in (one, other):
            assert await asyncio.to_thread(gateway.stop) == 0


@pytest.mark.parametrize("url", ["redis://127.0.0.1:9", "postgresql://postgres@127.0.0.1:9/x"])
def test_a_store_that_can_not_be_reached_is_one_clear_error_at_the_start(tmp_path: Path, url: str) -> None:
    text = config("http://127.0.0.1:9", 1_000_000).replace("{extra}", "first").replace("{warn}", "0.9")
    with pytest.raises(RuntimeError, match=r"can't start: the store of shared quotas can't be used: .*127\.0\.0\.1"):
        Gateway(tmp_path, text + STORE.format(url=url)).start()


@pytest.mark.prove
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(10))
async def test_prove_a_budget_that_gateways_share(tmp_path: Path, kind: str, seed: int, prove: bool) -> None:
    if not prove:
        pytest.skip("runs in make prove")
    await one_round(tmp_path, kind, seed, 600, workers=1 + seed % 2, kills=seed % 4)
