"""Statements in the providers' own formats beside a ledger whose truth is known: each difference has its cause."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import book
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.gateway import Gateway

from gateway.finops.reconcile import Cell, Side, explain
from gateway.ledger.ids import first_id_at
from gateway.wire.usage import Usage
from pricing.money import Line

CONFIG = """
[providers.openai-search]
kind = "openai"
project = "proj_search"

[providers.openai-support]
kind = "openai"
project = "proj_support"

[providers.anthropic]
kind = "anthropic"
"""
DAY = 86_400
FIRST = date(2026, 9, 1)


def at(day: int, seconds: int) -> int:
    start = datetime.combine(FIRST + timedelta(days=day), datetime.min.time(), UTC)
    return (int(start.timestamp()) + seconds) * 10**9


class Books:
    """Calls, and the provider's own view of them."""

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.charges: dict[tuple[date, str, str], int] = {}
        self.tokens: dict[tuple[date, str, str], list[int]] = {}

    def call(
        self, day: int, model: str, nanousd: int, charged: int | None = None, *, provider: str = "openai-search",
        second: int = 3600, long: bool = False, **changes: Any,
    ) -> None:  # fmt: skip
        number, started = len(self.records), at(day, DAY - 2 if long else second + len(self.records))
        values: dict[str, Any] = {
            "request_id": first_id_at(started) + f"{number:016d}", "started_ns": started,
            "ended_ns": started + (10 if long else 1) * 10**9, "provider": provider, "model": model,
            "model_requested": model, "outcome": "completed", "usage_source": "response", "cost_nanousd": nanousd,
            "cost_lines": (Line("input", 1000, "token", nanousd),), "reserved_nanousd": 2 * nanousd,
            "usage": Usage(input_tokens_total=1000, output_tokens_total=100),
        }  # fmt: skip
        self.records.append(book.record(number, **{**values, **changes}))
        self.charge(day + long, model, nanousd if charged is None else charged, provider, 1)

    def charge(self, day: int, model: str, nanousd: int, provider: str = "openai-search", calls: int = 0) -> None:
        key = (FIRST + timedelta(days=day), model, f"proj_{provider.rpartition('-')[2]}")
        self.charges[key] = self.charges.get(key, 0) + nanousd
        used = self.tokens.setdefault(key, [0, 0, 0])
        for place, count in enumerate((calls, 1000 * calls, 100 * calls)):
            used[place] += count

    def gateway(self, directory: Path) -> Gateway:
        made = Gateway(directory, CONFIG)
        (directory / "data").mkdir()
        book.ledger(directory / "data" / "ledger.db", sorted(self.records, key=lambda one: one.request_id))
        return made

    def openai_costs(self, path: Path) -> Path:
        """As ``/v1/organization/costs?group_by=line_item,project_id`` answers, in two pages."""
        days: dict[date, list[Any]] = {}
        for (day, model, project), nanousd in self.charges.items():
            for item, part in (("input", nanousd // 3), ("output", nanousd - nanousd // 3)):
                days.setdefault(day, []).append(
                    {
                        "object": "organization.costs.result",
                        "amount": {"value": float(Decimal(part) / 10**9), "currency": "usd"},
                        "line_item": f"{model}, {item}", "project_id": project, "organization_id": "org-1",
                    }
                )  # fmt: skip
        buckets = [
            {"object": "bucket", "start_time": at((day - FIRST).days, 0) // 10**9, "results": results}
            for day, results in sorted(days.items())
        ]
        half = len(buckets) // 2
        pages = [
            {"object": "page", "data": buckets[:half], "has_more": True, "next_page": "page_2"},
            {"object": "page", "data": buckets[half:], "has_more": False, "next_page": None},
        ]
        path.write_text(json.dumps(pages))
        return path

    def openai_usage(self, path: Path) -> Path:
        """As the usage page's CSV export, with its lines for times without any use."""
        out = io.StringIO()
        names = ("start_time,end_time,start_time_iso,end_time_iso,project_id,num_model_requests,user_id,api_key_id,"
                 "model,batch,service_tier,input_tokens,output_tokens,input_cached_tokens")  # fmt: skip
        writer = csv.DictWriter(out, names.split(","))
        writer.writeheader()
        writer.writerow({"start_time": at(0, 0) // 10**9, "end_time": at(0, 60) // 10**9})
        for (day, model, project), (calls, tokens_in, tokens_out) in self.tokens.items():
            writer.writerow(
                {"start_time": at((day - FIRST).days, 0) // 10**9, "project_id": project, "model": model,
                 "num_model_requests": f"{calls}.0", "input_tokens": tokens_in, "output_tokens": tokens_out,
                 "input_cached_tokens": 0}
            )  # fmt: skip
        path.write_text(out.getvalue())
        return path


@pytest.fixture
def month() -> Books:
    """Six days of three models, nothing wrong with them."""
    books = Books()
    for day in range(6):
        for number in range(5):
            books.call(day, "gpt-4o-2024-08-06", 1_000_000_001 + number)
            books.call(day, "gpt-4o-mini-2024-07-18", 50_000_000 + number, provider="openai-support")
    return books


def reconciled(gateway: Gateway, *words: str) -> list[dict[str, Any]]:
    said = gateway.cli("reconcile", *words, "--format", "json").stdout
    found: list[dict[str, Any]] = json.loads(said)
    for row in found:
        assert sum(row["causes"].values()) == row["difference_nanousd"]
        assert row["statement_nanousd"] - row["ledger_nanousd"] == row["difference_nanousd"]
    return found


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


ANTHROPIC_CSV = """\
usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,list_price_usd,cost_type,inference_geo,speed
2026-09-01,Claude Sonnet 4.5,Default,demo,message,≤ 200k,input_no_cache,0.33,0.33,token,global,
2026-09-01,Claude Sonnet 4.5,Default,demo,message,≤ 200k,output,0.67,0.67,token,global,
2026-09-01,Claude Haiku 3.5,Default,demo,message,≤ 200k,output,0.25,0.25,token,global,
2026-09-01,,Default,demo,message,,,0.02,0.02,web_search,global,
"""


@pytest.fixture
def claude(tmp_path: Path) -> Gateway:
    books = Books()
    search = (Line("input", 1000, "token", 980_000_000), Line("web_search", 2, "request", 20_000_000))
    books.call(0, "claude-sonnet-4-5-20250929", 1_000_000_000, provider="anthropic", cost_lines=search)
    books.call(0, "claude-sonnet-4-5", 21_234_567, provider="anthropic")
    books.call(0, "claude-3-5-haiku-20241022", 250_000_000, provider="anthropic")
    return books.gateway(tmp_path)


def test_the_consoles_csv_rounds_to_cents_and_writes_names_as_people_do(claude: Gateway, tmp_path: Path) -> None:
    (tmp_path / "cost.csv").write_text(ANTHROPIC_CSV)
    rows = reconciled(claude, str(tmp_path / "cost.csv"), "--provider", "anthropic")
    found = {row["model"]: (row["statement_nanousd"], row["ledger_nanousd"], row["causes"]) for row in rows}
    assert found["web searches"] == (20_000_000, 20_000_000, {})
    assert found["claude-3-5-haiku-20241022"] == (250_000_000, 250_000_000, {})
    (sonnet,) = [value for name, value in found.items() if "sonnet" in name]
    assert sonnet == (1_000_000_000, 1_001_234_567, {"rounding": -1_234_567})


def test_the_cost_report_of_the_admin_api_is_in_cents(claude: Gateway, tmp_path: Path) -> None:
    def result(amount: str, model: str | None, cost_type: str, token_type: str | None) -> dict[str, Any]:
        return {"currency": "USD", "amount": amount, "workspace_id": None, "description": None, "cost_type": cost_type,
                "context_window": None, "model": model, "service_tier": "standard",
                "token_type": token_type}  # fmt: skip

    results = [
        result("100.1234567", "claude-sonnet-4-5-20250929", "tokens", "output_tokens"),
        result("25", "claude-3-5-haiku-20241022", "tokens", "output_tokens"),
        result("2.0", None, "web_search", None),
    ]
    bucket = {"starting_at": "2026-09-01T00:00:00Z", "ending_at": "2026-09-02T00:00:00Z", "results": results}
    file = tmp_path / "cost.json"
    file.write_text(json.dumps({"data": [bucket], "has_more": False, "next_page": None}))
    for row in reconciled(claude, str(file), "--provider", "anthropic"):
        assert row["difference_nanousd"] == 0
    usage = {
        "uncached_input_tokens": 700, "cache_read_input_tokens": 200, "output_tokens": 100, "model": "claude-3-5-haiku",
        "cache_creation": {"ephemeral_1h_input_tokens": 60, "ephemeral_5m_input_tokens": 40},
    }  # fmt: skip
    file.write_text(json.dumps({"data": [{**bucket, "results": [usage]}], "has_more": False}))
    found = json.loads(claude.cli("reconcile", str(file), "--provider", "anthropic", "--format", "json").stdout)
    haiku = next(row for row in found if "haiku" in row["model"])
    assert haiku["statement_tokens"] == haiku["ledger_tokens"] == 1100


def test_openrouters_activity_and_plain_csv_are_read_too(tmp_path: Path) -> None:
    books = Books()
    books.call(0, "anthropic/claude-opus-4.7", 430_070_000_000, provider="openai-search")
    gateway = books.gateway(tmp_path)
    gateway.write(CONFIG + '[providers.router]\nkind = "openrouter"\n[providers.own]\nkind = "openai-compatible"\n'
                           'base_url = "http://127.0.0.1:1"\n')  # fmt: skip
    file = tmp_path / "activity.csv"
    file.write_text(
        "Date,Slug,Usage,BYOK Usage,Requests,Prompt Tokens,Completion Tokens,Reasoning Tokens\n"
        '"2026-09-01 00:00:00","anthropic/claude-opus-4.7","430.07","0","1","1000","100","0"\n'
    )
    (row,) = reconciled(gateway, str(file), "--provider", "router")
    assert (row["statement_nanousd"], row["causes"]) == (430_070_000_000, {"bypassed": 430_070_000_000})
    file.write_text(
        "generation_id,created_at,cost_total,model_permaslug\n"
        "gen-1,2026-09-01T10:00:00Z,0.25,deepseek/deepseek-v4\ngen-2,2026-09-01 11:00:00,0.5,deepseek/deepseek-v4\n"
    )
    assert reconciled(gateway, str(file), "--provider", "router")[0]["statement_nanousd"] == 750_000_000
    for text, nanousd in (("1.5", 1_500_000_000), ('"$1,234,567.5"', 1_234_567_500_000_000), ('"-1,000"', -(10**12))):
        file.write_text(f"day,model,usd\n2026-09-01,own-model,{text}\n")
        assert reconciled(gateway, str(file), "--provider", "own")[0]["statement_nanousd"] == nanousd


@pytest.mark.parametrize(
    ("text", "words", "why"),
    [
        ("{}", (), 'it has no list "data"'),
        ('{"data": [], "has_more": true}', (), "more pages follow the last one"),
        ('{"data": []}', (), "holds no charge and no usage"),
        ("hello", (), "neither JSON nor CSV"),
        ("a,b\n1,2\n", (), "is no export of OpenAI"),
        ("start_time,amount_value\n1788220800,lots\n", (), '"lots" is no amount'),
        ("start_time,amount_value\nsoon,1\n", (), '"soon" is no day'),
        ('day,usd\n2026-09-01,"1,50"\n', (), '"1,50" is no amount'),
        ('day,usd\n2026-09-01,"1.234,50"\n', (), '"1.234,50" is no amount'),
        ('day,usd,input_tokens\n2026-09-01,1,"1,5"\n', (), '"1,5" is no count'),
        ("start_time,amount_value,amount_currency\n1788220800,1,eur\n", (), 'amounts are in "eur"'),
        ("ChargePeriodStart,BilledCost,BillingCurrency\n2026-09-01,1,EUR\n", (), 'amounts are in "EUR"'),
        ("start_time,amount_value\n4102444800,1\n", (), "no day of the statement is over"),
        ("day,usd\n2026-09-01,1\n", ("--provider", "opnai"), 'no provider is called "opnai"'),
        ("day,usd\n2026-09-01,1\n", ("--by", "week"), "use day, model and project"),
        ("day,usd\n2026-09-01,1\n", ("--projects", "day"), "day is a time"),
        ("day,usd\n2026-09-01,1\n", ("--map", "x"), "must be ID=VALUE"),
    ],
)  # fmt: skip
def test_what_is_no_statement_is_told_in_a_line(text: str, words: tuple[str, ...], why: str, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, CONFIG)
    (tmp_path / "file").write_text(text)
    provider = () if "--provider" in words else ("--provider", "openai")
    done = gateway.cli("reconcile", str(tmp_path / "file"), *provider, *words, check=False)
    assert done.returncode == 1
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


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
