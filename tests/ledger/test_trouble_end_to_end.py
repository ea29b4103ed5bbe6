"""A gateway whose disk or clock is in trouble: what its callers see, what it says, and what is in the ledger."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from storm import CONFIG, Storm, agree, compare, number_in, play
from support.gateway import Gateway
from support.upstream import LAST_CHUNK, Seen, Step, Upstream, chunk, chunked_head

from gateway.ledger.connections import connect
from gateway.ledger.ids import Ids, first_id_at
from pricing.money import Line


def call(gateway: Gateway, number: int) -> tuple[int, str]:
    """Status, and the request id or the gateway's own error."""
    document = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": str(number)}], "max_tokens": 100}
    headers = {"Authorization": "Bearer sk-test-storm", "x-spendgate-tag-n": str(number)}
    url = gateway.url + "/openai/v1/chat/completions"
    request = urllib.request.Request(url, json.dumps({**document, "stream": False}).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers["x-spendgate-request-id"]
    except urllib.error.HTTPError as error:
        return error.code, error.headers["x-spendgate-error"]


def ready(gateway: Gateway) -> str:
    try:
        with urllib.request.urlopen(gateway.url + "/readyz", timeout=5):
            return ""
    except urllib.error.HTTPError as error:
        reason: str = json.load(error)["reason"]
        return reason


def until_ready(gateway: Gateway, wanted: bool = True) -> str:
    deadline = time.monotonic() + 20
    while bool(reason := ready(gateway)) is wanted:
        assert time.monotonic() < deadline, reason
        time.sleep(0.02)
    return reason


def serve(gateway: Gateway, folder: Path, shared: str = "data") -> subprocess.CompletedProcess[str]:
    """Start a further gateway on the same data directory, or what of it is ``shared``; it must end by itself."""
    other = Gateway(folder, gateway.config)
    text = other.path.read_text().replace(str(folder / shared), str(gateway.directory / shared))
    other.path.write_text(text)
    command = [sys.executable, "-m", "gateway.cli.main", "serve", "--config", str(other.path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(play) as running:
        yield running


@pytest.fixture
def gateway(tmp_path: Path, upstream: Upstream) -> Iterator[Gateway]:
    with Gateway(tmp_path, CONFIG.format(url=upstream.url)) as running:
        yield running


def test_a_second_gateway_on_the_directory_is_refused_in_one_line(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    done = serve(gateway, tmp_path / "other")
    assert done.returncode == 1
    assert gateway.process is not None
    (line,) = done.stderr.splitlines()
    assert f"another gateway (process {gateway.process.pid}) uses the data directory" in line
    assert call(gateway, 1)[0] == 200


@pytest.mark.parametrize("named", ["as it is", "by a link"])
def test_a_second_gateway_on_the_ledger_is_refused_whatever_its_data_directory(
    gateway: Gateway, tmp_path: Path, named: str
) -> None:
    folder = tmp_path / "other"
    (folder / "data").mkdir(parents=True)
    if named == "as it is":
        done = serve(gateway, folder, "data/ledger.db")
    else:
        (folder / "data" / "ledger.db").symlink_to(tmp_path / "data" / "ledger.db")
        done = serve(gateway, folder, "nothing")
    assert done.returncode == 1
    assert gateway.process is not None
    (line,) = done.stderr.splitlines()
    assert f"another gateway (process {gateway.process.pid}) uses the ledger" in line
    assert call(gateway, 1)[0] == 200


def test_a_database_that_another_program_locks_costs_no_call_and_service_returns(
    gateway: Gateway, upstream: Upstream
) -> None:
    assert call(gateway, 1)[0] == 200
    other = sqlite3.connect(gateway.directory / "data" / "ledger.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    status, error = call(gateway, 2)
    assert (status, error) == (503, "ledger_unavailable")
    assert "locked" in until_ready(gateway, wanted=False)
    assert call(gateway, 3)[0] == 503
    assert {number_in(seen) for seen in upstream.seen} == {1}
    other.execute("ROLLBACK")
    until_ready(gateway)
    assert call(gateway, 4)[0] == 200
    assert {record["tags"]["n"] for record in gateway.records() if record["outcome"] == "completed"} == {"1", "4"}


def test_a_reload_that_can_not_read_the_ledger_says_so_and_changes_nothing(gateway: Gateway) -> None:
    other = sqlite3.connect(gateway.directory / "data" / "ledger.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    gateway.write(gateway.config + '[[quotas]]\nname = "new"\nrequests = 5\nwindow = "day"\n')
    gateway.reload()
    deadline = time.monotonic() + 20
    while "not reloaded: " not in gateway.log():
        assert time.monotonic() < deadline, gateway.log()
        time.sleep(0.05)
    other.execute("ROLLBACK")
    assert "spendgate_config_reload_failures_total 1.0" in gateway.metrics()
    assert "Traceback" not in gateway.log()
    until_ready(gateway)
    assert gateway.post("/api/reload")["changed"] == ["+quotas.new"]


def test_a_slow_disk_makes_calls_wait_and_refuses_none(gateway: Gateway) -> None:
    other = sqlite3.connect(gateway.directory / "data" / "ledger.db", isolation_level=None)
    found: list[tuple[int, str]] = []
    threads = [threading.Thread(target=lambda n=n: found.append(call(gateway, n))) for n in range(1, 21)]  # type: ignore[misc]
    other.execute("BEGIN IMMEDIATE")
    for thread in threads:
        thread.start()
    time.sleep(0.7)
    assert found == []
    other.execute("ROLLBACK")
    for thread in threads:
        thread.join()
    assert [status for status, _ in found] == [200] * 20
    assert {record["request_id"] for record in gateway.records()} == {request_id for _, request_id in found}


def test_a_ledger_that_is_gone_refuses_calls_until_it_is_back(gateway: Gateway, upstream: Upstream) -> None:
    assert call(gateway, 1)[0] == 200
    data = gateway.directory / "data"
    data.rename(gateway.directory / "elsewhere")
    assert call(gateway, 2) == (503, "ledger_unavailable")
    assert "gone" in until_ready(gateway, wanted=False)
    assert {number_in(seen) for seen in upstream.seen} == {1}
    (gateway.directory / "elsewhere").rename(data)
    until_ready(gateway)
    assert call(gateway, 3)[0] == 200
    assert len([record for record in gateway.records() if record["outcome"] == "completed"]) == 2


def test_a_full_queue_refuses_calls_before_the_provider_is_asked(tmp_path: Path, upstream: Upstream) -> None:
    config = CONFIG.format(url=upstream.url) + "[ledger]\nqueue_rows = 5\n"
    with Gateway(tmp_path, config) as gateway:
        storm = Storm(gateway, upstream, seed=1, clients=60)
        other = sqlite3.connect(gateway.directory / "data" / "ledger.db", isolation_level=None, check_same_thread=False)

        async def hold() -> None:
            for _ in range(5):
                other.execute("BEGIN IMMEDIATE")
                await asyncio.sleep(0.3)
                other.execute("ROLLBACK")
                await asyncio.sleep(0.1)

        async def blow() -> None:
            await storm.blow(asyncio.create_task(hold()))

        asyncio.run(blow())
        assert storm.refused
        assert "spendgate_ledger_queue_length 0.0" in gateway.metrics()
        assert compare(storm).complete == len(storm.complete) > 0


def test_a_damaged_file_stops_the_start_in_one_line_and_verify_says_where(gateway: Gateway, tmp_path: Path) -> None:
    for number in range(1, 60):
        call(gateway, number)
    gateway.stop()
    path = gateway.directory / "data" / "ledger.db"
    whole = path.read_bytes()
    page = int.from_bytes(whole[16:18], "big")
    root = sqlite3.connect(path).execute("SELECT rootpage FROM sqlite_master WHERE name = 'records'").fetchone()[0]
    broken = bytearray(whole)
    broken[(root - 1) * page : (root - 1) * page + 64] = b"\xff" * 64
    path.write_bytes(broken)
    (tmp_path / "other").mkdir()
    done = serve(gateway, tmp_path / "other")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "damaged" in line
    verified = gateway.cli("ledger", "verify", check=False)
    assert verified.returncode == 1
    assert "Traceback" not in verified.stderr
    assert "damaged" in verified.stdout + verified.stderr
    path.write_bytes(whole)
    assert gateway.cli("ledger", "verify").returncode == 0


def test_a_file_that_is_damaged_while_it_serves_refuses_calls_and_says_why(
    gateway: Gateway, upstream: Upstream
) -> None:
    for number in range(1, 40):
        call(gateway, number)
    gateway.stop()
    gateway.start()
    path = gateway.directory / "data" / "ledger.db"
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    # the first may be written yet, but not settled: its answer waits for its record, and at a start it is recovered

    def caught() -> None:
        with contextlib.suppress(OSError):
            call(gateway, 100)

    threading.Thread(target=caught, daemon=True).start()
    assert "malformed" in until_ready(gateway, wanted=False)
    asked = len(upstream.seen)
    assert call(gateway, 101) == (503, "ledger_unavailable")
    assert len(upstream.seen) == asked
    for command in (("ledger", "verify"), ("report",)):
        done = gateway.cli(*command, check=False)
        (line,) = done.stderr.splitlines()
        assert (done.returncode, "damaged" in line) == (1, True)
    for _ in range(60):
        assert asked_of_api(gateway) == (503, "The ledger can't be used")
    assert gateway.process is not None
    held = [opened(one) for one in Path(f"/proc/{gateway.process.pid}/fd").iterdir()]
    assert sum(one.startswith(str(path)) for one in held) < 30
    assert gateway.stop() == 0
    assert "Traceback" not in gateway.log(), gateway.log()[-3000:]


def opened(descriptor: Path) -> str:
    """What a descriptor is open on; empty where it has been closed meanwhile."""
    try:
        return os.readlink(descriptor)
    except FileNotFoundError:
        return ""


def asked_of_api(gateway: Gateway) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(gateway.admin + "/api/requests", timeout=10) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["title"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_read_only_disk_stops_the_start_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(tmp_path / "data")]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system can't be mounted here")
    try:
        config = Gateway(tmp_path, CONFIG.format(url="http://127.0.0.1:9"))
        command = [sys.executable, "-m", "gateway.cli.main", "serve", "--config", str(config.path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert "spendgate.lock: Read-only file system" in line
    finally:
        subprocess.run(["umount", "-l", str(tmp_path / "data")], check=False)


def test_a_stream_that_a_crash_cuts_is_recovered_at_its_last_second(tmp_path: Path) -> None:
    def slow(seen: Seen) -> Iterator[Step]:
        yield chunked_head("text/event-stream")
        for _ in range(100):
            delta: Any = {"model": "gpt-4o-mini", "choices": [{"delta": {"content": "one two three four "}}]}
            yield chunk(b"data: " + json.dumps(delta).encode() + b"\n\n")
            yield 0.05
        yield LAST_CHUNK

    with Upstream(slow) as upstream:
        gateway = Gateway(tmp_path, CONFIG.format(url=upstream.url)).start()
        body = {"model": "gpt-4o-mini", "messages": [], "stream": True, "max_tokens": 1000}
        headers = {"Authorization": "Bearer sk-test-storm"}
        url = gateway.url + "/openai/v1/chat/completions"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            request_id = answer.headers["x-spendgate-request-id"]
            ledger = sqlite3.connect(f"file:{tmp_path}/data/ledger.db?mode=ro", uri=True)
            marks: set[bytes] = set()
            deadline = time.monotonic() + 20
            while len(marks) < 3 and time.monotonic() < deadline:
                marks.update(row[0] for row in ledger.execute("SELECT checkpoint FROM checkpoints"))
                time.sleep(0.05)
            gateway.kill()
        times = sorted(json.loads(mark)["at_ns"] for mark in marks)
        assert all(later - sooner > 0.9e9 for sooner, later in itertools.pairwise(times))
        last = json.loads(max(marks, key=lambda mark: json.loads(mark)["at_ns"]))
        with gateway:
            record = gateway.get(f"/api/requests/{request_id}")
            assert gateway.cli("ledger", "verify").returncode == 0
        assert record["outcome"] == "recovered"
        assert record["usage"] == last["usage"]
        assert record["usage"]["output_tokens_total"] >= 100
        assert record["cost_nanousd"] == last["cost_nanousd"] > 0
        assert sum(Line(**line).nanousd for line in record["cost_lines"]) == record["cost_nanousd"]
        assert ledger.execute("SELECT count(*) FROM checkpoints").fetchone() == (0,)


@given(steps=st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=200), bits=st.integers(0, 2**40 - 1))
def test_ids_are_unique_and_sorted_also_when_the_clock_is_set_back(steps: list[int], bits: int) -> None:
    now = [1_790_000_000_000_000_000]

    def clock() -> int:
        return now[0]

    ids = Ids(clock, lambda width: bits & ((1 << width) - 1))
    made = []
    for step in steps:
        now[0] += step
        made.append(ids())
        assert made[-1] >= first_id_at(now[0])
    assert made == sorted(set(made))


def test_copies_reports_and_checks_of_a_busy_gateway_hold_up_no_call(
    gateway: Gateway, upstream: Upstream, tmp_path: Path
) -> None:
    storm = Storm(gateway, upstream, seed=1, clients=20)
    copies = [tmp_path / f"copy-{number}.db" for number in range(2)]

    async def operate() -> None:
        for copy in copies:
            await asyncio.sleep(0.3)
            await asyncio.to_thread(gateway.cli, "ledger", "backup", str(copy))
            assert "agrees" in (await asyncio.to_thread(gateway.cli, "ledger", "verify")).stdout
            await asyncio.to_thread(gateway.cli, "report", "--by", "tag.n")
        await asyncio.to_thread(gateway.cli, "ledger", "restore", str(copies[0]))

    async def blow() -> None:
        await storm.blow(asyncio.create_task(operate()))

    asyncio.run(blow())
    assert storm.refused == 0
    counts = []
    for copy in copies:
        agree(copy)
        counts.append(sqlite3.connect(copy).execute("SELECT count(*) FROM requests").fetchone()[0])
    assert 0 < counts[0] < counts[1] < compare(storm).records
    gateway.stop()
    (gateway.directory / "data" / "ledger.db").rename(tmp_path / "lost.db")
    gateway.start()
    assert call(gateway, 0)[0] == 200
    assert f"put back: {counts[1]:,} records" in gateway.cli("ledger", "restore", str(copies[1])).stdout
    assert "put back: 0 records" in gateway.cli("ledger", "restore", str(copies[1])).stdout
    assert len(gateway.records()) == counts[1] + 1
    assert gateway.cli("ledger", "verify").returncode == 0


def test_a_copy_is_made_before_a_ledger_is_brought_to_a_newer_schema(tmp_path: Path, upstream: Upstream) -> None:
    gateway = Gateway(tmp_path, CONFIG.format(url=upstream.url))
    with gateway:
        assert call(gateway, 1)[0] == 200
    path = tmp_path / "data" / "ledger.db"
    connection = connect(path)
    connection.execute("DROP TABLE quota_marks")
    connection.execute("DELETE FROM _sqlite_migrations WHERE name = 'quota_marks'")
    connection.close()
    with gateway:
        assert call(gateway, 2)[0] == 200
        assert len(gateway.records()) == 2
    (copy,) = path.parent.glob("ledger.db.before-*")
    assert sqlite3.connect(copy).execute("SELECT count(*) FROM requests").fetchone() == (1,)
