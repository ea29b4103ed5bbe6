"""Several processes on one port: never over and nothing lost whichever of them is killed; one scrape, one reload, one
stop for all."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from storm import CONFIG as STORM
from storm import Storm, compare, play
from support.gateway import Gateway, free_port
from support.upstream import Upstream
from test_never_over import BUDGET_NANOUSD, Provider, config, gauge, rush, show

from gateway.config.load import load
from gateway.config.problems import ConfigErrors


def workers_of(gateway: Gateway) -> list[int]:
    """The processes that take calls."""
    assert gateway.process is not None
    parent = str(gateway.process.pid)
    deadline = time.monotonic() + 20
    while True:
        # a process that has just been forked, or has just ended, is not told by its name
        found = subprocess.run(["pgrep", "-P", parent, "-f", "gateway.workers"], capture_output=True, text=True)
        if found.stdout:
            return [int(word) for word in found.stdout.split()]
        assert time.monotonic() < deadline, f"no worker runs: {gateway.log()[-600:]}"
        time.sleep(0.05)


def shared(config: str, workers: int) -> str:
    return f"[server]\nworkers = {workers}\n" + config


def value(gateway: Gateway, name: str) -> float:
    """The sum of all samples of a metric."""
    lines = [line for line in gateway.metrics().splitlines() if line.startswith((name + "{", name + " "))]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def until(what: str, true: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


async def one_round(tmp_path: Path, seed: int, calls: int, workers: int, *, clamp: bool, kills: int) -> None:
    rng, provider = random.Random(seed), Provider(seed)
    with Upstream(provider.script) as upstream:
        text = config(upstream.url, BUDGET_NANOUSD, clamp=clamp)
        text = shared(text.replace("{extra}", "first"), workers)
        gateway = Gateway(tmp_path, text.replace("{warn}", "0.9"))
        await asyncio.to_thread(gateway.start)
        # one that is still starting when the rules change is replaced by one that has read them
        await asyncio.to_thread(until, "all run", lambda: value(gateway, "spendgate_workers") == workers)
        assert value(gateway, "spendgate_workers_configured") == workers
        statuses: list[int] = []
        rushing = asyncio.create_task(rush(gateway, calls, rng))
        await asyncio.sleep(0.1)
        # the budget's own rule is changed meanwhile
        reloaded = "spendgate_config_reload_timestamp_seconds"
        before = value(gateway, reloaded)
        gateway.write(text.replace("{warn}", "0.5"))
        gateway.reload()
        await asyncio.to_thread(until, "the rules are read", lambda: value(gateway, reloaded) != before)
        for _ in range(kills):
            await asyncio.sleep(rng.uniform(0.1, 0.5))
            os.kill(rng.choice(await asyncio.to_thread(workers_of, gateway)), signal.SIGKILL)
            statuses += await rushing
            assert provider.charged <= BUDGET_NANOUSD
            rushing = asyncio.create_task(rush(gateway, calls // 2, rng))
        statuses += await rushing
        assert provider.charged <= BUDGET_NANOUSD
        await asyncio.to_thread(until, "all are back", lambda: value(gateway, "spendgate_workers") == workers)
        assert value(gateway, "spendgate_workers_replaced_total") == kills
        for _ in range(60):
            before = gauge(gateway, "spendgate_quota_used")
            statuses += await rush(gateway, 50, rng)
            if gauge(gateway, "spendgate_quota_used") == before:
                break
        assert provider.charged <= BUDGET_NANOUSD
        assert {200, 429} <= set(statuses)
        # whose client hung up may still be ending
        await asyncio.to_thread(until, "nothing is held", lambda: gauge(gateway, "spendgate_quota_reserved") == 0)
        used = round(gauge(gateway, "spendgate_quota_used") * 1e9)
        assert used <= BUDGET_NANOUSD
        if clamp and not kills:
            assert used >= BUDGET_NANOUSD * 0.98
        assert gateway.post("/api/quotas/verify")["differences"] == []
        show(
            f"{workers} workers {seed}: clamp {clamp}, {kills} killed",
            len(statuses),
            len(upstream.seen),
            provider.charged,
            used,
        )
        assert await asyncio.to_thread(gateway.stop) == 0
        ledger = sqlite3.connect(tmp_path / "data" / "ledger.db")
        assert ledger.execute("SELECT count(*) FROM open_requests").fetchone() == (0,)
        ids = ledger.execute("SELECT count(*), count(DISTINCT request_id) FROM records").fetchone()
        assert ids[0] == ids[1]
        crossed = "SELECT count(*) FROM events WHERE kind = 'threshold' AND subject = 'budget' AND detail LIKE '%50 _%'"
        assert ledger.execute(crossed).fetchone() == (1,)
        ledger.close()
        # after a restart the counters are the ledger's again
        await asyncio.to_thread(gateway.start)
        assert round(gauge(gateway, "spendgate_quota_used") * 1e9) == used
        gateway.stop()


@pytest.mark.parametrize(("workers", "clamp", "kills"), [(2, True, 0), (3, False, 2)])
async def test_a_budget_that_workers_share_is_never_passed(
    tmp_path: Path, workers: int, clamp: bool, kills: int
) -> None:
    await one_round(tmp_path, 7, 400, workers, clamp=clamp, kills=kills)


@pytest.mark.prove
@pytest.mark.parametrize("seed", range(20))
async def test_prove_a_budget_that_workers_share(tmp_path: Path, seed: int, prove: bool) -> None:
    if not prove:
        pytest.skip("runs in make prove")
    await one_round(tmp_path, seed, 1500, 2 + seed % 3, clamp=seed % 2 == 0, kills=seed % 4)


def test_a_worker_that_is_killed_while_it_starts_is_replaced(tmp_path: Path) -> None:
    with Upstream(play) as upstream, ThreadPoolExecutor(1) as pool:
        gateway = Gateway(tmp_path, shared(STORM.format(url=upstream.url), 2), fresh=True)
        started = pool.submit(gateway.start)
        until("the gateway's process runs", lambda: gateway.process is not None)
        os.kill(workers_of(gateway)[0], signal.SIGKILL)
        started.result()
        until("all workers take calls", lambda: value(gateway, "spendgate_workers") == 2)
        assert value(gateway, "spendgate_workers_replaced_total") == 1
        assert gateway.stop() == 0


@pytest.mark.prove
async def test_kill_9_of_workers_and_of_all_under_load_loses_nothing(tmp_path: Path, prove: bool) -> None:
    trials = 30 if prove else 2
    with Upstream(play) as upstream:
        gateway = Gateway(tmp_path, shared(STORM.format(url=upstream.url), 2))
        storm = Storm(gateway, upstream, seed=4)
        await asyncio.to_thread(gateway.start)
        for trial in range(trials):

            async def kill(everything: bool) -> None:
                # a gateway one of whose workers can't start at all ends
                await asyncio.to_thread(
                    until, "all workers take calls", lambda: value(gateway, "spendgate_workers") == 2
                )
                await asyncio.sleep(storm.random.uniform(0.2, 0.8))
                if everything:
                    gateway.kill()
                else:
                    os.kill(storm.random.choice(await asyncio.to_thread(workers_of, gateway)), signal.SIGKILL)
                    await asyncio.sleep(0.5)

            await storm.blow(asyncio.create_task(kill(everything=trial % 2 == 1)))
            if trial % 2 == 1:
                await asyncio.to_thread(gateway.start)
            else:
                await asyncio.to_thread(
                    until,
                    "the calls of the worker are recovered",
                    lambda: (
                        value(gateway, "spendgate_workers") == 2
                        and value(gateway, "spendgate_ledger_open_requests") == 0
                        and gateway.post("/api/quotas/verify")["differences"] == []
                    ),
                )
            compare(storm)
        assert await asyncio.to_thread(gateway.stop) == 0
        found = compare(storm)
        sys.stderr.write(f"\n{trials} kills of workers or all: {found}; 0 lost, 0 twice, 0 inexact\n")


ECHO = """
[providers.sim]
kind = "simulated"
first_token_seconds = {first}
token_seconds = 0.0

