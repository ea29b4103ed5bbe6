"""What a statement gives back to quotas of calls whose true cost nobody knew, under a gateway that runs."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from billed import CONFIG, Books
from support.gateway import Gateway

from gateway.ledger.connections import connect
from gateway.wire.usage import Usage
from pricing.money import Line

DOLLAR = 10**9
MODEL = "gpt-4o-2024-08-06"
QUOTAS = """
[[quotas]]
name = "all"
usd = 1000.0
tokens = 100000000
window = "total"

[[quotas]]
name = "by-model"
per = ["model"]
usd = 1000.0
window = "total"
"""
UNKNOWN: dict[str, Any] = {
    "outcome": "recovered", "usage_source": "estimated", "reserved_nanousd": 5 * DOLLAR,
    "reserved_input_tokens": 3000, "reserved_output_tokens": 900,
}  # fmt: skip


def gateway_of(books: Books, directory: Path) -> Gateway:
    gateway = books.gateway(directory)
    gateway.write(CONFIG + QUOTAS)
    return gateway.start()


def used(gateway: Gateway) -> dict[tuple[str, str, str], float]:
    return {(row["quota"], row["bucket"], row["unit"]): row["used"] for row in gateway.get("/api/quotas")["quotas"]}


def until_used(gateway: Gateway, dollars: float) -> None:
    deadline = time.monotonic() + 20
    while round(used(gateway)["all", "", "usd"] * 1e9) != round(dollars * 1e9):
        assert time.monotonic() < deadline, used(gateway)
        time.sleep(0.05)


def same_everywhere(gateway: Gateway) -> None:
    """Live counters, the ledger and a gateway that starts anew say the same."""
    assert gateway.post("/api/quotas/verify")["differences"] == []
    assert gateway.cli("quotas", "verify").returncode == 0
    before = used(gateway)
    gateway.stop()
    gateway.start()
    assert used(gateway) == before
    assert gateway.post("/api/quotas/verify")["differences"] == []


@pytest.fixture
def books() -> Books:
    """Four known calls of 1 $ and two that a crash left behind: at 0.10 $ so far, with 5 $ held of each."""
    made = Books()
    for _ in range(4):
        made.call(0, MODEL, DOLLAR)
    for charged in (DOLLAR, 3 * DOLLAR):
        made.call(0, MODEL, DOLLAR // 10, charged, **UNKNOWN)
    made.call(1, MODEL, DOLLAR)
    return made


def test_a_booked_statement_releases_what_recovered_calls_did_not_cost(tmp_path: Path, books: Books) -> None:
    gateway = gateway_of(books, tmp_path)
    try:
        until_used(gateway, 5 + 2 * 5)
        said = gateway.cli(
            "reconcile", str(books.openai_costs(tmp_path / "costs.json")), "--provider", "openai", "--book"
        )
        assert "quotas hold 6.000000 USD less of 2 calls" in said.stdout
        # what the provider charged is what counts now: 5 $ of known calls, 4 $ of the two
        until_used(gateway, 5 + 4)
        assert used(gateway)["by-model", MODEL, "usd"] == 9
        same_everywhere(gateway)
        # twice is once
        again = gateway.cli("reconcile", str(tmp_path / "costs.json"), "--provider", "openai", "--book")
        assert "quotas hold" not in again.stdout
        # a reload that makes the rule anew finds the same
        gateway.write(CONFIG + QUOTAS.replace("usd = 1000.0", "usd = 999.0"))
        gateway.reload()
        deadline = time.monotonic() + 20
        while gateway.get("/api/quotas")["quotas"][0]["limit"] != 999.0 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert used(gateway)["all", "", "usd"] == 9
        assert gateway.post("/api/quotas/verify")["differences"] == []
    finally:
        gateway.stop()


def test_two_bookings_at_once_release_and_book_as_one(tmp_path: Path, books: Books) -> None:
    books.charge(0, MODEL, DOLLAR)
    gateway = books.gateway(tmp_path)
    gateway.write(CONFIG + QUOTAS)
    costs = books.openai_costs(tmp_path / "costs.json")
    words = ("reconcile", str(costs), "--provider", "openai", "--book", "--config", str(gateway.path))
    with closing(connect(tmp_path / "data" / "ledger.db")) as writer:
        writer.execute("BEGIN IMMEDIATE")
        both = [
            subprocess.Popen([sys.executable, "-m", "gateway.cli.main", *words], stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        # both have read the ledger by then, or the slower one reads it later: that changes nothing
        time.sleep(3)
        writer.execute("ROLLBACK")
        said = b"".join(one.communicate(timeout=60)[0] for one in both).decode()
        assert [one.returncode for one in both] == [0, 0]
        released = writer.execute("SELECT count(*), sum(nanousd) FROM releases").fetchone()
    assert said.count("quotas hold 5.000000 USD less of 2 calls") == 1
    assert said.count("booked 0 adjustments, 0.000000 USD") == 1
    assert released == (2, 5 * DOLLAR)
    with gateway:
        until_used(gateway, 5 + 5)
        same_everywhere(gateway)


def test_a_revised_statement_holds_again_what_it_charges_more(tmp_path: Path, books: Books) -> None:
    gateway = gateway_of(books, tmp_path)
    try:
        costs = books.openai_costs(tmp_path / "costs.json")
        gateway.cli("reconcile", str(costs), "--provider", "openai", "--book")
        until_used(gateway, 9)
        books.charge(0, MODEL, 2 * DOLLAR)
        gateway.cli("reconcile", str(books.openai_costs(costs)), "--provider", "openai", "--book")
        until_used(gateway, 11)
        books.charge(0, MODEL, -3 * DOLLAR)
        gateway.cli("reconcile", str(books.openai_costs(costs)), "--provider", "openai", "--book")
        until_used(gateway, 8)
        same_everywhere(gateway)
    finally:
        gateway.stop()


def test_tokens_are_released_where_the_costs_leave_nothing_open(tmp_path: Path) -> None:
    books = Books()
    books.call(0, MODEL, DOLLAR)
    books.call(0, MODEL, DOLLAR // 10, **UNKNOWN)
    books.call(1, MODEL, DOLLAR)
    gateway = gateway_of(books, tmp_path)
    try:
        assert used(gateway)["all", "", "tokens"] == 2 * 1100 + 3900
        costs = books.openai_costs(tmp_path / "costs.json")
        gateway.cli("reconcile", str(costs), "--provider", "openai", "--book")
        until_used(gateway, 2.1)
        assert used(gateway)["all", "", "tokens"] == 3 * 1100
        same_everywhere(gateway)
    finally:
        gateway.stop()


def test_what_may_stand_in_no_charge_yet_stays_held(tmp_path: Path) -> None:
    books = Books()
    books.call(0, MODEL, DOLLAR)
    # late in the day, and a model that the statement does not name
    books.call(0, MODEL, DOLLAR // 10, second=86_400 - 1800, **UNKNOWN)
    books.call(1, MODEL, DOLLAR)
    books.call(0, "o3-mini", DOLLAR // 10, 0, **UNKNOWN)
    gateway = gateway_of(books, tmp_path)
    try:
        until_used(gateway, 2 + 10)
        costs = books.openai_costs(tmp_path / "costs.json")
        said = gateway.cli("reconcile", str(costs), "--provider", "openai", "--book")
        assert "booked" in said.stdout
        assert "quotas hold" not in said.stdout
        same_everywhere(gateway)
        until_used(gateway, 2 + 10)
    finally:
        gateway.stop()


def test_broken_calls_that_never_were_sent_to_their_end_are_released_too(tmp_path: Path) -> None:
    books = Books()
    books.call(0, MODEL, DOLLAR)
    lines = (Line("input", 1000, "token", DOLLAR // 10),)
    held: dict[str, Any] = {**UNKNOWN, "outcome": "client_disconnected", "cost_lines": lines, "usage": Usage()}
    books.call(0, MODEL, DOLLAR // 10, **held)
    gateway = gateway_of(books, tmp_path)
    try:
        until_used(gateway, 1 + 5)
        gateway.cli("reconcile", str(books.openai_costs(tmp_path / "costs.json")), "--provider", "openai", "--book")
        until_used(gateway, 1.1)
        same_everywhere(gateway)
    finally:
        gateway.stop()
