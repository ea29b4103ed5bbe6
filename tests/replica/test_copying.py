"""What the ledgers of several gateways hold lies in one database, each record once, whatever is killed."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import book
import pytest
from support.gateway import Gateway, free_port
from support.postgresql import SERVER, ask, database
from support.relay import Relay

from gateway.ledger.connections import connect
from gateway.ledger.reader import LedgerReader
from gateway.ledger.writer import Writer
from gateway.reports.spend import spend

FOREVER = 1 << 62
CONFIG = """
[attribution]
require_key = true
[providers.simulated]
kind = "simulated"
[[keys]]
id = "k"
secret = "sk-of-the-test"
team = "search"
workflow = "ranking"
tags = {{ env = "prod" }}
"""


def wait_until(told: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not told():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.1)


@pytest.fixture
def url() -> Iterator[str]:
    with database() as address:
        yield address


def gateway(folder: Path, url: str, more: str = "") -> Gateway:
    folder.mkdir(exist_ok=True)
    text = CONFIG.replace("{{", "{").replace("}}", "}") + f'\n[ledger]\n[ledger.replica]\nurl = "{url}"\n'
    return Gateway(folder, (f"[server]\n{more}\n" if more else "") + text)


def call(one: Gateway, model: str = "gpt-4o-mini") -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}
    request = urllib.request.Request(one.url + "/simulated/v1/chat/completions", json.dumps(body).encode())
    request.add_header("Authorization", "Bearer sk-of-the-test")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()


def ledger(one: Gateway) -> Path:
    return one.directory / "data" / "ledger.db"


def held(path: Path) -> list[dict[str, Any]]:
    return [record for _, record in LedgerReader(path).numbered(0, 1_000_000)]


def copied(url: str, which: str = "") -> list[dict[str, Any]]:
    """Rows as records: in the order of a gateway, with their times as text."""
    rows = ask(url, f"SELECT * FROM spendgate.records WHERE gateway LIKE '{which}%' ORDER BY gateway, number")
    return [
        {
            name: f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}" if isinstance(value, datetime) else value
            for name, value in row.items()
            if name not in ("gateway", "number")
        }
        for row in rows
    ]


def count(url: str) -> int:
    if ask(url, "SELECT to_regclass('spendgate.records')")[0][0] is None:
        return 0
    return int(ask(url, "SELECT count(*) FROM spendgate.records")[0][0])


def identity(one: Gateway) -> str:
    with sqlite3.connect(ledger(one)) as connection:
        return str(connection.execute("SELECT value FROM facts WHERE name = 'gateway_id'").fetchone()[0])


def assert_same(url: str, *gateways: Gateway) -> None:
    for one in gateways:
        assert copied(url, identity(one)) == held(ledger(one))
    assert count(url) == sum(len(held(ledger(one))) for one in gateways)


@pytest.mark.parametrize("more", ["", "workers = 2"], ids=["one process", "two workers"])
def test_two_gateways_lie_in_one_database_and_the_views_are_their_reports(tmp_path: Path, url: str, more: str) -> None:
    first, second = gateway(tmp_path / "a", url, more), gateway(tmp_path / "b", url)
    book.ledger(ledger(first), [book.record(number) for number in range(700)])
    with first, second:
        for one in (first, second):
            for _ in range(5):
                call(one)
        wait_until(lambda: count(url) == 710)
        assert first.value("spendgate_replica_lag_records") == 0
        assert first.cli("ledger", "reprice", "--since", "2026-09-01").stdout
    assert_same(url, first, second)
    by = ["hour", "team", "workflow", "provider", "model"]
    reported: Counter[tuple[str, ...]] = Counter()
    for one in (first, second):
        for row in spend(LedgerReader(ledger(one)).connection(), by, 0, FOREVER):
            for name in (*row.__struct_fields__[1:],):
                reported[*row.group, name] += getattr(row, name)
    columns = ("requests", "rejected", "estimated", "unpriced", "cost_nanousd", "input_tokens", "output_tokens")
    shown: Counter[tuple[str, ...]] = Counter()
    for row in ask(url, "SELECT * FROM spendgate.spend"):
        key = (f"{row['hour'].astimezone(UTC):%Y-%m-%dT%H:00Z}", *(row[name] for name in by[1:]))
        for name in columns:
            shown[*key, name] = int(row[name])
    wanted = {key: value for key, value in reported.items() if key[-1] in columns}
    assert shown == wanted
    gateways = ask(url, "SELECT gateway, sum(cost_nanousd) FROM spendgate.spend_by_gateway GROUP BY 1")
    assert {name: int(cost) for name, cost in gateways} == {
        identity(one): sum(row.cost_nanousd for row in spend(LedgerReader(ledger(one)).connection(), [], 0, FOREVER))
        for one in (first, second)
    }


def test_a_gateway_that_is_killed_again_and_again_under_load_is_copied_once(tmp_path: Path, url: str) -> None:
    one = gateway(tmp_path / "a", url)
    for _ in range(4):
        one.start()
        before = count(url)
        stop = threading.Event()

        def load(stop: threading.Event = stop) -> None:
            with suppress(OSError):
                while not stop.is_set():
                    call(one)

        callers = [threading.Thread(target=load) for _ in range(6)]
        for caller in callers:
            caller.start()
        wait_until(lambda before=before: count(url) > before)  # type: ignore[misc]
        one.kill()
        stop.set()
        for caller in callers:
            caller.join()
    with one:
        call(one)
    assert_same(url, one)


def test_postgresql_that_is_away_stops_no_call_and_hears_all_when_it_is_back(tmp_path: Path, url: str) -> None:
    relay = Relay(free_port(), SERVER.rpartition("@")[2])
    one = gateway(tmp_path / "a", url.replace("5432", str(relay.port)))
    with one:
        for _ in range(3):
            call(one)
        wait_until(lambda: one.value("spendgate_replica_failures_total") >= 2)
        relay.up()
        wait_until(lambda: count(url) == 3)
        for _ in range(3):
            relay.cut()
            call(one)
            wait_until(lambda: "can't be copied" in one.log())
            relay.up()
            wait_until(lambda: count(url) == len(held(ledger(one))))
        log = one.log()
    assert log.count("can't be copied to PostgreSQL") == log.count("copied to PostgreSQL again") <= 4
    assert "sk-of" not in log
    assert_same(url, one)


def test_connections_that_postgresql_ends_while_batches_are_written_lose_and_double_nothing(
    tmp_path: Path, url: str
) -> None:
    one = gateway(tmp_path / "a", url)
    book.ledger(ledger(one), [book.record(number) for number in range(6000)])
    with one:
        wait_until(lambda: count(url) > 0)
        for _ in range(5):
            ask(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                     "AND pid <> pg_backend_pid()")  # fmt: skip
        wait_until(lambda: count(url) == 6000)
    assert_same(url, one)


def test_a_ledger_that_was_put_back_or_copied_loses_and_doubles_nothing(tmp_path: Path, url: str) -> None:
    one, other = gateway(tmp_path / "a", url), gateway(tmp_path / "b", url)
    path = book.ledger(ledger(one), [book.record(number) for number in range(50)])
    with one:
        wait_until(lambda: count(url) == 50)
    ledger(other).parent.mkdir(parents=True)
    shutil.copy(path, ledger(other))
    with one:
        call(one)
    with other:
        call(other)
    assert count(url) == 52
    both = {record["request_id"] for path in (ledger(one), ledger(other)) for record in held(path)}
    assert {record["request_id"] for record in copied(url)} == both
    assert "not the one that was copied before" in other.log()
    # each finds its own place again
    with one, other:
        call(one)
        call(other)
        wait_until(lambda: count(url) == 54)


def test_text_that_postgresql_cannot_hold_holds_nothing_up(tmp_path: Path, url: str) -> None:
    one = gateway(tmp_path / "a", url)
    path = book.ledger(ledger(one), [book.record(1), book.record(2, model="a\0b", tags={"x\0": "\\u0000"})])
    connection = connect(path)
    Writer().write(connection, records=[book.record(3)])
    connection.close()
    with one:
        wait_until(lambda: count(url) == 3)
    assert [(row["model"], row["tags"]) for row in copied(url)][1] == ("a\ufffdb", {"x\ufffd": "\\u0000"})


def test_what_the_tables_lack_of_a_later_version_is_added(tmp_path: Path, url: str) -> None:
    one = gateway(tmp_path / "a", url)
    with one:
        call(one)
    ask(url, "DROP VIEW spendgate.spend, spendgate.spend_by_gateway")
    ask(url, "ALTER TABLE spendgate.records DROP COLUMN region")
    with one:
        call(one)
    assert [row[0] for row in ask(url, "SELECT region FROM spendgate.records ORDER BY number")] == [None, ""]
    assert ask(url, "SELECT sum(requests) FROM spendgate.spend")[0][0] == 2


def test_a_command_that_copies_nothing_does_without_the_address(tmp_path: Path) -> None:
    one = gateway(tmp_path, "env:SPENDGATE_TEST_NOT_THERE")
    assert one.cli("price", "gpt-4o-mini", "--input", "1000", "--output", "1").returncode == 0
    assert "SPENDGATE_TEST_NOT_THERE" in one.cli("check", check=False).stderr


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://db/spendgate", "must begin with postgresql://"),
        ("postgresql://db:0/spendgate", "a port from 1 to 65535"),
        ("postgresql://db", "must name a host and a database"),
        ("postgresql://db:x/spendgate", "is not a valid address"),
    ],
)
def test_a_wrong_address_is_one_clear_error(tmp_path: Path, url: str, told: str) -> None:
    done = gateway(tmp_path, url.replace("//", "//me:hush-hush@")).cli("check", check=False)
    assert done.returncode == 1
    assert told in done.stdout + done.stderr
    assert "hush-hush" not in done.stdout + done.stderr
    assert (done.stdout + done.stderr).count("ledger.replica") == 1