[[keys]]
id = "{key}"
secret = "sk-test-{key}-0123456789"
team = "t"
workflow = "w"
"""


def call(gateway: Gateway, key: str, said: str = "hi") -> int:
    """One call on a connection of its own."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": said}], "max_tokens": 5}
    request = urllib.request.Request(
        gateway.url + "/sim/v1/chat/completions",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer sk-test-{key}-0123456789", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def asked_by_prometheus(gateway: Gateway) -> float:
    """How many calls were counted, by a scrape in the form that Prometheus asks for: it takes all of it or nothing."""
    accept = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}
    request = urllib.request.Request(gateway.admin + "/metrics", headers=accept)
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        families = text_string_to_metric_families(answer.read().decode())
        return sum(sample.value for one in families if one.name == "spendgate_requests" for sample in one.samples)


def test_one_scrape_counts_all_one_reload_reaches_all_one_signal_drains_all(tmp_path: Path) -> None:
    def text(key: str, first: float) -> str:
        return shared(ECHO.replace("{key}", key).replace("{first}", str(first)), 3)

    gateway = Gateway(tmp_path, text("one", 0.0))
    gateway.start()
    with ThreadPoolExecutor(30) as callers:
        assert set(callers.map(call, [gateway] * 30, ["one"] * 30)) == {200}
    assert value(gateway, "spendgate_requests_total") == 30
    assert asked_by_prometheus(gateway) == 30
    assert len(workers_of(gateway)) == 3
    # a worker that is killed takes nothing back of what it counted
    os.kill(workers_of(gateway)[0], signal.SIGKILL)
    until("it is replaced", lambda: value(gateway, "spendgate_workers_replaced_total") == 1)
    assert value(gateway, "spendgate_requests_total") == 30
    until("it is back", lambda: value(gateway, "spendgate_workers") == 3)
    gateway.write(text("two", 4.0))
    assert gateway.post("/api/reload")["changed"]
    assert {call(gateway, "one") for _ in range(20)} == {401}
    with ThreadPoolExecutor(12) as callers:
        flying = callers.map(call, [gateway] * 12, ["two"] * 12)
        until("they fly", lambda: value(gateway, "spendgate_inflight_requests") == 12)
        assert gateway.stop() == 0
        assert set(flying) == {200}
    ledger = sqlite3.connect(tmp_path / "data" / "ledger.db")
    outcomes = dict(ledger.execute("SELECT outcome, count(*) FROM requests GROUP BY 1").fetchall())
    assert outcomes == {"completed": 42, "rejected": 20}
    ledger.close()


