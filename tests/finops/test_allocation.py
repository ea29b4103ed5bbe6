"""Shared costs are spread to the nanodollar: what teams bear is what was paid, whatever the rules."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import book
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.gateway import Gateway

from gateway.config.shared import SharedCostConfig
from gateway.finops.allocation import allocate, amount_of
from gateway.reports.compared import nothing
from gateway.reports.spend import SpendRow
from gateway.wire.usage import Usage

TEAMS = ("search", "support", "legal", "growth")


def row(group: tuple[str, ...], nanousd: int, tokens: int) -> SpendRow:
    names = {name: 0 for name in SpendRow.__struct_fields__ if name != "group"}
    return SpendRow(group=group, **{**names, "cost_nanousd": nanousd, "input_tokens": tokens, "requests": 1})


@st.composite
def months(draw: st.DrawFn) -> tuple[list[SpendRow], dict[str, list[SpendRow]], list[SharedCostConfig]]:
    """Spend by team or by team and workflow, its part at one provider, and shared costs of every kind."""
    deep = draw(st.booleans())
    groups = [(team, workflow) if deep else (team,) for team in TEAMS for workflow in (("a", "b") if deep else ("",))]
    chosen = draw(st.lists(st.sampled_from(groups), unique=True, max_size=len(groups)))
    # corrections can make a group's month negative
    money = st.integers(min_value=-(10**10), max_value=10**13)
    rows = [row(group, draw(money), draw(st.integers(0, 10**9))) for group in chosen]
    part = [row(one.group, draw(money), draw(st.integers(0, 10**6))) for one in rows if draw(st.booleans())]
    costs = []
    for number in range(draw(st.integers(0, 5))):
        said: dict[str, Any] = {"name": f"cost-{number}"}
        kind = draw(st.sampled_from(("usd", "percent", "minimum_usd")))
        said[kind] = draw(st.decimals(0, 100, places=6))
        said["by"] = draw(st.sampled_from(("even", "spend", "tokens", "fixed")))
        if said["by"] == "fixed":
            shares = st.dictionaries(st.sampled_from((*TEAMS, "nobody-yet")), st.integers(0, 100), min_size=1)
            said["shares"] = {team: Decimal(weight) for team, weight in draw(shares).items()}
        if draw(st.booleans()):
            said["provider"] = "openai"
        costs.append(SharedCostConfig.model_validate(said))
    return rows, {"openai": part}, costs


@given(months())
def test_what_teams_bear_is_what_the_calls_and_the_shared_costs_come_to(
    month: tuple[list[SpendRow], dict[str, list[SpendRow]], list[SharedCostConfig]],
) -> None:
    rows, parts, costs = month
    direct = sum(one.cost_nanousd for one in rows)
    at_openai = sum(one.cost_nanousd for one in parts["openai"])
    invoice = [amount_of(cost, at_openai if cost.provider else direct, 0, 10**18) for cost in costs]
    shares = allocate(rows, costs, 0, 10**18, parts)
    assert sum(share.total for share in shares) == direct + sum(invoice)
    for cost, amount in zip(costs, invoice, strict=True):
        assert sum(share.shared.get(cost.name, 0) for share in shares) == amount
    assert {share.group: share.direct for share in shares if share.direct} == {
        one.group: one.cost_nanousd for one in rows if one.cost_nanousd
    }


def test_a_minimum_of_one_provider_is_borne_by_those_who_call_it() -> None:
    rows = [row(("search",), 30 * 10**9, 5), row(("support",), 20 * 10**9, 5)]
    at = {"openai": [row(("search",), 10 * 10**9, 5)]}
    cost = SharedCostConfig.model_validate({"name": "m", "minimum_usd": Decimal(25), "provider": "openai"})
    shares = {share.group: share for share in allocate(rows, [cost], 0, 1, at)}
    assert shares[("search",)].shared == {"m": 15 * 10**9}
    assert shares[("support",)].shared == {}


def test_even_shares_differ_by_a_nanodollar_at_most() -> None:
    rows = [nothing((team,)) for team in TEAMS[:3]]
    cost = SharedCostConfig.model_validate({"name": "fee", "usd": Decimal(1), "by": "even"})
    assert sorted(share.total for share in allocate(rows, [cost], 0, 1)) == [333333333, 333333333, 333333334]


CONFIG = """
[providers.openai]
kind = "openai"

[[shared_costs]]
name = "fee"
percent = 3

[[shared_costs]]
name = "contract"
usd = 500.0
by = "fixed"
shares = { search = 60, support = 40 }

