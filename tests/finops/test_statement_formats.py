"""Statements in the formats in which providers give them: what each means, and which are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from billed import CONFIG, Books, reconciled
from support.gateway import Gateway

from pricing.money import Line

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
        ("day,usd\n2026-09-01,1,50\n", (), "line 2 has more values than columns: an amount with commas needs quotes"),
        ("day,usd\n2026-09-01,$1,234.56\n", (), "line 2 has more values than columns"),
        ("day,usd,input_tokens\n2026-09-01,1,1.5\n", (), '"1.5" is no count'),
        ("day,usd\n9999-12-31,1\n0001-01-01,1\n", (), '"9999-12-31" is no day'),
        ('{"data":' * 5000, (), "it is nested without end"),
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
