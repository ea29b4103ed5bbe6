"""Quota events sent to ``[[webhooks]]``: in order, signed, retried, at least once, also across restarts.

Nothing is queued in memory: each webhook reads the ledger's events after the last one that it delivered.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import msgspec

from gateway.config.schema import WebhookConfig
from gateway.ledger.connections import connect_reader
from gateway.ledger.sqlite import SqliteLedger
from gateway.ports import Clock
from gateway.quota import journal
from gateway.quota.journal import Kept

PAGE = 50
IDLE_SECONDS = 30.0
"""How often a webhook looks for events that nobody told it of."""
TRIES = 12
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 300.0
TIMEOUT = aiohttp.ClientTimeout(total=15)
SIGNATURE = "X-Spendgate-Signature"
EVENT_ID = "X-Spendgate-Event"


class Webhooks:
    """Delivers events to every webhook of the configuration. ``counts``: deliveries by host and result."""

    def __init__(self, ledger: SqliteLedger, clock: Clock, log: logging.Logger) -> None:
        self._ledger = ledger
        self._clock = clock
        self._log = log
        self._tasks: list[asyncio.Task[None]] = []
        self._wakes: list[asyncio.Event] = []
        self._session: aiohttp.ClientSession | None = None
        self.counts: dict[tuple[str, str], int] = {}

    async def start(self, hooks: Sequence[WebhookConfig]) -> None:
        """Deliver to ``hooks`` from now on, instead of to those before."""
        await self.stop()
        if not hooks:
            return
        self._session = aiohttp.ClientSession(timeout=TIMEOUT, trust_env=True)
        for hook in hooks:
            wake = asyncio.Event()
            self._wakes.append(wake)
            self._tasks.append(asyncio.create_task(self._deliver(hook, wake, self._session)))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks, self._wakes = [], []
        if self._session is not None:
            await self._session.close()
            self._session = None

    def wake(self) -> None:
        """There is an event."""
        for wake in self._wakes:
            wake.set()

    async def _deliver(self, hook: WebhookConfig, wake: asyncio.Event, session: aiohttp.ClientSession) -> None:
        place = Place(self._ledger, hook)
        while True:
            wake.clear()
            try:
                for event in await place.next():
                    if not hook.events or event.kind in hook.events:
                        await self._send(hook, event, session)
                    await place.passed(event.id)
                    wake.set()
            except (sqlite3.Error, OSError) as error:
                self._log.warning("a webhook waits for the ledger", extra={"fields": {"error": str(error)}})
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    await wake.wait()
            except TimeoutError:
                continue

    async def _send(self, hook: WebhookConfig, event: Kept, session: aiohttp.ClientSession) -> None:
        """Try until it is taken; after the last try the event is given up, and the log says so."""
        body = slack(event) if hook.format == "slack" else msgspec.json.encode(event)
        host = urlsplit(hook.url).hostname or ""
        pause, reason = FIRST_PAUSE_SECONDS, ""
        for left in reversed(range(TRIES)):
            headers = {"Content-Type": "application/json", EVENT_ID: str(event.id)}
            if hook.secret:
                headers[SIGNATURE] = sign(hook.secret, self._clock.now_ns() // 1_000_000_000, body)
            try:
                async with session.post(hook.url, data=body, headers=headers, allow_redirects=False) as response:
                    if response.status < 300:
                        self._count(host, "delivered")
                        return
                    reason = f"status {response.status}"
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                reason = type(error).__name__
            self._count(host, "failed")
            if left:
                await self._pause(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        self._count(host, "given_up")
        self._log.error("a webhook was given up", extra={"fields": {"host": host, "event": event.id, "reason": reason}})

    async def _pause(self, seconds: float) -> None:
        over = asyncio.Event()
        timer = self._clock.after(seconds, over.set)
        try:
            await over.wait()
        finally:
            timer.cancel()

    def _count(self, host: str, result: str) -> None:
        self.counts[host, result] = self.counts.get((host, result), 0) + 1


class Place:
    """How far one webhook has come, kept in the ledger. A new webhook begins with the events to come."""

    def __init__(self, ledger: SqliteLedger, hook: WebhookConfig) -> None:
        self._ledger = ledger
        self._name = "webhook:" + hashlib.sha256(hook.url.encode()).hexdigest()[:16]

    async def next(self) -> list[Kept]:
        return await asyncio.to_thread(self._read, self._ledger.path)

    def _read(self, path: Path) -> list[Kept]:
        connection = connect_reader(path)
        try:
            row = connection.execute("SELECT value FROM facts WHERE name = ?", (self._name,)).fetchone()
            if row is not None:
                return journal.after(connection, int(row[0]), PAGE)
            newest = journal.newest(connection)
        finally:
            connection.close()
        self._ledger.run(self._write(newest), lambda _result, _error: None)
        return []

    async def passed(self, event_id: int) -> None:
        await self._ledger.execute(self._write(event_id))

    def _write(self, event_id: int) -> Callable[[sqlite3.Connection], None]:
        def task(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                (self._name, event_id),
            )

        return task


def sign(secret: str, at: int, body: bytes) -> str:
    """``t=SECONDS,v1=HEX``: HMAC-SHA256 of ``SECONDS.BODY``, so that an old request can't be sent again later."""
    code = hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={code}"


def slack(event: Kept) -> bytes:
    """One line for a channel."""
    return msgspec.json.encode({"text": sentence(event)})


def sentence(event: Kept) -> str:
    """The event in words, in one line. Slack's own signs are escaped: names come from configurations and callers."""
    name = f"*{event.quota}*" + (f" ({event.bucket})" if event.bucket else "")
    amounts = f"{_amount(event.unit, event.used)} of {_amount(event.unit, event.limit)}"
    texts = {
        "threshold": f"Quota {name} has passed {event.detail}: {amounts} used.",
        "exhausted": f"Quota {name} is exhausted and refuses calls: {amounts} used.",
        "reopened": f"Quota {name} has room again: {amounts} used.",
        "granted": f"Quota {name} was raised by {_amount(event.unit, event.limit)} by {event.who}: {event.detail}",
        "rule_changed": f"Quota {name}: {event.detail}.",
    }
    text = texts.get(event.kind, f"Quota {name}: {event.kind}")
    text = "".join(one if one.isprintable() else " " for one in text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _amount(unit: str, value: float) -> str:
    return f"${value:,.2f}" if unit == "usd" else f"{value:,} {unit}"
