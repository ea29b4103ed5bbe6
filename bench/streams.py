"""Many slow streams at once on one core: memory a stream, CPU an event, how much later an event comes.

    python bench/streams.py [STREAMS] [SECONDS]

Each stream brings an event a second, which says when it was written; load and provider have another core. Where one
process may not have descriptors for all streams, two workers share the core. The same load goes to the provider itself
for comparison.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from array import array
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

import uvloop
from proxying import builds, contenders, machine
from proxying.contenders import Contender
from proxying.load import END, OK, Plan, part, requested
from proxying.provider import STREAM_HEAD, Provider, chunk, events

SPARE = 2_500
"""Descriptors of a gateway that are not for streams: see ``gateway.descriptors``."""
BEGUN_PER_SECOND = 500
MARK = b'"at":'
SELF = str(Path(__file__).resolve())


class Stamped(Provider):
    """Streams whose events say when they were written; the last is as any other stream's."""

    def __init__(self, loop: asyncio.AbstractEventLoop, count: int, last: bytes) -> None:
        super().__init__(loop, [last] * count, 1.0)

    def _answer(self) -> None:
        self._transport.write(STREAM_HEAD + self._event())
        self._next = 1
        self._loop.call_later(self._gap, self._more)

    def _more(self) -> None:
        if self._transport.is_closing():
            return
        self._next += 1
        ended = self._next == len(self._pieces)
        self._transport.write(self._pieces[-1] if ended else self._event())
        if not ended:
            self._loop.call_later(self._gap, self._more)

    def _event(self) -> bytes:
        return chunk(f'"choices":[{{"index":0,"delta":{{"content":" tok"}},"at":{time.perf_counter_ns():020d}}}]')


class Stream(asyncio.Protocol):
    """One stream, from the request to its end."""

    def __init__(self, seen: Seen, request: bytes) -> None:
        self._seen, self._request = seen, request
        self._tail = b""
        self._whole = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter_ns()
        if not self._tail and not data.startswith(OK):
            self._seen.trouble = self._seen.trouble or data[:400].decode("latin-1")
        at = data.find(MARK)
        while at >= 0:
            self._seen.delays.append((now - int(data[at + 5 : at + 25])) / 1e9)
            at = data.find(MARK, at + 25)
        self._tail = (self._tail + data)[-5:]
        if self._tail == END:
            self._whole = True
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        seen = self._seen
        seen.left -= 1
        seen.lost += not self._whole
        if not seen.left:
            seen.over.set()


@dataclass
class Seen:
    """Delays in seconds, of all events that said when they were written."""

    left: int
    delays: array[float] = field(default_factory=lambda: array("d"))
    over: asyncio.Event = field(default_factory=asyncio.Event)
    lost: int = 0
    trouble: str = ""


async def load(plan: Plan) -> None:
    """Begin all streams, then say ``begun``; when they have ended, say what was seen."""
    loop, seen = asyncio.get_running_loop(), Seen(plan.in_flight)
    for number in range(plan.in_flight):
        request = requested(plan, plan.keys[number % len(plan.keys)])
        await loop.create_connection(lambda request=request: Stream(seen, request), "127.0.0.1", plan.port)
        if number % 10 == 9:
            await asyncio.sleep(10 / BEGUN_PER_SECOND)
    begun = len(seen.delays)
    print("begun", flush=True)
    await seen.over.wait()
    delays = sorted(seen.delays[begun:])
    told = {"lost": seen.lost, "trouble": seen.trouble, "events": len(seen.delays)}
    print(json.dumps({**told, "p50_ms": part(delays, 0.5), "p99_ms": part(delays, 0.99)}), flush=True)


async def provide(port: int, count: int) -> None:
    loop, last = asyncio.get_running_loop(), events()[-1]
    server = await loop.create_server(lambda: Stamped(loop, count, last), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def measured(one: Contender, streams: int, folder: Path, other: int) -> dict[str, float | str]:
    """What the load saw, the gateway's CPU µs an event, and its memory a stream when all had begun and at their end."""
    body = folder / "stream.json"
    said = {"model": "gpt-4o-mini", "stream": True, "stream_options": {"include_usage": True}, "max_tokens": 256}
    body.write_text(json.dumps({**said, "messages": [{"role": "user", "content": "x" * 1000}]}, separators=(",", ":")))
    plan = Plan(one.port, one.path, list(one.keys), str(body), in_flight=streams, stream=True)
    idle = machine.memory_mib(one.pid) if one.pid else 0.0
    before = machine.cpu_seconds(one.pid) if one.pid else 0.0
    with machine.pinned({other}):
        started = subprocess.Popen([sys.executable, SELF, "load", json.dumps(asdict(plan))], stdout=subprocess.PIPE)
    assert started.stdout is not None
    if started.stdout.readline().strip() != b"begun":
        raise SystemExit("the load ended")
    begun = machine.memory_mib(one.pid) if one.pid else 0.0
    last, most = _last(started, one)
    seen: dict[str, float | str] = json.loads(last)
    used = machine.cpu_seconds(one.pid) - before if one.pid else 0.0
    seen["cpu_us"] = used * 1e6 / float(seen["events"])
    seen["kib_begun"], seen["kib_most"] = ((mib - idle) * 1024 / streams for mib in (begun, most))
    return seen


def _last(started: subprocess.Popen[bytes], one: Contender) -> tuple[bytes, float]:
    """What the load says at its end, and the most MiB that the gateway had until then."""
    most = 0.0
    while started.poll() is None:
        if one.pid:
            most = max(most, machine.memory_mib(one.pid))
        time.sleep(1)
    assert started.stdout is not None
    return started.stdout.read(), most


def compare(streams: int, seconds: int, folder: Path) -> None:
    core, other = machine.cores()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    workers = 1 if hard == resource.RLIM_INFINITY or 2 * streams + SPARE < hard else 2
    name, source = next(iter(builds.found().items()))
    port = contenders.free_port()
    command = [sys.executable, SELF, "provider", str(port), str(seconds)]
    print(f"{builds.told()}\n{streams:,} streams of {seconds} events, {workers} worker(s) on one core.\n", flush=True)
    print("| | lost | events | CPU µs an event | KiB a stream, begun | at most | event later, p50 ms | p99 ms |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    with contenders.process(command, port, folder / "provider.log", {other}):
        direct = Contender("direct", 0, port)
        with contenders.gateway(name, source, folder, port, {core}, workers) as gateway:
            for one in (direct, gateway):
                seen = measured(one, streams, folder, other)
                cells = [f"{float(seen[key]):,.1f}" for key in ("cpu_us", "kib_begun", "kib_most", "p50_ms", "p99_ms")]
                print(f"| {one.name} | {seen['lost']} | {seen['events']:,} | {' | '.join(cells)} |", flush=True)
                if seen["trouble"]:
                    print(f"\ntrouble: {seen['trouble']}")


def main(arguments: list[str]) -> int:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    if arguments[:1] == ["provider"]:
        uvloop.run(provide(int(arguments[1]), int(arguments[2])))
    elif arguments[:1] == ["load"]:
        uvloop.run(load(Plan(**json.loads(arguments[1]))))
    else:
        streams, seconds = (int(arguments[at]) if len(arguments) > at else most for at, most in ((0, 10_000), (1, 60)))
        with tempfile.TemporaryDirectory(prefix="spendgate-streams-") as name:
            compare(streams, seconds, Path(name))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
