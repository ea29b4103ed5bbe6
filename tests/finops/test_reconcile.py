"""Statements beside a ledger whose truth is known: each difference has its cause, and is booked once."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from billed import FIRST, Books, reconciled
from hypothesis import given
from hypothesis import strategies as st

from gateway.finops.reconcile import Cell, Side, explain


@pytest.fixture
def month() -> Books:
    """Six days of three models, nothing wrong with them."""
    books = Books()
    for day in range(6):
        for number in range(5):
            books.call(day, "gpt-4o-2024-08-06", 1_000_000_001 + number)
            books.call(day, "gpt-4o-mini-2024-07-18", 50_000_000 + number, provider="openai-support")
    return books


def test_a_statement_that_agrees_differs_by_rounding_at_most(month: Books, tmp_path: Path) -> None:
    gateway, file = month.gateway(tmp_path), month.openai_costs(tmp_path / "costs.json")
    for by in ("model", "day", "project", "day,model,project"):
        for row in reconciled(gateway, str(file), "--provider", "openai", "--by", by):
            assert set(row["causes"]) <= {"rounding"}
            assert abs(row["difference_nanousd"]) < 1000
            assert row["statement_nanousd"] > 0


def test_each_difference_has_its_cause(month: Books, tmp_path: Path) -> None:
    month.charge(1, "gpt-4o-2024-08-06", 7_000_000_000)
    month.charge(2, "o3-2025-04-16", 3_000_000_000, "openai-support")
    month.call(3, "gpt-5-new", 0, 800_000_000, priced=False, cost_lines=(), price="")
    month.call(4, "gpt-4o-mini-2024-07-18", 500_000_000, 650_000_000, provider="openai-support", outcome="recovered",
               usage_source="estimated")  # fmt: skip
    month.call(4, "gpt-4o-2024-08-06", 2_000_000_000, long=True)
    month.call(0, "o1-2024-12-17", 900_000_000, 0)
    gateway, file = month.gateway(tmp_path), month.openai_costs(tmp_path / "costs.json")
    found = {
        (row["day"][-2:], row["model"]): {name: round(value, -4) for name, value in row["causes"].items()}
        for row in reconciled(gateway, str(file), "--provider", "openai", "--by", "day,model")
    }
    odd = {key: causes for key, causes in found.items() if set(causes) - {"rounding"}}
    for causes in odd.values():
        causes.pop("rounding", None)
    assert odd == {
        ("02", "gpt-4o-2024-08-06"): {"bypassed": 7_000_000_000},
        ("03", "o3-2025-04-16"): {"bypassed": 3_000_000_000},
        ("04", "gpt-5-new"): {"unpriced": 800_000_000},
        ("05", "gpt-4o-mini-2024-07-18"): {"estimated": 150_000_000},
        ("05", "gpt-4o-2024-08-06"): {"midnight": -2_000_000_000},
        ("06", "gpt-4o-2024-08-06"): {"midnight": 2_000_000_000},
        ("01", "o1-2024-12-17"): {"unbilled": -900_000_000},
    }
    said = gateway.cli("reconcile", str(file), "--provider", "openai").stdout
    assert "bypassed +10.000000 USD: usage that did not come through the gateway" in said
    # within a model, what one day lacks the next one has
    assert "midnight" not in said


def test_a_price_that_is_off_by_the_same_share_every_day_is_told_from_traffic(tmp_path: Path) -> None:
    books = Books()
    for day in range(5):
        for number in range(4):
            books.call(day, "gpt-4o-2024-08-06", 10**9 * (day + 1) + number, 12 * 10**8 * (day + 1))
    gateway, file = books.gateway(tmp_path), books.openai_costs(tmp_path / "costs.json")
    (row,) = reconciled(gateway, str(file), "--provider", "openai")
    assert set(row["causes"]) <= {"price", "rounding"}
    assert round(row["causes"]["price"], -4) == 4 * 15 * 2 * 10**8


def test_a_usage_export_beside_the_costs_tells_how_much_was_not_seen(tmp_path: Path) -> None:
    books = Books()
    books.call(0, "gpt-4o-2024-08-06", 10**9, 10**9)
    books.charge(0, "gpt-4o-2024-08-06", 10**9, calls=1)
    books.call(1, "gpt-4o-2024-08-06", 10**9, 11 * 10**8)
    gateway = books.gateway(tmp_path)
    costs, usage = books.openai_costs(tmp_path / "costs.json"), books.openai_usage(tmp_path / "usage.csv")
    words = (str(costs), str(usage), "--provider", "openai", "--by", "day")
    first, second = sorted(reconciled(gateway, *words), key=lambda row: row["day"])
    assert (first["statement_tokens"], first["ledger_tokens"]) == (2200, 1100)
    assert first["causes"] == {"bypassed": 10**9}
    assert second["causes"] == {"price": 10**8}
    (alone,) = json.loads(gateway.cli("reconcile", str(usage), "--provider", "openai", "--format", "json").stdout)
    assert (alone["statement_tokens"], alone["ledger_tokens"]) == (3300, 2200)
    assert "3,300" in gateway.cli("reconcile", str(usage), "--provider", "openai").stdout
    refused = gateway.cli("reconcile", str(usage), "--provider", "openai", "--book", check=False)
    assert refused.stderr == "spendgate: a usage export has no amounts to book: give the cost export\n"


def test_what_is_booked_makes_the_ledger_the_statement_once(month: Books, tmp_path: Path) -> None:
    month.charge(1, "gpt-4o-2024-08-06", 7_000_000_000)
    month.call(3, "gpt-5-new", 0, 800_000_000, priced=False, cost_lines=(), price="")
    month.call(4, "gpt-4o-2024-08-06", 2_000_000_000, 1_500_000_000, outcome="recovered", usage_source="estimated")
    gateway, file = month.gateway(tmp_path), month.openai_costs(tmp_path / "costs.json")
    words = (str(file), "--provider", "openai", "--by", "day,model,project")
    before = reconciled(gateway, *words)
    said = gateway.cli("reconcile", *words, "--book", "--why", "invoice 0042").stdout
    assert said.splitlines()[-1].startswith("booked ")
    after = reconciled(gateway, *words)
    assert {row["difference_nanousd"] for row in after} == {0}
    assert [row["statement_nanousd"] for row in after] == [row["ledger_nanousd"] for row in after]
    stated = sum(row["statement_nanousd"] for row in before)
    period = ("--since", "2026-09-01", "--until", "2026-10-01", "--format", "json")
    (whole,) = json.loads(gateway.cli("report", "--by", "", *period).stdout)
    assert whole["cost_nanousd"] == stated
    teams = json.loads(gateway.cli("report", "--by", "team,workflow", *period).stdout)
    nobody = next(row for row in teams if row["team"] == "unattributed")
    assert (nobody["workflow"], round(nobody["cost_nanousd"], -4)) == ("bypassed", 7_000_000_000)
    gateway.cli("reconcile", *words, "--book")
    assert json.loads(gateway.cli("report", "--by", "", *period).stdout) == [whole]
    assert "agrees with itself" in gateway.cli("ledger", "verify").stdout
    rows = list(csv.DictReader(io.StringIO(
        gateway.cli("export", "focus", "--since", "2026-09-01").stdout)))  # fmt: skip
    assert sum(int(Decimal(row["BilledCost"]) * 10**9) for row in rows) == stated
    reasons = {row["x_Reason"] for row in rows if row["ChargeCategory"] == "Adjustment"}
    assert {"bypassed: invoice 0042", "unpriced: invoice 0042", "estimated: invoice 0042"} <= reasons


def test_a_statement_that_is_given_twice_is_refused(month: Books, tmp_path: Path) -> None:
    gateway, file = month.gateway(tmp_path), month.openai_costs(tmp_path / "costs.json")
    usage = month.openai_usage(tmp_path / "usage.csv")
    copy, later = tmp_path / "copy.json", tmp_path / "later.json"
    copy.write_bytes(file.read_bytes())
    # the second half of the month alone, as who exports each week has it
    later.write_text(json.dumps(json.loads(file.read_text())[1:]))
    for twice, day in ((file, "2026-09-01"), (copy, "2026-09-01"), (later, "2026-09-04")):
        words = ("reconcile", str(file), str(usage), str(twice), "--provider", "openai", "--book")
        said = gateway.cli(*words, check=False)
        assert said.returncode == 1
        assert said.stderr.startswith(f"spendgate: {file} and {twice} hold the same lines for {day}, ")
        assert said.stderr.count("\n") == 1
    assert "booked" in gateway.cli("reconcile", str(file), str(usage), "--provider", "openai", "--book").stdout


def test_a_statement_that_is_revised_to_and_fro_is_booked_each_time(tmp_path: Path) -> None:
    books = Books()
    books.call(0, "gpt-4o", 10**9)
    gateway, file = books.gateway(tmp_path), tmp_path / "bill.csv"
    for usd in (1, 5, 1, 5, 1, 5):
        file.write_text(f"day,usd,model\n{FIRST},{usd}.00,gpt-4o\n")
        for _ in range(2):
            gateway.cli("reconcile", str(file), "--provider", "openai", "--book")
            (row,) = reconciled(gateway, str(file), "--provider", "openai")
            assert (row["ledger_nanousd"], row["difference_nanousd"]) == (usd * 10**9, 0)
        report = gateway.cli("report", "--by", "workflow", "--since", FIRST.isoformat(), "--format", "json").stdout
        borne = {one["workflow"]: one["cost_nanousd"] for one in json.loads(report)}
        assert borne.pop("bypassed", 0) == (usd - 1) * 10**9
        assert list(borne.values()) == [10**9]
    assert "agrees with itself" in gateway.cli("ledger", "verify").stdout


@pytest.mark.parametrize("named", [(), ("--projects", "team")])
def test_what_bypassed_the_gateway_is_booked_once_in_the_project_that_was_charged(
    tmp_path: Path, named: tuple[str, ...]
) -> None:
    books = Books()
    books.call(0, "gpt-4o", 10**9, team="proj_search")
    books.call(0, "gpt-4o", 10**9, team="proj_support", provider="openai-support")
    books.charge(0, "gpt-4o", 7 * 10**9, "openai-support")
    books.charge(0, "gpt-4o", 3 * 10**9, "openai-nowhere")
    gateway, file = books.gateway(tmp_path), books.openai_costs(tmp_path / "costs.json")
    words = (str(file), "--provider", "openai", "--by", "project", *named)
    gateway.cli("reconcile", *words, "--book")
    for _ in range(2):
        found = {row["project"]: row for row in reconciled(gateway, *words)}
        assert {name: row["ledger_nanousd"] for name, row in found.items() if row["statement_nanousd"]} == {
            "proj_search": 10**9, "proj_support": 8 * 10**9, "proj_nowhere": 3 * 10**9,
        }  # fmt: skip
        assert not any(row["difference_nanousd"] for row in found.values())
        assert "booked 0 adjustments" in gateway.cli("reconcile", *words, "--book").stdout
    report = gateway.cli("report", "--by", "team,provider", "--since", FIRST.isoformat(), "--format", "json").stdout
    teams: dict[str, int] = {}
    for row in json.loads(report):
        teams[row["team"]] = teams.get(row["team"], 0) + row["cost_nanousd"]
    assert teams == {"unattributed": 10**10, "proj_search": 10**9, "proj_support": 10**9}


def test_names_in_a_table_for_a_spreadsheet_are_no_formulas(tmp_path: Path) -> None:
    books = Books()
    books.call(0, "=cmd()", 10**9)
    gateway, file = books.gateway(tmp_path), books.openai_costs(tmp_path / "costs.json")
    words = ("reconcile", str(file), "--provider", "openai", "--by", "day,model", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(gateway.cli(*words).stdout))
    assert (row["day"], row["model"], row["difference_nanousd"]) == (FIRST.isoformat(), "'=cmd()", "0")


def test_projects_are_the_teams_where_that_is_said(tmp_path: Path) -> None:
    books = Books()
    books.call(0, "gpt-4o", 10**9, team="search", tags={"cost_center": "4711"})
    books.call(0, "gpt-4o", 2 * 10**9, team="support", provider="openai-support", tags={"cost_center": "4712"})
    gateway, file = books.gateway(tmp_path), books.openai_costs(tmp_path / "costs.json")
    words = (str(file), "--provider", "openai", "--by", "project")
    for named in (
        ("--projects", "team", "--map", "proj_search=search", "--map", "proj_support=support"),
        ("--projects", "tag.cost_center", "--map", "proj_search=4711", "--map", "proj_support=4712"),
        (),
    ):
        found = {row["project"]: row["ledger_nanousd"] for row in reconciled(gateway, *words, *named)}
        assert found == {"proj_search": 10**9, "proj_support": 2 * 10**9}
    alone = reconciled(gateway, str(file), "--provider", "openai-search", "--by", "project")
    assert {row["project"]: row["ledger_nanousd"] for row in alone} == {"proj_search": 10**9, "proj_support": 0}


amounts = st.integers(min_value=0, max_value=10**13)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5), st.sampled_from(("a-1", "b-2")), amounts, st.integers(0, 10**7), amounts,
            st.integers(0, 3), st.integers(0, 2), amounts, amounts, amounts, st.none() | st.integers(0, 10**6),
        ),
        unique_by=lambda one: one[:2],
        max_size=8,
    )
)  # fmt: skip
def test_causes_always_sum_to_the_difference(found: list[Any]) -> None:
    cells = [
        Cell(
            day=FIRST + timedelta(days=day), model=model, project="", stated=stated, tolerance=tolerance,
            input_tokens=tokens, output_tokens=tokens,
            ledger=Side(ledger, calls, 1000, 100, unpriced, min(estimated, ledger), estimated + most, over),
        )
        for day, model, stated, tolerance, ledger, calls, unpriced, estimated, most, over, tokens in found
    ]  # fmt: skip
    explain(cells)
    for cell in cells:
        assert sum(cell.causes.values()) == cell.difference
        assert abs(cell.causes.get("rounding", 0)) <= cell.tolerance
        assert cell.causes.get("bypassed", 0) >= 0 >= cell.causes.get("unbilled", 0)
    assert sum(cell.causes.get("midnight", 0) for cell in cells) == 0
