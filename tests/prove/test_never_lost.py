"""Kill -9, a stopped process and a full disk at random moments under load: no call is lost, none is counted twice.

``make prove`` plays every trial; ``make test`` a few of each.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from storm import CONFIG, Storm, compare, play
from support.gateway import Gateway
from support.upstream import Upstream

KILLS, STOPS, FILLS = 100, 20, 10


def show(what: str, trials: int, storm: Storm) -> None:
    """The figures of a proof, for those who ran it."""
    found = compare(storm)
    sys.stderr.write(
        f"\n{what}: {trials} trials, {found.received:,} calls received by the provider, {found.complete:,} seen "
        f"complete by clients, {found.records:,} records, {found.recovered:,} of them recovered, {storm.refused:,} "
        "calls refused with 503; 0 lost, 0 twice, 0 inexact\n"
    )


@pytest.mark.prove
async def test_kill_9_at_a_random_moment_under_load_loses_nothing(tmp_path: Path, prove: bool) -> None:
    trials = KILLS if prove else 2
    with Upstream(play) as upstream:
        gateway = Gateway(tmp_path, CONFIG.format(url=upstream.url), fresh=True)
        storm = Storm(gateway, upstream, seed=1)
        for _ in range(trials):
            await asyncio.to_thread(gateway.start)

            async def kill() -> None:
                await asyncio.sleep(storm.random.uniform(0.05, 0.8))
                gateway.kill()

            await storm.blow(asyncio.create_task(kill()))
            await asyncio.to_thread(gateway.start)
            compare(storm)
            # the next trial begins with a kill in idleness, or with a clean stop
            if storm.random.random() < 0.5:
                gateway.kill()
            else:
                assert await asyncio.to_thread(gateway.stop) == 0
        show("kill -9", trials, storm)


@pytest.mark.prove
async def test_a_stopped_process_goes_on_or_is_killed_and_loses_nothing(tmp_path: Path, prove: bool) -> None:
    trials = STOPS if prove else 2
    with Upstream(play) as upstream:
        gateway = Gateway(tmp_path, CONFIG.format(url=upstream.url), fresh=True)
        storm = Storm(gateway, upstream, seed=2)
        await asyncio.to_thread(gateway.start)
        for trial in range(trials):

            async def stop(killed: bool) -> None:
                assert gateway.process is not None
                await asyncio.sleep(storm.random.uniform(0.1, 0.6))
                gateway.process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(storm.random.uniform(0.2, 1.0))
                if killed:
                    gateway.kill()
                else:
                    gateway.process.send_signal(signal.SIGCONT)
                    await asyncio.sleep(0.3)

            await storm.blow(asyncio.create_task(stop(killed=trial % 2 == 1)))
            if trial % 2:
                await asyncio.to_thread(gateway.start)
            await settled(gateway)
            compare(storm)
        assert await asyncio.to_thread(gateway.stop) == 0
        show("SIGSTOP", trials, storm)


async def settled(gateway: Gateway) -> None:
    """Wait until no call is open."""
    for _ in range(200):
        if "spendgate_ledger_open_requests 0.0" in await asyncio.to_thread(gateway.metrics):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("calls stay open")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "data"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system can't be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def fill(path: Path) -> None:
    """Take all the room that is left."""
    out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        while os.write(out, bytes(4096)):
            pass
    except OSError:
        os.close(out)


def ready(gateway: Gateway) -> str:
    """What /readyz says while it is not ready; empty when it is."""
    try:
        with urllib.request.urlopen(gateway.url + "/readyz", timeout=5):
            return ""
    except urllib.error.HTTPError as error:
        return error.read().decode()


@pytest.mark.prove
async def test_a_disk_that_fills_up_under_load_loses_nothing(tmp_path: Path, small_disk: Path, prove: bool) -> None:
    trials = FILLS if prove else 1
    with Upstream(play) as upstream:
        gateway = Gateway(tmp_path, CONFIG.format(url=upstream.url), fresh=True)
        storm = Storm(gateway, upstream, seed=3, clients=10)
        await asyncio.to_thread(gateway.start)
        reasons = set()
        for trial in range(trials):
            filler = small_disk / "filler"

            async def fill_up(killed: bool, filler: Path = filler) -> None:
                await asyncio.sleep(storm.random.uniform(0.1, 0.5))
                deadline = time.monotonic() + storm.random.uniform(0.6, 1.5)
                while time.monotonic() < deadline:
                    # again and again: a ledger that gives up room must not get it back
                    await asyncio.to_thread(fill, filler)
                    reason = await asyncio.to_thread(ready, gateway)
                    reasons.add(reason)
                    if reason:
                        await storm.once()
                    await asyncio.sleep(0.02)
                if killed:
                    gateway.kill()
                await asyncio.to_thread(filler.unlink)
                for _ in range(0 if killed else 200):
                    if not await asyncio.to_thread(ready, gateway):
                        return
                    await asyncio.sleep(0.05)
                assert killed, "service did not return"

            await storm.blow(asyncio.create_task(fill_up(killed=trial % 2 == 1)))
            if trial % 2:
                await asyncio.to_thread(gateway.start)
            await settled(gateway)
            compare(storm)
        assert any("full" in reason for reason in reasons), reasons
        assert storm.refused
        assert await asyncio.to_thread(gateway.stop) == 0
        show("full disk", trials, storm)
