"""Calls to one address: as many in flight as told, or at a fixed rate; prints what was seen as one JSON object.

    python bench/proxying/load.py '{"port": 8080, "path": "/v1/…", "keys": ["sk-…"], "body": "FILE", "calls": 100}'

At a fixed rate a call's time counts from when it should have been sent: a proxy that stalls can't hide the calls it
kept waiting.
"""

from __future__ import annotations

import asyncio
import gc
import json
import selectors
import sys
import time
from array import array
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import httptools
import uvloop

OK = b"HTTP/1.1 200"
END = b"0\r\n\r\n"
END_OF_HEAD = b"\r\n\r\n"
SDK_FIELDS = (
    "accept-encoding: gzip, deflate", "connection: keep-alive", "x-stainless-lang: python",
    "x-stainless-package-version: 2.8.1", "x-stainless-os: Linux", "x-stainless-arch: x64",
    "x-stainless-runtime: CPython", "x-stainless-runtime-version: 3.12.7", "x-stainless-async: async:asyncio",
    "x-stainless-raw-response: false", "x-stainless-retry-count: 0", "x-stainless-read-timeout: 600",
)  # fmt: skip
MOST_BAD = 20


@dataclass
class Plan:
    """What is asked for; ``rate`` 0: a new call as soon as one ends, until ``calls`` or ``seconds`` are over."""

    port: int
    path: str
    keys: list[str]
    body: str
    calls: int = 1_000_000_000
    seconds: float = 3600.0
    in_flight: int = 32
    rate: float = 0.0
    stream: bool = False
    sdk: bool = False
    """As SDKs send a call: some twenty fields, and the body in a write of its own."""


@dataclass
class Seen:
    """What happened; times in seconds."""

    good: int = 0
    bad: int = 0
    chunks: int = 0
    took: array[float] = field(default_factory=lambda: array("d"))
    first: array[float] = field(default_factory=lambda: array("d"))
    trouble: str = ""


class Load:
    """Starts calls; ``done`` when all have ended."""

    def __init__(self, plan: Plan, loop: asyncio.AbstractEventLoop) -> None:
        self.plan, self.loop, self.seen = plan, loop, Seen()
        self.done: asyncio.Future[None] = loop.create_future()
        self._began = self._stop = 0.0
        self._started = self._flying = 0
        self._idle: list[Connection] = []
        self._waiting: deque[float] = deque()

    async def run(self) -> float:
        """All calls; answers the seconds they took."""
        for number in range(self.plan.in_flight):
            request = requested(self.plan, self.plan.keys[number % len(self.plan.keys)])
            made = partial(Connection, self, request)
            _, one = await self.loop.create_connection(made, "127.0.0.1", self.plan.port)
            self._idle.append(one)
        self._began = time.perf_counter()
        self._stop = self._began + self.plan.seconds
        if self.plan.rate:
            self._tick()
        else:
            idle, self._idle = self._idle, []
            for connection in idle:
                self.free(connection)
        await self.done
        return time.perf_counter() - self._began

    def free(self, connection: Connection) -> None:
        """This connection can take a call."""
        now = time.perf_counter()
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        elif not self.plan.rate and self._started < self.plan.calls and now < self._stop:
            self._started += 1
            self._send(connection, now)
        else:
            self._idle.append(connection)
            self._ended(now)

    def ended(self, bad: str = "") -> None:
        """One call is over."""
        self._flying -= 1
        if bad:
            self.seen.bad += 1
            self.seen.trouble = self.seen.trouble or bad
            if not self.done.done() and (self.seen.bad > MOST_BAD or not self._flying):
                self.done.set_result(None)
        else:
            self.seen.good += 1

    def _ended(self, now: float) -> None:
        over = self._started >= self.plan.calls or now >= self._stop
        if over and not self._flying and not self._waiting and not self.done.done():
            self.done.set_result(None)

    def _send(self, connection: Connection, intended: float) -> None:
        self._flying += 1
        connection.begin(intended)

    def _tick(self) -> None:
        now, due = time.perf_counter(), self._began + self._started / self.plan.rate
        while due <= now and self._started < self.plan.calls:
            self._started += 1
            if self._idle:
                self._send(self._idle.pop(), due)
            else:
                self._waiting.append(due)
            due = self._began + self._started / self.plan.rate
        if self._started < self.plan.calls:
            self.loop.call_later(due - now, self._tick)