[[shared_costs]]
name = "minimum"
minimum_usd = 100.0
provider = "openai"
by = "tokens"
"""


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    gateway = Gateway(tmp_path_factory.mktemp("allocate"), CONFIG)
    (gateway.directory / "data").mkdir()
    book.ledger(gateway.directory / "data" / "ledger.db", [book.record(number) for number in range(200)])
    return gateway


def test_the_command_the_api_and_the_report_agree_in_every_format(office: Gateway) -> None:
    spent = json.loads(
        office.cli(
            "report", "--by", "team", "--since", "2026-09-01", "--until", "2026-10-01", "--format", "json"
        ).stdout
    )
    words = ("allocate", "--month", "2026-09", "--by", "team,workflow", "--format")
    found = json.loads(office.cli(*words, "json").stdout)
    direct = {one["team"]: one["cost_nanousd"] for one in spent}
    for team, cost in direct.items():
        assert sum(one["direct_nanousd"] for one in found if one["team"] == team) == cost
    whole = sum(direct.values())
    shared = {name: sum(one["shared_nanousd"].get(name, 0) for one in found) for name in ("fee", "contract", "minimum")}
    assert abs(shared["fee"] * 100 - whole * 3) <= 50
    assert (shared["contract"], shared["minimum"]) == (500 * 10**9, 100 * 10**9 - whole)
    assert sum(one["total_nanousd"] for one in found) == whole + sum(shared.values())
    rows = list(csv.DictReader(io.StringIO(office.cli(*words, "csv").stdout)))
    assert [int(one["total_nanousd"]) for one in rows] == [one["total_nanousd"] for one in found]
    with office:
        asked = office.get("/api/allocation?month=2026-09&by=team,workflow")
    assert [one["total_nanousd"] for one in asked["rows"]] == [one["total_nanousd"] for one in found]


def test_who_was_refused_each_time_bears_no_share_and_names_are_no_formulas(tmp_path: Path) -> None:
    shared = '[[shared_costs]]\nname = "fee"\nusd = 1\nby = "even"\n'
    gateway = Gateway(tmp_path, f'[providers.openai]\nkind = "openai"\n{shared}')
    (tmp_path / "data").mkdir()
    records = [
        book.record(0, team="=cmd|' /C calc'!A0", workflow="-1+1"),
        book.record(1, team="strangers", outcome="rejected", cost_nanousd=0, cost_lines=(), usage=Usage()),
    ]
    book.ledger(tmp_path / "data" / "ledger.db", records)
    said = gateway.cli("allocate", "--month", "2026-09", "--by", "team,workflow", "--format", "csv").stdout
    (row,) = csv.DictReader(io.StringIO(said))
    assert (row["team"], row["workflow"]) == ("'=cmd|' /C calc'!A0", "'-1+1")
    assert (int(row["direct_nanousd"]), int(row["shared.fee"])) == (records[0].cost_nanousd, 10**9)


def test_the_table_ends_with_the_invoice(office: Gateway) -> None:
    said = office.cli("allocate", "--month", "2026-09").stdout.splitlines()
    assert said[0].split() == ["team", "calls", "USD", "fee", "contract", "minimum", "total", "USD"]
    assert said[-1].split()[3] == "500.000000"
    assert "| total |" in office.cli("allocate", "--month", "2026-09", "--format", "markdown").stdout
    assert "<td>total</td>" in office.cli("allocate", "--month", "2026-09", "--format", "html").stdout


def test_a_month_without_anything_says_so(office: Gateway) -> None:
    office.write('[providers.openai]\nkind = "openai"\n')
    assert office.cli("allocate", "--month", "2025-01").stdout == "No calls and no shared costs in 2025-01.\n"


@pytest.mark.parametrize(
    ("words", "why"),
    [(("--month", "november"), "must be like 2026-11"), (("--by", "model"), "by team, or by team,workflow")],
)
def test_what_can_not_be_asked_is_told(office: Gateway, words: tuple[str, ...], why: str) -> None:
    done = office.cli("allocate", *words, check=False)
    assert done.returncode == 1
    assert why in done.stderr


def test_a_provider_that_does_not_exist_and_a_name_used_twice_are_found_by_check(office: Gateway) -> None:
    office.write(CONFIG.replace('provider = "openai"\nby', 'provider = "opnai"\nby').replace('"minimum"', '"fee"'))
    said = office.cli("check", check=False).stderr
    assert 'no provider is called "opnai"' in said
    assert 'the name "fee" is used by shared_costs[0] too' in said
    office.write(CONFIG)
