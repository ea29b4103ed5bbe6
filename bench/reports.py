"""Reports over a large ledger: how long they take, how large it is.

    .venv/bin/python bench/reports.py [RECORDS] [FOLDER]

Makes a ledger of RECORDS calls (10 million) over 92 days through the gateway's own writer, measures, and deletes it.
FOLDER (default: a temporary one) needs some 5 GB of room for 10 million.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from gateway.ledger.connections import connect, connect_reader
from gateway.ledger.days import close_day
from gateway.ledger.ids import Ids
from gateway.ledger.record import Record
from gateway.ledger.recovery import recover
from gateway.ledger.schema import migrate
from gateway.ledger.writer import Writer
from gateway.reports.spend import spend
from gateway.wire.usage import Usage
from pricing.money import Line

RECORDS = 10_000_000
DAYS = 92
DAY_NS = 86_400_000_000_000
END_NS = time.time_ns()
BATCH = 5000
MODELS = ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5", "gemini-2.5-flash", "o3-mini")


def records(count: int) -> Iterator[Record]:
    """Calls of 12 teams with 4 workflows, 5 models and 2 sets of tags each, evenly over the days."""
    rng = random.Random(1)
    now = [0]
    ids = Ids(lambda: now[0], lambda bits: 7)
    step = DAYS * DAY_NS // count
    for number in range(count):
        now[0] = started = END_NS - (count - number) * step
        team = int(rng.random() ** 2 * 12)
        model = MODELS[int(rng.random() ** 2 * 5)]
        tokens_in, tokens_out = int(200 + rng.random() * 3000), int(rng.random() * 900)
        cost_in, cost_out = tokens_in * 150, tokens_out * 600
        yield Record(
            request_id=ids(), started_ns=started, ended_ns=started + 900_000_000, team=f"team-{team}",
            workflow=f"workflow-{number % 4}", key_id=f"team-{team}-prod",
            tags={"env": "prod" if rng.random() < 0.8 else "dev", "cost_center": "4711"}, provider="openai", api="chat",
            method="POST", path="/v1/chat/completions", model_requested=model, model=model, stream=number % 2 == 0,
            status=200, outcome="completed",
            usage=Usage(input_tokens_total=tokens_in, output_tokens_total=tokens_out), usage_source="response",
            cost_nanousd=cost_in + cost_out,
            cost_lines=(Line("input", tokens_in, "token", cost_in), Line("output", tokens_out, "token", cost_out)),
            price=f"catalogue genai-prices 0.2.3 openai/{model}", quotas=(f"team-{team}-month",),
            reserved_nanousd=2 * (cost_in + cost_out), reserved_input_tokens=tokens_in * 4, reserved_output_tokens=4096,
            latency_us=900_000, ttft_us=250_000, gateway_us=400, request_bytes=tokens_in * 4,
            response_bytes=tokens_out * 5, trace_id=f"{number:032x}", service_tier="default", opened=False,
        )  # fmt: skip


def make(path: Path, count: int) -> float:
    """Write the ledger; answers the seconds that it took."""
    migrate(path)
    connection = connect(path)
    connection.execute("PRAGMA synchronous = OFF")
    writer = Writer(alone=True)
    began = time.perf_counter()
    batch: list[Record] = []
    for record in records(count):
        batch.append(record)
        if len(batch) == BATCH:
            writer.write(connection, records=batch)
            batch.clear()
    if batch:
        writer.write(connection, records=batch)
    took = time.perf_counter() - began
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return took


def close_days(path: Path) -> list[float]:
    """Close every day that is over, as a running gateway does; seconds of each."""
    connection = connect(path)
    took, more = [], True
    while more:
        began = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        more = close_day(connection, END_NS)
        connection.execute("COMMIT")
        took.append(time.perf_counter() - began)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return took


def best_and_median(work: Callable[[], object], rounds: int = 7) -> str:
    """Milliseconds."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        found.append((time.perf_counter() - began) * 1e3)
    return f"{min(found):8.1f} {median(found):8.1f}"


def forget_pages(path: Path) -> None:
    """The system's page cache forgets the file, so that a command begins truly cold."""
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def command_line(folder: Path, path: Path, cold: bool, *words: str) -> str:
    """Milliseconds of a whole command."""

    def run() -> None:
        if cold:
            forget_pages(path)
        command = [sys.executable, "-m", "gateway.cli.main", *words, "--config", str(folder / "config.toml")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    return best_and_median(run, 3)


def main() -> int:
    """Measures and prints."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as name:
        folder = Path(name)
        path = folder / "data" / "ledger.db"
        path.parent.mkdir()
        (folder / "config.toml").write_text(f'[ledger]\nurl = "sqlite:///{path}"\n')
        took = make(path, count)
        print(f"{count:,} records written in {took:.0f} s ({took / count * 1e6:.1f} us each)", flush=True)
        print(f"days closed: {max(close_days(path)) * 1e3:.0f} ms the longest")
        print(f"{path.stat().st_size / count:.0f} bytes a record, {path.stat().st_size / 1e9:.2f} GB", flush=True)
        print(f"{'':46}    best   median  ms")
        print(f"{'open: schema checked, open calls recovered':46}{best_and_median(lambda: opened(path))}")
        reader = connect_reader(path)
        month = END_NS - 30 * DAY_NS
        for by in (["team", "model"], ["team", "workflow", "model"], ["day"], ["tag.env"], ["hour"]):
            text = f"warm, one month by {','.join(by)}"
            print(f"{text:46}{best_and_median(lambda by=by: spend(reader, by, month, END_NS))}")  # type: ignore[misc]
        print(
            f"{'warm, 92 days by team,model':46}{best_and_median(lambda: spend(reader, ['team', 'model'], 0, END_NS))}"
        )
        reader.close()
        since = time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(month / 1e9))
        for cold, text in ((False, "command line, pages cached"), (True, "command line, nothing cached")):
            print(f"{text:46}{command_line(folder, path, cold, 'report', '--by', 'team,model', '--since', since)}")
    return 0


def opened(path: Path) -> None:
    """What a gateway does with the file before it listens."""
    migrate(path)
    recover(path, END_NS)


if __name__ == "__main__":
    sys.exit(main())
