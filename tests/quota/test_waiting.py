"""Calls that wait their turn: in order, keys by turns, none held up by another's quota, none kept for a client gone."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, answer

KEYS = "".join(
    f'[[keys]]\nid = "{team}"\nsecret = "sk-test-wait-{team}"\nteam = "{team}"\nworkflow = "w"\n\n' for team in "abc"
)
CONFIG = """
[providers.openai]
kind = "openai"
base_url = "{url}"
api_key = "sk-real"

"""


class Provider:
    """Holds every call until ``release`` lets it end; notes the order of arrival."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.held: list[threading.Event] = []

    def script(self, seen: Seen) -> Iterator[Step]:
        self.order.append(json.loads(seen.body)["messages"][0]["content"])
        free = threading.Event()
        self.held.append(free)
        while not free.is_set():
            yield 0.01
        usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
        yield answer(json.dumps({"model": "m", "choices": [], "usage": usage}).encode())

    def release(self) -> None:
        """Let the call that has been held longest end."""
        self.held.pop(0).set()


class Caller(threading.Thread):
    """One call. ``status`` once it is answered."""

    def __init__(self, gateway: Gateway, team: str, name: str, max_tokens: int = 10) -> None:
        super().__init__(daemon=True)
        self.status = 0
        self.headers: Any = {}
        self.text = ""
        body = {"model": "m", "messages": [{"role": "user", "content": name}], "max_tokens": max_tokens}
        self._request = urllib.request.Request(
            gateway.url + "/openai/v1/chat/completions",
            json.dumps(body).encode(),
            {"Authorization": f"Bearer sk-test-wait-{team}", "Content-Type": "application/json"},
        )
        self.start()

    def run(self) -> None:
        try:
            with urllib.request.urlopen(self._request, timeout=60) as response:
                self.headers, self.status = response.headers, response.status
        except urllib.error.HTTPError as error:
            self.headers, self.text = error.headers, json.load(error)["error"]["message"]
            self.status = error.code


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def in_line(gateway: Gateway, number: int) -> None:
    until(lambda: gateway.value("spendgate_waiting_requests") == number)


class World:
    """A gateway with these quotas before a provider that holds its calls."""

    def __init__(self, folder: Path, quotas: str) -> None:
        self.provider = Provider()
        self._upstream = Upstream(self.provider.script)
        self._folder, self._quotas = folder, quotas

    def __enter__(self) -> World:
        self._upstream.__enter__()
        self.gateway = Gateway(self._folder, CONFIG.format(url=self._upstream.url) + KEYS + self._quotas).start()
        return self

    def __exit__(self, *_: object) -> None:
        for free in self.provider.held:
            free.set()
        self.gateway.stop()
        self._upstream.__exit__()

    def call(self, team: str, name: str, max_tokens: int = 10) -> Caller:
        return Caller(self.gateway, team, name, max_tokens)

    def sent(self, *names: str) -> None:
        """These calls have reached the provider, in this order, and no others."""
        until(lambda: len(self.provider.order) >= len(names))
        assert self.provider.order == list(names)


SLOTS = '[[quotas]]\nname = "slots"\nconcurrent = 1\nqueue_seconds = 30\n'


def test_calls_wait_their_turn_and_keys_take_turns(tmp_path: Path) -> None:
    with World(tmp_path, SLOTS) as world:
        calls = [world.call("a", "a1")]
        world.sent("a1")
        for number, (team, name) in enumerate([("a", "a2"), ("a", "a3"), ("a", "a4"), ("b", "b1"), ("b", "b2")], 1):
            calls.append(world.call(team, name))
            in_line(world.gateway, number)
        for number in range(2, 7):
            world.provider.release()
            until(lambda number=number: len(world.provider.order) == number)  # type: ignore[misc]
        world.provider.release()
        for call in calls:
            call.join(20)
        assert [call.status for call in calls] == [200] * 6
        assert world.provider.order == ["a1", "a2", "b1", "a3", "b2", "a4"]
        assert world.gateway.post("/api/quotas/verify")["differences"] == []


async def test_a_client_that_hangs_up_leaves_the_line(tmp_path: Path) -> None:
    with World(tmp_path, SLOTS) as world:
        first = world.call("a", "a1")
        world.sent("a1")
        headers = {"Authorization": "Bearer sk-test-wait-a"}
        body = {"model": "m", "messages": [{"role": "user", "content": "gone"}], "max_tokens": 10}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.5)) as session:
            try:
                await session.post(world.gateway.url + "/openai/v1/chat/completions", json=body, headers=headers)
            except TimeoutError:
                pass
        in_line(world.gateway, 0)
        second = world.call("a", "a2")
        in_line(world.gateway, 1)
        world.provider.release()
        world.sent("a1", "a2")
        world.provider.release()
        for call in (first, second):
            call.join(20)
        assert (first.status, second.status) == (200, 200)
        [gone] = [one for one in world.gateway.records() if one["outcome"] == "client_disconnected"] or [None]
        assert gone is None or gone["cost_nanousd"] == 0


