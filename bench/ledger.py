"""CPU time of the ledger for each call, beside plain sqlite3 ``executemany`` of the same rows.

    .venv/bin/python bench/ledger.py [CALLS]

A call is what the gateway does for it: its open entry made durable, then its record, the end of its open entry and its
rollup, durable too. All CPU of the process counts, the writer thread's and the kernel's included. "raw" takes rows that
are made already and writes them to the same tables in one thread, as many in a transaction as calls are in flight.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from gateway.ledger.connections import connect
from gateway.ledger.ids import Ids
from gateway.ledger.record import OpenEntry, Record
from gateway.ledger.schema import migrate
from gateway.ledger.sqlite import SqliteLedger
from gateway.wire.usage import Usage
from pricing.money import Line

IN_FLIGHT = (1, 10, 32, 100, 256, 1000)
CALLS = 20_000
Pair = tuple[OpenEntry, Record]


def pairs(count: int) -> list[Pair]:
    """Calls of 6 teams, 4 workflows each, 3 models."""
    clock = [1_795_000_000_000_000_000]
    ids = Ids(lambda: clock[0], lambda bits: 7)
    made = []
    for number in range(count):
        clock[0] += 1_000_000
        team = f"team-{number % 6}"
        workflow = f"workflow-{number // 6 % 4}"
        model = ("gpt-4o-mini", "gpt-4o", "o3-mini")[number % 3]
        tags = {"env": "prod", "cost_center": "4711"}
        entry = OpenEntry(
            request_id=ids(), started_ns=clock[0], team=team, workflow=workflow, key_id=f"{team}-prod", tags=tags,
            provider="openai", api="chat", method="POST", path="/v1/chat/completions", model_requested=model,
            stream=number % 2 == 0, quotas=(f"{team}-month",), reserved_nanousd=3_000_000,
            reserved_input_tokens=1200, reserved_output_tokens=4096, request_bytes=1400,
            trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        )  # fmt: skip
        record = Record(
            request_id=entry.request_id, started_ns=entry.started_ns, ended_ns=entry.started_ns + 900_000_000,
            team=team, workflow=workflow, key_id=entry.key_id, tags=tags, provider="openai", api="chat",
            method="POST", path="/v1/chat/completions", model_requested=model, model=f"{model}-2024-07-18",
            stream=entry.stream, status=200, outcome="completed",
            usage=Usage(input_tokens_total=800 + number % 500, output_tokens_total=number % 700,
                        cache_read_tokens=512 if number % 3 == 0 else 0),
            usage_source="response", cost_nanousd=3 * (800 + number % 500),
            cost_lines=(Line("input", 800, "token", 800 + number % 500), Line("output", 1, "token", 0),
                        Line("cache_read", 512, "token", 2 * (800 + number % 500))),
            price="catalogue genai-prices 0.2.3 openai/gpt-4o-mini", quotas=entry.quotas,
            reserved_nanousd=3_000_000, reserved_input_tokens=1200, reserved_output_tokens=4096,
            latency_us=900_000, ttft_us=250_000, gateway_us=400, request_bytes=1400, response_bytes=9000,
            trace_id=entry.trace_id, service_tier="default",
        )  # fmt: skip
        made.append((entry, record))
    return made


class Load:
    """Keeps a number of calls in flight until all are settled."""

    def __init__(self, ledger: SqliteLedger, calls: Sequence[Pair], done: asyncio.Future[None]) -> None:
        self._ledger = ledger
        self._calls = iter(calls)
        self._left = len(calls)
        self._done = done

    def next(self) -> None:
        pair = next(self._calls, None)
        if pair is not None:
            entry, record = pair
            self._ledger.open(entry, lambda error: self._opened(record, error))

    def _opened(self, record: Record, error: Exception | None) -> None:
        if error is not None:
            raise error
        self._ledger.settle(record, self._settled)

    def _settled(self, error: Exception | None) -> None:
        if error is not None:
            raise error
        self._left -= 1
        if not self._left:
            self._done.set_result(None)
        self.next()


class Commits:
    """Counts them."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, seconds: float) -> None:
        self.count += 1


async def measure(path: Path, calls: Sequence[Pair], in_flight: int) -> tuple[float, float, float]:
    """Microseconds of CPU for each call, those of the event loop's thread, and calls of each commit."""
    migrate(path)
    loop = asyncio.get_running_loop()
    commits = Commits()
    ledger = SqliteLedger(path, loop, committed=commits)
    ledger.start()
    done: asyncio.Future[None] = loop.create_future()
    load = Load(ledger, calls, done)
    cpu, own = time.process_time(), time.thread_time()
    for _ in range(in_flight):
        load.next()
    await done
    cpu, own = time.process_time() - cpu, time.thread_time() - own
    ledger.close()
    return cpu / len(calls) * 1e6, own / len(calls) * 1e6, len(calls) / commits.count


def raw(path: Path, source: Path, in_flight: int) -> tuple[float, float]:
    """Microseconds of CPU for each record: its row in ``records`` alone; and with its open entry's coming and going."""
    reader = connect(source)
    records = reader.execute("SELECT * FROM records").fetchall()
    reader.close()
    opens = [(row[0], b"x" * 240) for row in records]
    closed = [(row[0],) for row in records]
    marks = ",".join("?" * len(records[0]))
    figures = []
    for whole in (False, True):
        file = path.with_name(f"{path.name}-{whole}")
        migrate(file)
        connection = connect(file)
        cpu = time.process_time()
        for start in range(0, len(records), in_flight):
            part = slice(start, start + in_flight)
            if whole:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("INSERT INTO open_requests VALUES (?, ?)", opens[part])
                connection.execute("COMMIT")
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(f"INSERT INTO records VALUES ({marks})", records[part])
            if whole:
                connection.executemany("DELETE FROM open_requests WHERE id = ?", closed[part])
            connection.execute("COMMIT")
        figures.append((time.process_time() - cpu) / len(records) * 1e6)
        connection.close()
    return figures[0], figures[1]


def main() -> int:
    """Measures and prints."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else CALLS
    # as the gateway does
    gc.set_threshold(50_000, 20, 20)
    out = ["in flight   us a call   event loop   calls a commit   raw insert   raw open+insert+close   (CPU us)"]
    for in_flight in IN_FLIGHT:
        calls = pairs(count if in_flight > 1 else count // 10)
        with tempfile.TemporaryDirectory() as folder:
            gc.collect()
            gc.freeze()
            path = Path(folder) / "ledger.db"
            total, own, batch = uvloop.run(measure(path, calls, in_flight))
            plain, whole = raw(Path(folder) / "raw", path, in_flight)
        out.append(f"{in_flight:9d} {total:11.1f} {own:12.1f} {batch:16.1f} {plain:12.1f} {whole:23.1f}")
        sys.stdout.write(out[-1] + "\n" if len(out) > 2 else "\n".join(out) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
