"""FOCUS files: what they say is the ledger, to the nanodollar."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from months import CONTRACT, FIRST, LAST, adjust, billed, ns, office, read
from support.gateway import Gateway

from gateway.exports import focus
from gateway.exports.scope import Scope
from gateway.ledger.connections import connect
from gateway.ledger.keeping import forget
from pricing.book import PriceBook
from pricing.catalogue import load

ROOT = Path(__file__).parents[2]
VALIDATOR = Path(os.environ.get("FOCUS_VALIDATOR", ROOT / ".venv-focus" / "bin" / "focus-validator"))
HOLDS = (
    "ACCOUNT_NAMING_SUPPORTED", "MULTIPLE_PRICING_CATEGORIES_SUPPORTED", "NEGOTIATED_PRICING_SUPPORTED",
    "PUBLIC_PRICE_LIST_SUPPORTED", "USAGE_MEASUREMENT_SUPPORTED", "UNIT_PRICING_SUPPORTED", "SUB_ACCOUNT_SUPPORTED",
    "REGION_SUPPORTED", "TAGGING_SUPPORTED",
)  # fmt: skip
"""What is true of this gateway among the validator's criteria."""


@pytest.fixture(scope="module")
def quarter(tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    gateway = office(tmp_path_factory.mktemp("focus"))
    adjust(gateway, "2026-08-03", "2026-08-20", "2026-08-25", -7, "in the same month")
    adjust(gateway, "2026-08-01", "2026-09-01", "2026-09-09", 13, "contract signed late")
    adjust(gateway, "2026-09-01", "2026-10-01", "2026-10-02", -1, "typo in a price")
    return gateway


@pytest.fixture(scope="module")
def rows(quarter: Gateway) -> list[dict[str, str]]:
    return read(quarter.cli("export", "focus", "--since", FIRST, "--until", LAST).stdout)


def spent(gateway: Gateway, by: str = "", since: str = FIRST, until: str = LAST) -> dict[str, int]:
    found = json.loads(gateway.cli("report", "--by", by, "--since", since, "--until", until, "--format", "json").stdout)
    return {row.get(by, ""): row["cost_nanousd"] for row in found}


def test_three_months_with_adjustments_sum_to_the_ledger_exactly(quarter: Gateway, rows: list[dict[str, str]]) -> None:
    assert billed(rows) == spent(quarter)[""]
    for column, by in (("SubAccountId", "team"), ("x_Workflow", "workflow"), ("x_Model", "model")):
        sums: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
        for row in rows:
            sums[row[column]].append(row)
        shown = {name: billed(found) for name, found in sums.items()}
        assert {name: cost for name, cost in shown.items() if cost} == {
            name: cost for name, cost in spent(quarter, by).items() if cost
        }


def test_months_apart_hold_what_was_booked_in_each_and_together_the_same(
    quarter: Gateway, rows: list[dict[str, str]]
) -> None:
    months = [("2026-08-01", "2026-09-01"), ("2026-09-01", "2026-10-01"), ("2026-10-01", "2026-11-01")]
    apart = [read(quarter.cli("export", "focus", "--since", a, "--until", b).stdout) for a, b in months]
    assert sum(billed(found) for found in apart) == billed(rows)
    for found, (start, _) in zip(apart, months, strict=True):
        assert {row["BillingPeriodStart"] for row in found} == {f"{start}T00:00:00Z"}
    late = [row for row in apart[1] if row["ChargeCategory"] == "Adjustment"]
    assert {row["ChargeClass"] for row in late} == {"Correction"}
    assert all(row["ChargePeriodStart"] < "2026-09" and "contract signed late" in row["ChargeDescription"]
               for row in late)  # fmt: skip
    same = [row for row in apart[0] if row["ChargeCategory"] == "Adjustment"]
    assert same
    assert {row["ChargeClass"] for row in same} == {""}


def test_unit_prices_are_the_contracts_beside_the_lists(rows: list[dict[str, str]]) -> None:
    usage = [row for row in rows if row["ChargeCategory"] == "Usage"]
    prices = {row["SkuId"]: (Decimal(row["ContractedUnitPrice"]), Decimal(row["ListUnitPrice"])) for row in usage}
    assert prices["openai/gpt-4o/input"] == (Decimal("1.99999"), Decimal("2.5"))
    assert prices["openai/gpt-4o/output"] == (Decimal("7.77"), Decimal(10))
    assert prices["anthropic/claude-sonnet-4-5/output"] == (Decimal("13.125"), Decimal(15))
    assert prices["openai/gpt-4o-mini/cache_read"] == (Decimal("0.075"), Decimal("0.075"))
    for row in usage:
        quantity, contracted = Decimal(row["PricingQuantity"]), Decimal(row["ContractedCost"])
        assert abs(Decimal(row["ContractedUnitPrice"]) * quantity - contracted) < Decimal("1e-12")
        assert abs(Decimal(row["ListUnitPrice"]) * quantity - Decimal(row["ListCost"])) < Decimal("1e-12")
        # each call's line was rounded to a nanodollar, once
        assert abs(contracted - Decimal(row["BilledCost"])) <= Decimal(row["x_Calls"]) * Decimal("5e-10")


def test_tokens_stand_in_the_sku_columns_and_equal_the_report(quarter: Gateway, rows: list[dict[str, str]]) -> None:
    found = json.loads(quarter.cli("report", "--by", "", "--since", FIRST, "--until", LAST, "--format", "json").stdout)[
        0
    ]
    used: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        if row["ChargeCategory"] == "Usage":
            assert row["ConsumedUnit"] == "Tokens"
            assert Decimal(row["PricingQuantity"]) * 10**6 == Decimal(row["ConsumedQuantity"])
            used[row["SkuMeter"]] += Decimal(row["ConsumedQuantity"])
    assert used["Input Tokens"] + used["Cached Input Tokens"] == found["input_tokens"]
    assert used["Output Tokens"] + used["Reasoning Tokens"] == found["output_tokens"]
    assert used["Cached Input Tokens"] == found["cache_read_tokens"]


def test_calls_without_a_price_are_there_at_no_cost(rows: list[dict[str, str]]) -> None:
    found = [row for row in rows if row["x_Model"] == "in-house-9b"]
    assert found
    assert {(row["x_Priced"], row["BilledCost"], row["ConsumedQuantity"] != "0.0") for row in found} == {
        ("false", "0.0", True)
    }


def test_pictures_and_speech_without_a_price_are_there_too(tmp_path: Path) -> None:
    import book

    gateway = Gateway(tmp_path, '[providers.openai]\nkind = "openai"\n')
    (tmp_path / "data").mkdir()
    used = book.Usage(output_images=3, input_characters=500, audio_milliseconds=2000, pages=4, search_units=5)
    made = book.record(1, model="own", usage=used, priced=False, cost_nanousd=0, cost_lines=(), price="")
    book.ledger(tmp_path / "data" / "ledger.db", [made])
    rows = read(gateway.cli("export", "focus", "--since", "2026-09-01").stdout)
    assert {row["SkuMeter"]: row["ConsumedQuantity"] for row in rows} == {
        "Images": "3.0", "Characters": "500.0", "Audio Time": "2000.0", "Pages": "4.0", "Search Units": "5.0",
    }  # fmt: skip
    assert {(row["BilledCost"], row["ListCost"], row["x_Priced"]) for row in rows} == {("0.0", "0.0", "false")}


def test_tags_carry_the_workflow_and_the_key_under_a_prefix_of_their_own(rows: list[dict[str, str]]) -> None:
    for row in rows:
        tags = json.loads(row["Tags"])
        assert tags["spendgate:workflow"] == row["x_Workflow"]
        assert tags["spendgate:key"] == row["x_KeyId"]
        assert tags["env"] in ("prod", "dev")


def test_parquet_says_the_same_as_csv(quarter: Gateway, rows: list[dict[str, str]], tmp_path: Path) -> None:
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    file = tmp_path / "f.parquet"
    quarter.cli("export", "focus", "--since", FIRST, "--until", LAST, "--format", "parquet", "--out", str(file))
    stored: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    assert len(stored) == len(rows)
    for one, row in zip(stored, rows, strict=True):
        for name, value in one.items():
            if value is None:
                assert row[name] == ""
            elif isinstance(value, Decimal):
                assert value == Decimal(row[name])
            elif not isinstance(value, str):
                assert f"{value:%Y-%m-%dT%H:%M:%SZ}" == row[name]
            else:
                assert value == row[name]


def test_hours_add_up_to_days(quarter: Gateway, rows: list[dict[str, str]]) -> None:
    hours = read(quarter.cli("export", "focus", "--since", FIRST, "--until", LAST, "--grain", "hour").stdout)
    assert len(hours) > len(rows)
    assert billed(hours) == billed(rows)
    assert {row["ChargePeriodStart"][14:] for row in hours} == {"00:00Z"}


def test_an_export_that_can_not_be_whole_is_refused_in_one_line(tmp_path: Path) -> None:
    import sqlite3

    gateway = office(tmp_path, 60)
    with sqlite3.connect(tmp_path / "data" / "ledger.db") as connection:
        connection.execute("INSERT INTO facts (name, value) VALUES ('records_since_ns', ?)", (ns("2026-09-01"),))
    done = gateway.cli("export", "focus", "--since", FIRST, "--until", LAST, "--out", str(tmp_path / "x"), check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "spendgate: records from before 2026-09-01T00:00:00.000000Z are no longer kept (ledger.keep_days)\n"
    )
    assert not list(tmp_path.glob("x*"))
    # nor does a line of names alone look like a month without calls
    done = gateway.cli("export", "focus", "--since", FIRST, "--until", LAST, check=False)
    assert (done.returncode, done.stdout) == (1, "")


def test_records_that_go_while_they_are_exported_are_told(tmp_path: Path) -> None:
    office(tmp_path, 60)
    connection = connect(tmp_path / "data" / "ledger.db")
    scope = Scope(since_ns=ns(FIRST), until_ns=ns(LAST), adjusted_since_ns=ns(FIRST))
    found = focus.rows(connection, PriceBook(CONTRACT, load()), str, scope)
    assert next(found)["ChargeCategory"] == "Usage"
    forget(connection, 1, ns("2026-09-15"))
    with pytest.raises(focus.RecordsGoneError):
        list(found)
    connection.close()


@pytest.mark.skipif(not VALIDATOR.exists(), reason="focus-validator is in no environment: make focus, with Python 3.12")
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_the_validator_of_focus_finds_nothing(quarter: Gateway, tmp_path: Path, form: str) -> None:
    file = tmp_path / f"f.{form}"
    quarter.cli("export", "focus", "--since", FIRST, "--until", LAST, "--format", form, "--out", str(file))
    rules = next(VALIDATOR.parents[1].glob("lib/python*/site-packages/focus_validator"))
    # the rules that the package brings; its table of currencies is looked up from where it runs
    done = subprocess.run(
        [str(VALIDATOR), "--data-file", str(file), "--validate-version", "1.2.0.1", "--block-download",
         "--applicability-criteria", ",".join(HOLDS)],
        cwd=rules.parent, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    passed = re.search(r"Pass: (\d+) \| Fail: (\d+)", done.stdout)
    assert passed is not None, done.stdout[:2000]
    assert int(passed[1]) >= 250
    # the two halves of one alternative: an invoice's id must be null, or must not be. The gateway knows of no invoice
    assert set(re.findall(r"^❌ (\S+):", done.stdout, re.MULTILINE)) == {"InvoiceId-C-005-C"}
    assert "InvoiceId-C-003-C: OR passed" in done.stdout
    for rule in ("CostAndUsage-D-001-M", "CostAndUsage-D-002-M"):
        assert f"{rule}: AND passed - all child rules succeeded" in done.stdout


def test_no_name_in_a_csv_is_a_formula_to_a_spreadsheet(tmp_path: Path) -> None:
    import book

    gateway = Gateway(tmp_path, '[providers.openai]\nkind = "openai"\n')
    (tmp_path / "data").mkdir()
    book.ledger(tmp_path / "data" / "ledger.db", [book.record(1, workflow="=cmd()", model="@SUM(A1)")])
    (row, *_) = read(gateway.cli("export", "focus", "--since", "2026-09-01").stdout)
    assert (row["x_Workflow"], row["x_Model"]) == ("'=cmd()", "'@SUM(A1)")
    words = ("report", "--by", "workflow", "--since", "2026-09-01", "--format", "csv")
    assert gateway.cli(*words).stdout.splitlines()[1].startswith("'=cmd(),")
    (row,) = csv.DictReader(gateway.cli("ledger", "export", "--format", "csv").stdout.splitlines())
    assert (row["workflow"], row["model"]) == ("'=cmd()", "'@SUM(A1)")


def test_a_call_at_its_providers_figure_is_listed_at_that_figure(tmp_path: Path) -> None:
    import book

    gateway = Gateway(tmp_path, '[providers.router]\nkind = "openrouter"\nprice_as = "reported"\n')
    (tmp_path / "data").mkdir()
    said = {"cost_nanousd": 7, "cost_lines": (book.Line("reported", 1, "request", 7),), "reported_cost_nanousd": 7}
    known = book.record(1, provider="router", model="openai/gpt-4o", model_requested="openai/gpt-4o", **said)
    book.ledger(tmp_path / "data" / "ledger.db", [known])
    (row,) = read(gateway.cli("export", "focus", "--since", "2026-09-01").stdout)
    assert {row[f"{name}Cost"] for name in ("Billed", "Effective", "Contracted", "List")} == {"0.000000007"}
    assert row["ContractedUnitPrice"] == row["ListUnitPrice"] == "0.000000007"


def test_a_part_that_the_list_does_not_price_apart_is_listed_as_what_it_is_a_part_of(tmp_path: Path) -> None:
    """A cache kept for an hour is a cache that was written, not fresh input."""
    import book

    contract = '[[prices]]\nprovider = "openrouter"\nmodel = "*"\ncache_write_1h_per_mtok = 4.0\n'
    gateway = Gateway(tmp_path, '[providers.router]\nkind = "openrouter"\n' + contract)
    (tmp_path / "data").mkdir()
    written = book.record(
        1, provider="router", model="anthropic/claude-sonnet-4.5", model_requested="anthropic/claude-sonnet-4.5",
        usage=book.Usage(input_tokens_total=1000, cache_write_tokens=1000, cache_write_1h_tokens=1000),
        cost_nanousd=4_000_000, cost_lines=(book.Line("cache_write_1h", 1000, "token", 4_000_000),),
    )  # fmt: skip
    book.ledger(tmp_path / "data" / "ledger.db", [written])
    (row,) = read(gateway.cli("export", "focus", "--since", "2026-09-01").stdout)
    assert (row["ContractedUnitPrice"], row["ListUnitPrice"]) == ("4.0", "3.75")
    assert row["ListCost"] == "0.00375"
