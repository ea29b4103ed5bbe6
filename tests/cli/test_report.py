"""``spendgate report`` as people read it: on terminals of any width, piped, pasted, beside another month."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import book
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.gateway import Gateway

from gateway.cli.tables import text_table, width
from gateway.ledger.ids import first_id_at
from gateway.reports.compared import previous

DAY = 86_400 * 10**9
NASTY = "<img src=x>\x1b[31m|red"


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def call(number: int, when: int, team: str, model: str, nanousd: int) -> object:
    return book.record(
        number, request_id=first_id_at(when) + f"{number:016d}", started_ns=when, ended_ns=when + 10**9, team=team,
        workflow="w", model=model, outcome="completed", usage_source="response", cost_nanousd=nanousd, cost_lines=(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def two_months(tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    gateway = Gateway(tmp_path_factory.mktemp("report"), '[providers.openai]\nkind = "openai"\n')
    (gateway.directory / "data").mkdir()
    march, april = at("2026-03-01"), at("2026-04-01")
    calls = [call(day, march + day * DAY, "search", "gpt-4o", 1_000_000_000) for day in range(31)]
    calls += [call(100 + day, april + day * DAY, "search", "gpt-4o", (day + 1) * 10**9) for day in range(30)]
    calls += [call(200, march + DAY, "gone", "gpt-4o", 5_000_000_000)]
    calls += [call(300, april + DAY, "a-team-with-a-rather-long-name", NASTY, 250_000_000)]
    book.ledger(gateway.directory / "data" / "ledger.db", sorted(calls, key=lambda one: one.request_id))  # type: ignore[attr-defined]
    return gateway


APRIL = ("--since", "2026-04-01", "--until", "2026-05-01")


def test_dimensions_may_be_named_one_by_one(two_months: Gateway) -> None:
    together = two_months.cli("report", "--by", "model,team", *APRIL).stdout
    assert two_months.cli("report", "--by", "model", *APRIL, "--by", "team").stdout == together
    twice = two_months.cli("report", "--by", "team", "--by", "team", check=False)
    assert (twice.returncode, twice.stderr) == (1, "spendgate: team is named twice\n")
    assert two_months.cli("allocate", "--month", "2026-04", "--by", "team", "--by", "workflow").stdout == (
        two_months.cli("allocate", "--month", "2026-04", "--by", "team,workflow").stdout
    )


def test_a_month_beside_the_month_before_names_what_is_new_and_what_is_gone(two_months: Gateway) -> None:
    said = two_months.cli("report", "--by", "team", *APRIL, "--compare", "previous").stdout.splitlines()
    shown = {line.split()[0]: line.split()[-4:] for line in said}
    assert shown["search"] == ["465.000000", "31.000000", "+434.000000", "+1400.0%"]
    assert shown["gone"] == ["0.000000", "5.000000", "-5.000000", "-100.0%"]
    assert shown["a-team-with-a-rather-long-name"] == ["0.250000", "0.000000", "+0.250000", "new"]
    assert shown["total"] == ["465.250000", "36.000000", "+429.250000", "+1192.4%"]
    assert "before: 2026-03-01 to 2026-04-01" in said


def test_a_month_so_far_is_set_beside_the_same_part_of_the_month_before() -> None:
    assert previous(at("2026-03-01"), at("2026-03-05")) == (at("2026-02-01"), at("2026-02-05"))
    assert previous(at("2026-03-01"), at("2026-03-31")) == (at("2026-02-01"), at("2026-03-01"))
    assert previous(at("2026-01-01"), at("2026-02-01")) == (at("2025-12-01"), at("2026-01-01"))
    assert previous(at("2026-03-10"), at("2026-03-12")) == (at("2026-03-08"), at("2026-03-10"))


def test_the_course_of_a_group_is_a_bar_a_day(two_months: Gateway) -> None:
    said = two_months.cli("report", "--by", "team", *APRIL, "--trend").stdout
    line = next(line for line in said.splitlines() if line.startswith("search"))
    bars = line.split()[-1]
    assert len(bars) == 30
    assert bars[0] == "▁"
    assert bars[-1] == "█"
    assert sorted(bars) == list(bars)


def test_days_come_in_their_order_and_the_dearest_of_each_first(two_months: Gateway) -> None:
    found = json.loads(two_months.cli("report", "--by", "day,team", *APRIL, "--format", "json").stdout)
    assert [row["day"] for row in found] == sorted(row["day"] for row in found)
    assert [row["team"] for row in found if row["day"] == "2026-04-02"] == ["search", "a-team-with-a-rather-long-name"]


def test_a_period_in_which_all_were_refused_says_so(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, '[providers.openai]\nkind = "openai"\n')
    (tmp_path / "data").mkdir()
    refused = book.record(1, outcome="rejected", usage_source="none", cost_nanousd=0, cost_lines=())
    book.ledger(tmp_path / "data" / "ledger.db", [refused])
    said = gateway.cli("report", "--since", "2026-09-01", "--until", "2026-10-01").stdout
    assert said.splitlines()[0].startswith("No calls in this period.")
    assert said.splitlines()[1:] == ["1 calls were refused"]


@pytest.mark.parametrize(
    ("since", "until"),
    [
        ("2026-04-01T18:00", "2026-04-06T06:00"),
        ("2026-04-03T23:30", "2026-04-05T00:15"),
        ("2026-03-31T12:00", "2026-05-01T11:59"),
        ("2026-03-05T12:00", "2026-04-29T01:00"),
    ],
)
def test_the_course_of_a_group_sums_to_its_cost_wherever_the_period_begins(
    two_months: Gateway, since: str, until: str
) -> None:
    words = ("report", "--by", "team", "--since", since, "--until", until, "--trend", "--format", "json")
    for row in json.loads(two_months.cli(*words).stdout):
        (course,) = (value for name, value in row.items() if name.startswith("by_"))
        assert sum(course) == row["cost_nanousd"]


def test_json_and_csv_carry_the_same_numbers_as_the_table(two_months: Gateway) -> None:
    words = ("report", "--by", "team", *APRIL, "--compare", "previous", "--trend")
    records = json.loads(two_months.cli(*words, "--format", "json").stdout)
    rows = list(csv.DictReader(io.StringIO(two_months.cli(*words, "--format", "csv").stdout)))
    assert [row["cost_nanousd"] for row in rows] == [str(one["cost_nanousd"]) for one in records]
    first = records[0]
    assert (first["team"], first["change_nanousd"]) == ("search", 434 * 10**9)
    assert sum(first["by_day_nanousd"]) == first["cost_nanousd"] == 465 * 10**9
    assert rows[0]["by_day_nanousd"].split() == [str(value) for value in first["by_day_nanousd"]]


def test_names_that_callers_chose_are_text_everywhere(two_months: Gateway) -> None:
    words = ("report", "--by", "model", *APRIL)
    assert "\x1b" not in two_months.cli(*words).stdout
    pasted = two_months.cli(*words, "--format", "markdown").stdout
    assert "| &lt;img src=x&gt;�\\[31m\\|red |" in pasted
    page = two_months.cli(*words, "--format", "html").stdout
    assert NASTY.split("\x1b")[0] not in page
    seen: list[str] = []

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            seen.append(tag)

    Reader().feed(page)
    assert not {"img", "script", "link"} & set(seen)
    assert seen.count("tr") == 4


def test_a_terminal_that_knows_no_bars_shows_the_table_all_the_same(two_months: Gateway) -> None:
    command = [sys.executable, "-m", "gateway.cli.main", "report", "--by", "team", *APRIL, "--trend"]
    done = subprocess.run(
        [*command, "--config", str(two_months.path)],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0, done.stderr
    assert b"465.000000" in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        *(("report", "--since", "2026-09-01", "--until", "2026-11-01", "--format", form)
          for form in ("csv", "markdown", "html")),
        ("allocate", "--month", "2026-09", "--format", "csv"),
        ("ledger", "export"),
        ("ledger", "export", "--format", "csv"),
        ("export", "focus", "--since", "2026-09-01"),
        ("export", "openmetrics", "--since", "2026-09-01"),
    ],
)  # fmt: skip
def test_what_programs_read_is_utf_8_whatever_the_terminal_speaks(tmp_path: Path, words: tuple[str, ...]) -> None:
    gateway = Gateway(tmp_path, '[providers.openai]\nkind = "openai"\n')
    (tmp_path / "data").mkdir()
    book.ledger(tmp_path / "data" / "ledger.db", [book.record(1, team="日本", workflow="ünï")])
    command = [sys.executable, "-m", "gateway.cli.main", *words, "--config", str(gateway.path)]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "latin-1"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert "日本" in done.stdout.decode()


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_a_table_fits_the_terminal_and_keeps_the_cost(two_months: Gateway, columns: int) -> None:
    words = ["report", "--by", "team,model", *APRIL, "--compare", "previous", "--trend"]
    said = on_a_terminal(two_months, words, columns)
    assert max(width(line) for line in said) <= max(columns, 64)
    assert any("465.000000" in line for line in said)
    assert ("by day" in said[0]) == (columns == 200)
    piped = two_months.cli(*words).stdout.splitlines()
    assert max(len(line) for line in piped) > 120


def on_a_terminal(gateway: Gateway, words: list[str], columns: int) -> list[str]:
    """What a terminal of this width shows."""
    leader, follower = pty.openpty()
    env = {**os.environ, "COLUMNS": str(columns), "LINES": "40", "TERM": "xterm"}
    command = [sys.executable, "-m", "gateway.cli.main", *words, "--config", str(gateway.path)]
    process = subprocess.Popen(command, stdout=follower, stderr=follower, stdin=follower, env=env)
    os.close(follower)
    seen = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    os.close(leader)
    assert process.wait(30) == 0
    return seen.decode().replace("\r\n", "\n").splitlines()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--forecast", "--since", "2026-04-01"), "--forecast is about this month"),
        (("--by", "day", "--compare", "previous"), "--compare does not go with --by day"),
        (("--by", "team,week", "--trend"), "--trend does not go with --by week"),
        (("--by", "team,day,team"), "team is named twice"),
    ],
)
def test_what_makes_no_sense_together_is_told_in_a_line(two_months: Gateway, words: tuple[str, ...], why: str) -> None:
    done = two_months.cli("report", *words, check=False)
    assert done.returncode == 1
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_forecast_holds_what_was_spent_and_says_how_sure_it_is(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, '[providers.openai]\nkind = "openai"\n')
    (tmp_path / "data").mkdir()
    today = int(datetime.now(UTC).timestamp()) // 86_400 * DAY
    calls = [call(day, today - (40 - day) * DAY, "search", "gpt-4o", 10**9) for day in range(41)]
    book.ledger(tmp_path / "data" / "ledger.db", calls)  # type: ignore[arg-type]
    (found,) = json.loads(gateway.cli("report", "--by", "team", "--forecast", "--format", "json").stdout)
    whole = found["forecast_expected_nanousd"]
    assert found["cost_nanousd"] <= found["forecast_low_nanousd"] <= whole <= found["forecast_high_nanousd"]
    assert 26 * 10**9 <= whole <= 33 * 10**9
    table = gateway.cli("report", "--by", "team", "--forecast").stdout
    assert "at least" in table.splitlines()[0]


@given(
    st.lists(st.lists(st.text(max_size=40), min_size=3, max_size=3), min_size=1, max_size=5),
    st.integers(min_value=30, max_value=200),
)
def test_no_line_is_wider_than_its_limit_and_none_has_a_control_character(rows: list[list[str]], limit: int) -> None:
    numbers = [[*row[:2], "1.234567"] for row in rows]
    shown = text_table(["team", "model", "cost"], numbers, {2}, limit=limit)
    for line in shown.split("\n"):
        assert width(line) <= limit
        assert line.isprintable()
    assert shown.count("1.234567") == len(rows)