class Connection(asyncio.Protocol):
    """One kept-alive connection with at most one call on it."""

    def __init__(self, load: Load, request: bytes) -> None:
        self._load, self._request, self._seen = load, request, load.seen
        self._now, self._stream = time.perf_counter, load.plan.stream
        self._busy = self._counting = False
        self._intended = self._first = 0.0
        self._size = self._status = 0
        self._parser: httptools.HttpResponseParser | None = None
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def begin(self, intended: float) -> None:
        """Send the call."""
        self._busy, self._intended, self._first = True, intended, 0.0
        if self._load.plan.sdk:
            head, _, body = self._request.partition(END_OF_HEAD)
            self._transport.write(head + END_OF_HEAD)
            self._transport.write(body)
        else:
            self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._first:
            self._first = self._now()
        if self._stream:
            self._event(data)
        elif len(data) == self._size and self._parser is None and data.startswith(OK):
            self._end()
        else:
            self._parse(data)

    def _event(self, data: bytes) -> None:
        """A stream's end is a chunk of length 0; what comes before it is only counted."""
        if not self._counting:
            if not data.startswith(OK):
                self._fail(data)
                return
            self._counting = True
        self._seen.chunks += data.count(b"data: ")
        self._tail = (self._tail + data)[-5:] if len(data) < 5 else data[-5:]
        if self._tail == END:
            self._counting = False
            self._end()

    def _parse(self, data: bytes) -> None:
        """The first answer, one that came in pieces, or a bad one."""
        if self._parser is None:
            if not data.startswith(OK):
                self._fail(data)
                return
            self._parser, self._size = httptools.HttpResponseParser(self), 0
        self._size += len(data)
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """The parser's: the answer is whole."""
        self._parser = None
        self._end()

    def _end(self) -> None:
        self._busy = False
        self._seen.took.append(self._now() - self._intended)
        self._seen.first.append(self._first - self._intended)
        self._load.ended()
        self._load.free(self)

    def _fail(self, data: bytes) -> None:
        self._busy = False
        self._transport.abort()
        self._load.ended(data[:400].decode("latin-1"))

    def connection_lost(self, error: Exception | None) -> None:
        if self._busy:
            self._busy = False
            self._load.ended(f"the connection was lost: {error}")


def requested(plan: Plan, key: str) -> bytes:
    """The request's bytes."""
    body = Path(plan.body).read_bytes()
    head = (
        f"POST {plan.path} HTTP/1.1\r\nHost: 127.0.0.1:{plan.port}\r\nContent-Type: application/json\r\nAccept: */*\r\n"
        f"User-Agent: bench/1\r\nAuthorization: Bearer {key}\r\n"
        + "".join(f"{field}\r\n" for field in (SDK_FIELDS if plan.sdk else ()))
        + f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def part(times: list[float], share: float) -> float:
    """A quantile, in milliseconds."""
    return times[min(len(times) - 1, int(share * len(times)))] * 1e3 if times else 0.0


async def measured(plan: Plan) -> dict[str, float | str]:
    """What was seen."""
    load = Load(plan, asyncio.get_running_loop())
    gc.collect()
    gc.freeze()
    gc.disable()
    seconds = await load.run()
    seen, took, first = load.seen, sorted(load.seen.took), sorted(load.seen.first)
    return {
        "good": seen.good, "bad": seen.bad, "chunks": seen.chunks, "seconds": seconds, "trouble": seen.trouble,
        "p50_ms": part(took, 0.5), "p99_ms": part(took, 0.99),
        "first_p50_ms": part(first, 0.5), "first_p99_ms": part(first, 0.99),
    }  # fmt: skip


def main() -> int:
    plan = Plan(**json.loads(sys.argv[1]))
    if plan.rate:
        # uvloop's timers tick in milliseconds; select(2) waits to the microsecond
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
            told = runner.run(measured(plan))
    else:
        told = uvloop.run(measured(plan))
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
