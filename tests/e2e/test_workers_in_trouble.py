"""Workers that are stopped, killed and told other things at a bad moment: what they hold is neither forgotten nor lent
twice, and all of them go by one configuration."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import time
import urllib.error
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, answer
from test_workers import ECHO, call, shared, until, value, workers_of

ECHO_TO = """
[providers.sim]
kind = "openai"
base_url = "{url}"

[[keys]]
id = "one"
secret = "sk-test-one-0123456789"
team = "t"
workflow = "w"
"""
BUDGET = '[[quotas]]\nname = "budget"\nrequests = 10\nwindow = "total"\nwarn_at = [{warn}]\n'


def held_upstream(go_on: threading.Event) -> Upstream:
    """Answers nobody before it is told to."""

    def hold(_: Seen) -> Iterable[Step]:
        while not go_on.is_set():
            yield 0.02
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        yield answer(json.dumps({"model": "m", "choices": [], "usage": usage}).encode())

    return Upstream(hold)


def test_what_is_told_late_undoes_nothing_that_was_told_since(tmp_path: Path) -> None:
    go_on = threading.Event()

    with held_upstream(go_on) as upstream, ThreadPoolExecutor(20) as callers:
        quota = '[[quotas]]\nname = "budget"\ntokens = 6000\nwindow = "total"\n'
        gateway = Gateway(tmp_path, shared(ECHO_TO.replace("{url}", upstream.url) + quota, 2))
        gateway.start()
        until("all run", lambda: value(gateway, "spendgate_workers") == 2)
        calls = [callers.submit(call, gateway, "one") for _ in range(16)]
        until("all fly", lambda: len(upstream.seen) == 16)
        # this one does not answer, while the other one does and its calls end
        late = workers_of(gateway)[0]
        os.kill(late, signal.SIGSTOP)
        scrape = callers.submit(gateway.metrics)
        time.sleep(1.5)
        go_on.set()
        until("calls of the other one have ended", lambda: any(one.done() for one in calls))
        time.sleep(0.5)
        os.kill(late, signal.SIGCONT)
        scrape.result()
        assert {one.result() for one in calls} == {200}
        until("nothing is held", lambda: value(gateway, "spendgate_quota_reserved") == 0, seconds=15)
        assert gateway.stop() == 0


def test_a_configuration_that_changes_while_it_is_read_again_is_the_same_in_all_processes(tmp_path: Path) -> None:
    go_on = threading.Event()
    with held_upstream(go_on) as upstream, ThreadPoolExecutor(20) as callers:

        def text(warn: float) -> str:
            return shared(ECHO_TO.replace("{url}", upstream.url) + BUDGET.replace("{warn}", str(warn)), 2)

        def reread() -> None:
            until("the rules are read", lambda: value(gateway, "spendgate_config_reload_timestamp_seconds") != before)

        gateway = Gateway(tmp_path, text(0.5))
        gateway.start()
        until("all run", lambda: value(gateway, "spendgate_workers") == 2)
        calls = [callers.submit(call, gateway, "one") for _ in range(6)]
        until("all fly", lambda: len(upstream.seen) == 6)
        before = value(gateway, "spendgate_config_reload_timestamp_seconds")
        stopped = workers_of(gateway)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        gateway.write(text(0.6))
        gateway.reload()
        time.sleep(1)
        gateway.write(text(0.7))
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        reread()
        before = value(gateway, "spendgate_config_reload_timestamp_seconds")
        gateway.reload()
        reread()
        calls += [callers.submit(call, gateway, "one") for _ in range(10)]
        until("each is sent or refused", lambda: len(upstream.seen) + sum(one.done() for one in calls) == 16)
        assert len(upstream.seen) == 10
        go_on.set()
        assert sorted(one.result() for one in calls) == [200] * 10 + [429] * 6
        assert gateway.post("/api/quotas/verify")["differences"] == []
        assert gateway.stop() == 0


@pytest.mark.parametrize("edited", ["[server", "[[quotas]]\nname = 'budget'\nrequests = 0\nwindow = 'total'\n"])
def test_a_worker_that_is_replaced_goes_on_with_the_configuration_that_holds(tmp_path: Path, edited: str) -> None:
    quota = '[[quotas]]\nname = "budget"\nrequests = 1000\nwindow = "total"\n'
    text = shared(ECHO.replace("{key}", "one").replace("{first}", "0"), 2)
    gateway = Gateway(tmp_path, text + quota)
    gateway.start()
    until("all run", lambda: value(gateway, "spendgate_workers") == 2)
    # nobody has said that it is to hold
    gateway.path.write_text(gateway.path.read_text().replace(quota, edited))
    for pid in workers_of(gateway):
        os.kill(pid, signal.SIGKILL)
    until("they are replaced", lambda: value(gateway, "spendgate_workers_replaced_total") == 2)
    until("they are back", lambda: value(gateway, "spendgate_workers") == 2)
    with ThreadPoolExecutor(20) as callers:
        assert set(callers.map(call, [gateway] * 20, ["one"] * 20)) == {200}
    assert gateway.stop() == 0


def test_workers_whose_supervisor_is_killed_end_without_a_word_and_their_calls_are_recovered(tmp_path: Path) -> None:
    go_on = threading.Event()
    with held_upstream(go_on) as upstream, ThreadPoolExecutor(60) as callers:
        cancel = '[on_disconnect]\npolicy = "cancel"\n'
        gateway = Gateway(tmp_path, shared(ECHO_TO.replace("{url}", upstream.url) + cancel, 2))
        gateway.start()
        until("all run", lambda: value(gateway, "spendgate_workers") == 2)
        calls = [callers.submit(broken, gateway) for _ in range(60)]
        until("all fly", lambda: len(upstream.seen) == 60)
        gateway.kill()
        assert {one.result() for one in calls} == {True}
        # it waits for the workers
        gateway.start()
        go_on.set()
        assert len(gateway.records()) == 60
        assert gateway.stop() == 0
        assert "Traceback" not in gateway.log()


@pytest.mark.prove
def test_a_worker_that_hangs_holds_up_neither_what_others_left_nor_a_reload(tmp_path: Path, prove: bool) -> None:
    if not prove:
        pytest.skip("takes most of a minute; runs in make prove")
    text = shared(ECHO.replace("{key}", "one").replace("{first}", "0") + BUDGET, 2)
    gateway = Gateway(tmp_path, text.replace("{warn}", "0.5"))
    gateway.start()
    until("all run", lambda: value(gateway, "spendgate_workers") == 2)
    hangs, dies = workers_of(gateway)
    os.kill(hangs, signal.SIGSTOP)
    os.kill(dies, signal.SIGKILL)
    gateway.write(text.replace("{warn}", "0.6"))
    gateway.reload()
    deadline = time.monotonic() + 120
    while "reloaded audit=True" not in gateway.log():
        assert time.monotonic() < deadline, gateway.log()
        time.sleep(0.5)
    assert hangs not in workers_of(gateway)
    assert gateway.stop() == 0


def broken(gateway: Gateway) -> bool:
    """A call that gets no answer."""
    try:
        call(gateway, "one", "What they say takes a while to count. " * 5000)
    except OSError:
        return True
    return False


def is_ready(gateway: Gateway) -> bool:
    try:
        return bool(gateway.get("/readyz"))
    except urllib.error.HTTPError:
        return False


def test_counters_are_not_compared_with_a_ledger_that_can_not_be_written(tmp_path: Path) -> None:
    with Gateway(tmp_path, shared(ECHO.replace("{key}", "one").replace("{first}", "0.0"), 2)) as gateway:
        assert gateway.post("/api/quotas/verify")["differences"] == []
        with closing(sqlite3.connect(tmp_path / "data" / "ledger.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert call(gateway, "one") == 503
            until("it is known", lambda: not is_ready(gateway))
            with pytest.raises(urllib.error.HTTPError) as refused:
                gateway.post("/api/quotas/verify")
            assert refused.value.code == 503
            assert "database is locked" in refused.value.read().decode()
            other.execute("ROLLBACK")
        until("it is written again", lambda: is_ready(gateway))
        assert gateway.post("/api/quotas/verify")["differences"] == []
