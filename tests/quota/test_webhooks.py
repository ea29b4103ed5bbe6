"""Webhooks whose receiver does not take them: tried again with growing pauses, given up, in nobody's way."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from gateway.config.schema import WebhookConfig
from gateway.ledger.schema import migrate
from gateway.ledger.sqlite import SqliteLedger
from gateway.quota import journal
from gateway.quota.terms import Event
from gateway.webhooks import Webhooks

SECRET = "shared-secret"


class Timer:
    def __init__(self, handle: asyncio.Handle) -> None:
        self.cancel = handle.cancel


class Clock:
    """Time that passes as soon as somebody waits for it."""

    def __init__(self) -> None:
        self.seconds = 1_900_000_000.0
        self.pauses: list[float] = []

    def now_ns(self) -> int:
        return int(self.seconds * 1e9)

    def monotonic(self) -> float:
        return self.seconds

    def after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        self.pauses.append(seconds)
        self.seconds += seconds
        return Timer(asyncio.get_running_loop().call_soon(callback))


class Receiver:
    """Takes no event about the quota ``refused``."""

    def __init__(self) -> None:
        self.got: list[tuple[int, str, int]] = []
        """Event, quota and the second at which it was signed."""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        said = dict(part.split("=") for part in request.headers["X-Spendgate-Signature"].split(","))
        code = hmac.new(SECRET.encode(), said["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(code, said["v1"])
        event = json.loads(body)
        assert request.headers["X-Spendgate-Event"] == str(event["id"])
        self.got.append((event["id"], event["quota"], int(said["t"])))
        return web.Response(status=503 if event["quota"] == "refused" else 204)


@asynccontextmanager
async def receiving() -> AsyncIterator[tuple[Receiver, str]]:
    receiver, app = Receiver(), web.Application()
    app.router.add_post("/hook", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield receiver, f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    finally:
        await runner.cleanup()


async def noted(ledger: SqliteLedger, hooks: Webhooks, quota: str) -> None:
    await ledger.execute(lambda connection: journal.write(connection, Event(kind="granted", quota=quota, at_ns=1)))
    hooks.wake()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def delivering(path: Path, clock: Clock, url: str) -> AsyncIterator[tuple[SqliteLedger, Webhooks]]:
    migrate(path)
    ledger = SqliteLedger(path, asyncio.get_running_loop())
    ledger.start()
    hooks = Webhooks(ledger, clock, logging.getLogger("test-webhooks"))
    await hooks.start([WebhookConfig(url=url, secret=SECRET)])
    # a webhook that is new begins with the events to come
    while not await ledger.execute(lambda connection: connection.execute("SELECT count(*) FROM facts").fetchone()[0]):
        await asyncio.sleep(0.01)
    try:
        yield ledger, hooks
    finally:
        await hooks.stop()
        await asyncio.to_thread(ledger.close)


async def test_an_event_that_is_never_taken_is_given_up_after_twelve_tries(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, path = Clock(), tmp_path / "ledger.db"
    async with receiving() as (receiver, url):
        async with delivering(path, clock, url) as (ledger, hooks):
            await noted(ledger, hooks, "first")
            await until(lambda: receiver.got)
            receiver.got.clear()
            await noted(ledger, hooks, "refused")
            await noted(ledger, hooks, "taken")
            await until(lambda: receiver.got and receiver.got[-1][1] == "taken")
            # it has its answer a moment later
            await until(lambda: hooks.counts.get(("127.0.0.1", "delivered")) == 2)
            tries = receiver.got[:-1]
            assert [quota for _, quota, _ in tries] == ["refused"] * 12
            assert len({number for number, _, _ in tries}) == 1
            pauses = [0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
            assert clock.pauses == pauses
            # each try is signed anew, so that a receiver that refuses old signatures takes a late one
            assert tries[-1][2] - tries[0][2] == int(sum(pauses)) or tries[-1][2] - tries[0][2] == int(sum(pauses)) + 1
            assert hooks.counts == {
                ("127.0.0.1", "delivered"): 2, ("127.0.0.1", "failed"): 12, ("127.0.0.1", "given_up"): 1
            }  # fmt: skip
            [told] = [record for record in caplog.records if "given up" in record.message]
            assert told.fields == {"host": "127.0.0.1", "event": tries[0][0], "reason": "status 503"}
        receiver.got.clear()
        async with delivering(path, clock, url) as (ledger, hooks):
            # a gateway that starts anew goes on behind it
            await noted(ledger, hooks, "later")
            await until(lambda: receiver.got)
            assert [quota for _, quota, _ in receiver.got] == ["later"]


async def test_a_stop_between_two_tries_sends_the_event_again_at_the_next_start(tmp_path: Path) -> None:
    class Slow(Clock):
        def after(self, seconds: float, callback: Callable[[], None]) -> Timer:
            self.pauses.append(seconds)
            return Timer(asyncio.get_running_loop().call_later(3600, callback))

    clock, path = Slow(), tmp_path / "ledger.db"
    async with receiving() as (receiver, url):
        async with delivering(path, clock, url) as (ledger, hooks):
            await noted(ledger, hooks, "first")
            await until(lambda: receiver.got)
            await noted(ledger, hooks, "refused")
            await until(lambda: clock.pauses)
        receiver.got.clear()
        async with delivering(path, clock, url):
            await until(lambda: receiver.got)
            assert receiver.got[0][1] == "refused"