UNREACHABLE = """
[providers.sim]
kind = "openai"
base_url = "http://127.0.0.1:{port}"
breaker_failures = 1
breaker_seconds = 60

[[keys]]
id = "one"
secret = "sk-test-one-0123456789"
team = "t"
workflow = "w"
"""


def test_an_endpoint_that_no_worker_reaches_is_one_endpoint(tmp_path: Path) -> None:
    text = UNREACHABLE.format(port=free_port())
    with Gateway(tmp_path, shared(text, 2)) as gateway:
        until("both take calls", lambda: value(gateway, "spendgate_workers") == 2)
        # each of them tries once, then no more
        statuses = [call(gateway, "one") for _ in range(40)]
        assert (statuses.count(502), statuses.count(503)) == (2, 38)
        assert value(gateway, "spendgate_upstream_endpoints_unreachable") == 1


def test_calls_in_line_get_what_another_worker_gives_back(tmp_path: Path) -> None:
    quota = '[[quotas]]\nname = "slots"\nconcurrent = 2\nqueue_seconds = 30\n'
    text = shared(ECHO.replace("{key}", "one").replace("{first}", "0.1") + quota, 3)
    gateway = Gateway(tmp_path, text)
    gateway.start()
    with ThreadPoolExecutor(30) as callers:
        assert set(callers.map(call, [gateway] * 30, ["one"] * 30)) == {200}
    until("nothing is held", lambda: value(gateway, "spendgate_quota_reserved") == 0)
    gateway.stop()


def test_what_workers_can_not_share_exactly_is_refused(tmp_path: Path) -> None:
    text = ECHO.replace("{key}", "one").replace("{first}", "0")
    for line, key in (("extend = true", "extend"), ('overflow = "shared"', "overflow")):
        gateway = Gateway(tmp_path, shared(text + f'[[quotas]]\nname = "q"\ntokens = 5\nwindow = "day"\n{line}\n', 2))
        with pytest.raises(ConfigErrors) as refused:
            load(gateway.path, {})
        (problem,) = refused.value.problems
        assert problem.key == f"quotas[0].{key}"
        assert "server.workers" in problem.message
