"""Rounds in which each contender takes its turn at each kind of load: what else the machine does hits all alike."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from proxying.contenders import HERE, Contender
from proxying.load import Plan
from proxying.machine import cpu_seconds, memory_mib, pinned

TEXT = "Summarise the following note for the team in three sentences, then list the two main risks. "
SCRAPE_SECONDS = 5.0
NOT_TIMED = ("aiohttp", "nginx")
"""Latency is measured beside the bare asyncio proxy and the provider alone."""


@dataclass(frozen=True)
class Size:
    """How long to measure."""

    rounds: int
    seconds: float
    streams: int
    memory_calls: tuple[int, int]
    fsyncs: int


SMOKE = Size(rounds=1, seconds=0.1, streams=4, memory_calls=(64, 128), fsyncs=5)
QUICK = Size(rounds=3, seconds=1.0, streams=100, memory_calls=(10_000, 100_000), fsyncs=200)
FULL = Size(rounds=5, seconds=2.0, streams=200, memory_calls=(10_000, 1_000_000), fsyncs=500)

Running = AbstractContextManager[Contender]
Figures = dict[tuple[str, str], list[float]]
"""(what was measured, contender) -> a figure of each round."""


def bodies(folder: Path) -> dict[str, Path]:
    """Requests of 1.2 kB, of the same for a stream and as an SDK sends it, of 100 kB and of 1 MB."""
    made = {}
    for name, size, more in (
        ("plain", 1100, {}),
        ("stream", 1100, {"stream": True}),
        ("sdk", 1100, {"user": "sdk"}),
        ("100k", 100_000, {}),
        ("1M", 10**6, {}),
    ):
        options = {"stream_options": {"include_usage": True}} if "stream" in more else {}
        said = (TEXT * (size // len(TEXT) + 1))[:size]
        messages = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": said}]
        whole = {"model": "gpt-4o-mini", **more, **options, "max_tokens": 256, "temperature": 0.2, "messages": messages}
        made[name] = folder / f"{name}.json"
        made[name].write_text(json.dumps(whole, separators=(",", ":")))
    return made


@contextmanager
def scraped(gateways: list[Contender]) -> Iterator[None]:
    """Each gateway's metrics are read every five seconds meanwhile."""
    over = threading.Event()

    def scrape() -> None:
        while not over.wait(SCRAPE_SECONDS):
            for one in gateways:
                if one.admin_port:
                    urllib.request.urlopen(f"http://127.0.0.1:{one.admin_port}/metrics", timeout=30).read()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Rounds:
    """Gathers figures."""

    def __init__(self, size: Size, folder: Path, other: int) -> None:
        self.size, self._other = size, other
        self._bodies = bodies(folder)
        self.figures: Figures = {}

    def load(self, contender: Contender, body: str = "plain", **plan: float) -> dict[str, float]:
        """One turn; answers what the load saw and ``cpu_us`` of each call, ``chunk_us`` of each chunk."""
        told = Plan(
            contender.port, contender.path, list(contender.keys), str(self._bodies[body]), stream=body == "stream",
            sdk=body == "sdk", **plan,  # type: ignore[arg-type]
        )  # fmt: skip
        before = cpu_seconds(contender.pid) if contender.pid else 0.0
        with pinned({self._other}):
            done = subprocess.run(
                [sys.executable, str(HERE / "load.py"), json.dumps(asdict(told))], capture_output=True, text=True
            )
        if done.returncode:
            raise SystemExit(f"{contender.name}: the load ended: {done.stderr[-600:]}")
        seen = json.loads(done.stdout)
        if seen["bad"] or not seen["good"]:
            raise SystemExit(f"{contender.name}: {seen['bad']} calls went wrong, such as: {seen['trouble']}")
        used = (cpu_seconds(contender.pid) - before if contender.pid else 0.0) * 1e6
        return {**seen, "cpu_us": used / seen["good"], "chunk_us": used / max(1, seen["chunks"])}

    def note(self, what: str, contender: Contender, figure: float) -> None:
        """Keep a figure of this round."""
        self.figures.setdefault((what, contender.name), []).append(figure)

    def run(self, running: list[Contender]) -> None:
        """All rounds."""
        proxies = [one for one in running if one.pid]
        for one in proxies:
            self.load(one, seconds=self.size.seconds)
        for _ in range(self.size.rounds):
            self._calls(proxies)
            self._streams(running)
            self._large(proxies)
            self._latency(running)

    def _calls(self, proxies: list[Contender]) -> None:
        for in_flight in (32, 256):
            for one in proxies:
                seen = self.load(one, seconds=self.size.seconds, in_flight=in_flight)
                self.note(f"CPU µs a call, {in_flight} in flight", one, seen["cpu_us"])
                self.note(f"calls/s on one core, {in_flight} in flight", one, seen["good"] / seen["seconds"])
        for one in proxies:
            seen = self.load(one, "sdk", seconds=self.size.seconds, in_flight=32)
            self.note("CPU µs an SDK's call, 32 in flight", one, seen["cpu_us"])

    def _streams(self, running: list[Contender]) -> None:
        in_flight = max(1, self.size.streams // 2)
        for one in running:
            if one.pid:
                seen = self.load(one, "stream", calls=self.size.streams, in_flight=in_flight)
                self.note("CPU µs an SSE chunk", one, seen["chunk_us"])
            if one.name not in NOT_TIMED:
                seen = self.load(one, "stream", calls=self.size.streams // 2, rate=50, in_flight=64)
                self.note("first byte p50, ms", one, seen["first_p50_ms"])

    def _large(self, proxies: list[Contender]) -> None:
        for body, name, in_flight in (("100k", "100 kB", 8), ("1M", "1 MB", 4)):
            for one in proxies:
                seen = self.load(one, body, seconds=self.size.seconds / 2, in_flight=in_flight)
                self.note(f"CPU µs a body of {name}", one, seen["cpu_us"])

    def _latency(self, running: list[Contender]) -> None:
        """At 30 % of what the first contender, the gateway, can do."""
        rate = 0.3 * self.figures["calls/s on one core, 32 in flight", running[0].name][-1]
        calls = max(10, int(rate * self.size.seconds * 1.5))
        for one in running:
            if one.name not in NOT_TIMED:
                seen = self.load(one, calls=calls, rate=rate, in_flight=128)
                self.note("p50 at 30 % load, ms", one, seen["p50_ms"])
                self.note("p99 at 30 % load, ms", one, seen["p99_ms"])

    def memory(self, gateway: Contender) -> None:
        """A gateway that has just started: its memory after few calls, then after many."""
        few, many = self.size.memory_calls
        self.load(gateway, calls=few)
        self.note("MiB after few calls", gateway, memory_mib(gateway.pid))
        self.load(gateway, calls=many - few)
        self.note("MiB after many calls", gateway, memory_mib(gateway.pid))

    def workers(self, name: str, started: Callable[[str, set[int], int], Running], cores: set[int]) -> None:
        """Two processes with twice the calls in flight, in turns with one: on the same two cores, which load and
        provider share with them, and on a core of its own. ``started``: by a folder's name, cores and processes."""
        with (
            started("alone", {min(cores)}, 1) as alone,
            started("one", cores, 1) as one,
            started("two", cores, 2) as two,
        ):
            for _ in range(self.size.rounds):
                for what, contender, in_flight in (
                    ("1 worker on a core", alone, 32),
                    ("1 worker", one, 32),
                    ("2 workers", two, 64),
                ):
                    seen = self.load(contender, seconds=self.size.seconds, in_flight=in_flight)
                    self.note(f"CPU µs a call, {what}", contender, seen["cpu_us"])
                    self.note(f"calls/s, {what}", contender, seen["good"] / seen["seconds"])

    def middle(self, what: str, name: str) -> float | None:
        """The median of all rounds."""
        found = self.figures.get((what, name))
        return statistics.median(found) if found else None

    def ratios(self, what: str, name: str, peer: str) -> list[float]:
        """Each round's own ratio."""
        ours, theirs = self.figures.get((what, name), []), self.figures.get((what, peer), [])
        return [mine / its for mine, its in zip(ours, theirs, strict=False) if its]

    def added(self, what: str, name: str) -> list[float]:
        """Each round's difference to the provider without a proxy."""
        ours, bare = self.figures.get((what, name), []), self.figures.get((what, "direct"), [])
        return [mine - its for mine, its in zip(ours, bare, strict=False)]

    def own(self, what: str, other: str, name: str) -> list[float]:
        """The ratio of one contender's two medians."""
        top, bottom = self.middle(what, name), self.middle(other, name)
        return [top / bottom] if top is not None and bottom else []
