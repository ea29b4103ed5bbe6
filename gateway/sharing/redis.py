"""The store in Redis. A call is one run of ``redis.lua``: nothing comes in between, one way there and back."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib import resources
from typing import Any

import redis.asyncio
from redis.exceptions import NoScriptError, RedisError

from gateway.sharing import packing
from gateway.sharing.store import (
    ALIVE_SECONDS,
    HELLO_SECONDS,
    SHARE,
    Ask,
    Forgotten,
    Lent,
    Notice,
    Stand,
    StoreUnavailable,
    Superseded,
    Taken,
    Window,
)

PREFIX = "spendgate:{leases}:"
"""All names lie in one slot of a cluster."""
PAGE = 500
"""Counters that ``others`` looks at in one run: Redis does nothing else meanwhile."""
GONE_SECONDS = 86_400
"""Who was not heard of for so long is forgotten, with nothing that counts any more."""
BILLION = 1_000_000_000
FAILURES = (OSError, RedisError, TimeoutError, ValueError)
KEPT = {
    "appendonly": ("yes",),
    "appendfsync": ("always",),
    "maxmemory-policy": ("noeviction",),
}


class RedisStore:
    """Implements ``LeaseStore``: two connections, of which one listens. ``prefix``: what all keys begin with."""

    def __init__(self, url: str, prefix: str = PREFIX) -> None:
        self.weakness = ""
        self._place = packing.place(url)
        self._prefix = prefix
        timeout = packing.TIMEOUT_SECONDS
        self._client: Any = redis.asyncio.Redis.from_url(
            url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=None, client_name="spendgate"
        )
        text = resources.files("gateway.sharing").joinpath("redis.lua").read_text(encoding="utf-8")
        self._text = text
        self._script = ""
        self._heard: Callable[[Notice], None] = lambda notice: None
        self._listening: asyncio.Task[None] | None = None
        self._sender = secrets.token_hex(8)
        self._gateway = self._process = ""
        self._turn = 0

    async def connect(self, heard: Callable[[Notice], None]) -> None:
        self._heard = heard
        await self._within(self._client.ping())
        self.weakness = await self._weak()
        self._listen()

    async def begin(self, gateway: str, process: str, taken: Sequence[Taken]) -> float:
        last = await self._run("last_turn", gateway, process, 0, {})
        self._gateway, self._process, self._turn = gateway, process, last
        hello = round(HELLO_SECONDS * 1_000_000)
        waits_us: int = await self._call("begin", {"rows": _rows(taken), "hello_us": hello})
        return waits_us / 1_000_000

    async def ask(self, asks: Sequence[Ask]) -> list[Lent]:
        said = [
            [_row(Taken(ask.window, ask.least)), *(_split(amount) for amount in (ask.least, ask.limit, ask.lasting))]
            for ask in asks
        ]
        constants = {
            "share": SHARE,
            "alive_us": round(ALIVE_SECONDS * 1_000_000),
            "hello_us": round(HELLO_SECONDS * 1_000_000),
            "kept": _split(packing.PAST_NS),
        }
        found = await self._call("ask", {"asks": said, **constants})
        return [Lent(_joined(amount), _joined(free), elsewhere) for amount, free, elsewhere in found]

    async def set(self, taken: Sequence[Taken]) -> None:
        await self._call("set", {"rows": _rows(taken)})

    async def loosened(self, counters: Sequence[tuple[str, str]]) -> None:
        await self._call("loosened", {"counters": [_id(rule, bucket) for rule, bucket in counters]})

    async def alive(self, stands: Sequence[Stand]) -> None:
        self._listen()
        await self._call("alive", {"rows": _rows(packing.used(stands))})

    async def others(self, since: int) -> tuple[list[Stand], int]:
        stands: list[Stand] = []
        while True:
            last, counters, found = await self._call("others", {"since": since, "most": PAGE})
            stands += [_stand(json.loads(name), sums) for name, sums in found]
            since = int(last)
            if counters < PAGE:
                return stands, since

    async def say(self, notice: Notice) -> None:
        text = json.dumps([self._sender, notice.recall, notice.rule, notice.bucket])
        await self._within(self._client.publish(self._prefix + "notices", text))

    async def tidy(self, now_ns: int) -> None:
        past = _split(now_ns - packing.PAST_NS)
        await self._call("tidy", {"past": past, "gone_us": GONE_SECONDS * 1_000_000})

    async def close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        with suppress(*FAILURES):
            await self._client.aclose()

    async def _call(self, what: str, rest: dict[str, Any]) -> Any:
        self._turn += 1
        return await self._run(what, self._gateway, self._process, self._turn, rest)

    async def _run(self, what: str, gateway: str, process: str, turn: int, rest: dict[str, Any]) -> Any:
        words = (1, self._prefix, what, gateway, process, turn, json.dumps(rest))
        found = await self._within(self._evaluated(words))
        match found:
            case b"forgotten":
                raise Forgotten
            case b"superseded":
                raise Superseded
            case b"hello":
                raise StoreUnavailable(f"Redis at {self._place} had lost what it knew, and hears all gateways first")
        return json.loads(found)

    async def _evaluated(self, words: tuple[Any, ...]) -> Any:
        if not self._script:
            self._script = await self._client.script_load(self._text)
        try:
            return await self._client.evalsha(self._script, *words)
        except NoScriptError:
            # it was not run: Redis was restarted
            return await self._client.eval(self._text, *words)

    async def _within(self, work: Any) -> Any:
        """In time; what was asked may be done all the same."""
        try:
            return await asyncio.wait_for(work, packing.TIMEOUT_SECONDS)
        except TimeoutError as error:
            raise StoreUnavailable(f"Redis at {self._place} does not answer") from error
        except FAILURES as error:
            raise StoreUnavailable(f"Redis at {self._place}: {packing.reason(error)}") from error

    async def _weak(self) -> str:
        try:
            found = await asyncio.wait_for(self._client.config_get(*KEPT), packing.TIMEOUT_SECONDS)
        except FAILURES:
            # a hosted one may not tell
            return ""
        wrong = [f"{name} {KEPT[name][0]}" for name in KEPT if name in found and found[name] not in KEPT[name]]
        return f"Redis may forget what it was told: it needs {', '.join(wrong)}" if wrong else ""

    def _listen(self) -> None:
        """Hear what others say; again, where the way to them was cut."""
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._listened())

    async def _listened(self) -> None:
        with suppress(*FAILURES):
            async with self._client.pubsub(ignore_subscribe_messages=True) as channel:
                await channel.subscribe(self._prefix + "notices")
                while True:
                    message = await channel.get_message(timeout=1.0)
                    if message is not None:
                        sender, recall, rule, bucket = json.loads(message["data"])
                        if sender != self._sender:
                            self._heard(Notice(recall, rule, bucket))


def _split(amount: int) -> tuple[int, int]:
    return divmod(amount, BILLION)


def _joined(parts: Sequence[int]) -> int:
    high, low = parts
    return int(high) * BILLION + int(low)


def _id(rule: str, bucket: str) -> str:
    return packing.counter_id(rule, bucket).hex()


def _row(taken: Taken) -> list[Any]:
    window = taken.window
    moments = (window.start_ns, window.end_ns, window.rolling_ns, packing.past_ns(window), taken.amount)
    name = json.dumps([window.rule, window.bucket])
    return [_id(window.rule, window.bucket), name, window.unit, *(_split(moment) for moment in moments)]


def _rows(taken: Iterable[Taken]) -> list[list[Any]]:
    return [_row(one) for one in packing.latest(taken)]


def _stand(name: Sequence[str], sums: Sequence[Any]) -> Stand:
    unit, start, end, rolling, used, taken = sums
    window = Window(name[0], name[1], unit, _joined(start), _joined(end), _joined(rolling))
    return Stand(window, _joined(used), _joined(taken))
