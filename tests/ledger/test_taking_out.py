"""What a ledger gives out and lets go of: all formats tell the same, in constant memory; old records go, sums stay."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from support.gateway import Gateway
from support.history import DAY_NS, history, write

CONFIG = '[providers.openai]\nkind = "openai"\nbase_url = "http://127.0.0.1:9"\napi_key = "sk-real"\n'
NOW_NS = time.time_ns()


def ledger_of(gateway: Gateway, days: int, calls: int) -> None:
    (gateway.directory / "data").mkdir(exist_ok=True)
    write(gateway.directory / "data" / "ledger.db", history(NOW_NS, days, calls))


def plain(value: Any) -> Any:
    """A CSV cell as the value that it stands for."""
    return json.loads(value) if isinstance(value, str) and value[:1] in "[{" and value else value


def test_every_format_of_an_export_tells_the_same_records(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, CONFIG)
    ledger_of(gateway, 3, 700)
    out = {form: tmp_path / f"all.{form}" for form in ("jsonl", "csv", "parquet")}
    for form, path in out.items():
        gateway.cli("ledger", "export", "--format", form, "--out", str(path))
    lines = [json.loads(line) for line in out["jsonl"].read_text().splitlines()]
    assert len(lines) == 700
    assert [line["request_id"] for line in lines] == sorted({line["request_id"] for line in lines})
    assert all(sum(part["nanousd"] for part in line["cost_lines"]) == line["cost_nanousd"] for line in lines)
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(out["parquet"]).to_pylist()
    assert [{name: plain(value) for name, value in row.items()} for row in rows] == lines
    with out["csv"].open(newline="") as file:
        cells = list(csv.DictReader(file))
    assert list(cells[0]) == list(lines[0])
    for cell, line in zip(cells, lines, strict=True):
        for name, value in line.items():
            same = plain(cell[name]) if isinstance(value, dict | list) else cell[name]
            assert same == (value if isinstance(value, dict | list) else "" if value is None else str(value))
    # a part of the time, to standard output
    since = lines[300]["started_at"]
    part = gateway.cli("ledger", "export", "--since", since).stdout.splitlines()
    assert [json.loads(line) for line in part] == [line for line in lines if line["started_at"] >= since]


def peak_kb(gateway: Gateway, form: str, out: Path) -> int:
    """The most memory that an export takes."""
    code = (
        "import resource, runpy, sys; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_module('gateway.cli.main', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    words = ["spendgate", "ledger", "export", "--format", form, "--out", str(out), "--config", str(gateway.path)]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.fixture(scope="module")
def small_and_large(tmp_path_factory: pytest.TempPathFactory) -> list[Gateway]:
    """Two ledgers; what Parquet holds at once are 10,000 records."""
    found = []
    for calls in (21_000, 42_000):
        found.append(Gateway(tmp_path_factory.mktemp("export"), CONFIG))
        ledger_of(found[-1], 3, calls)
    return found


@pytest.mark.prove
@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_an_export_takes_no_more_memory_for_more_records(
    tmp_path: Path, small_and_large: list[Gateway], form: str, prove: bool
) -> None:
    if form != "parquet" and not prove:
        pytest.skip("runs in make prove")
    small, large = (peak_kb(gateway, form, tmp_path / "out") for gateway in small_and_large)
    # 21,000 records more, of some 3 kB each in memory
    assert large - small < 20_000


def test_old_records_go_while_the_gateway_runs_and_reports_go_on_to_show_them(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, CONFIG + "[ledger]\nkeep_days = 10\n")
    ledger_of(gateway, 40, 4000)
    ask = ("report", "--by", "team,model", "--since", "2020-01-01", "--format", "json")
    before = json.loads(gateway.cli(*ask).stdout)
    with gateway:
        deadline = time.monotonic() + 30
        horizon = NOW_NS - 10 * DAY_NS - 3_600_000_000_000
        while (oldest := gateway.records()[-1]["started_at"]) < time.strftime(
            "%Y-%m-%dT%H:%M:%S", time.gmtime(horizon / 1e9)
        ):
            assert time.monotonic() < deadline, oldest
            time.sleep(0.1)
        kept = gateway.records()
        assert 900 < len(kept) < 1100
        assert json.loads(gateway.cli(*ask).stdout) == before
        assert "agrees with itself" in gateway.cli("ledger", "verify").stdout
    assert os.path.getsize(tmp_path / "data" / "ledger.db") > 0