def test_a_full_line_and_a_wait_that_is_over_refuse(tmp_path: Path) -> None:
    quota = '[[quotas]]\nname = "slots"\nconcurrent = 1\nqueue_seconds = 2.5\nqueue_length = 1\n'
    with World(tmp_path, quota) as world:
        first = world.call("a", "a1")
        world.sent("a1")
        second = world.call("a", "a2")
        in_line(world.gateway, 1)
        third = world.call("b", "b1")
        until(lambda: third.status)
        assert third.status == 429
        assert second.status == 0
        second.join(20)
        assert second.status == 429
        assert (second.headers["retry-after"], second.headers["x-should-retry"]) == ("1", None)
        assert 'Quota "slots" has no room' in second.text
        world.provider.release()
        first.join(20)
        assert first.status == 200
        assert world.provider.order == ["a1"]


def test_a_line_for_one_counter_holds_up_no_other_of_the_rule(tmp_path: Path) -> None:
    with World(tmp_path, SLOTS + 'per = ["team"]\n') as world:
        calls = [world.call("a", "a1"), world.call("b", "b1")]
        until(lambda: len(world.provider.order) == 2)
        world.provider.order.clear()
        calls.append(world.call("a", "a2"))
        in_line(world.gateway, 1)
        calls.append(world.call("b", "b2"))
        in_line(world.gateway, 2)
        # the second that came, of whichever team, gives room to its own team alone
        held = world.provider.held
        held[0].set()
        until(lambda: len(world.provider.order) == 1)
        held[1].set()
        until(lambda: len(world.provider.order) == 2)
        assert sorted(world.provider.order) == ["a2", "b2"]
        for free in held:
            free.set()
        for call in calls:
            call.join(20)
        assert {call.status for call in calls} == {200}


def test_a_call_whose_own_budget_is_spent_holds_up_nobody_in_line(tmp_path: Path) -> None:
    spent = '[[quotas]]\nname = "spent"\nmatch = { team = "b" }\nrequests = 0\nwindow = "total"\n'
    with World(tmp_path, SLOTS + spent) as world:
        first = world.call("a", "a1")
        world.sent("a1")
        poor = world.call("b", "b1")
        in_line(world.gateway, 1)
        last = world.call("c", "c1")
        in_line(world.gateway, 2)
        world.provider.release()
        until(lambda: poor.status)
        assert poor.status == 429
        assert 'Quota "spent"' in poor.text
        world.sent("a1", "c1")
        world.provider.release()
        for call in (first, last):
            call.join(20)
        assert (first.status, last.status) == (200, 200)


def test_a_small_call_does_not_slip_past_a_large_one_that_waits(tmp_path: Path) -> None:
    quota = '[[quotas]]\nname = "pace"\nconcurrent = 9\noutput_tokens = 1000\nwindow = "day"\nqueue_seconds = 30\n'
    with World(tmp_path, quota) as world:
        calls = [world.call("a", "a1", 900)]
        world.sent("a1")
        calls.append(world.call("b", "large", 600))
        in_line(world.gateway, 1)
        calls.append(world.call("c", "small", 50))
        in_line(world.gateway, 2)
        assert world.provider.order == ["a1"]
        world.provider.release()
        until(lambda: len(world.provider.order) == 3)
        assert world.provider.order == ["a1", "large", "small"]
        world.provider.release()
        world.provider.release()
        for call in calls:
            call.join(20)
        assert {call.status for call in calls} == {200}
        assert world.gateway.post("/api/quotas/verify")["differences"] == []


def test_a_raise_and_a_reload_let_those_in_line_go_on(tmp_path: Path) -> None:
    with World(tmp_path, SLOTS) as world:
        calls = [world.call("a", "a1")]
        world.sent("a1")
        for number, name in enumerate(("a2", "a3"), 1):
            calls.append(world.call("a", name))
            in_line(world.gateway, number)
        world.gateway.post(
            "/api/quotas/slots/grants", {"concurrent": 1, "until": "2999-01-01", "who": "ann", "why": "launch"}
        )
        world.sent("a1", "a2")
        world.gateway.write(world.gateway.config.replace("concurrent = 1", "concurrent = 2"))
        world.gateway.post("/api/reload")
        world.sent("a1", "a2", "a3")
        assert world.gateway.value("spendgate_waiting_requests") == 0
        for free in world.provider.held:
            free.set()
        for call in calls:
            call.join(20)
        assert {call.status for call in calls} == {200}
        [row] = world.gateway.get("/api/quotas")["quotas"]
        assert (row["limit"], row["reserved"]) == (3, 0)
