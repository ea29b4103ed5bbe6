"""``[[exports]]``: each period is closed once; what comes later stands in the next file; a kill loses nothing."""

from __future__ import annotations

import json
import os
import platform
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from months import CONFIG, adjust, billed, ns, office, read
from support.gateway import Gateway
from support.history import history

from gateway.ledger.connections import connect
from gateway.ledger.ids import first_id_at
from gateway.ledger.writer import Writer

EXPORT = '\n[[exports]]\nname = "finance"\nto = "out"\n'


HARDENED = """
import ctypes, os, platform, struct, sys
calls = {"x86_64": (0xC000003E, 141), "aarch64": (0xC00000B7, 140)}
machine, setpriority = calls[platform.machine()]
steps = ((0x20, 0, 0, 4), (0x15, 0, 2, machine), (0x20, 0, 0, 0), (0x15, 1, 0, setpriority),
         (0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x00050001))
filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(filters)))
libc = ctypes.CDLL(None, use_errno=True)
assert not libc.prctl(38, 1, 0, 0, 0)
assert not libc.prctl(22, 2, ctypes.c_void_p(ctypes.addressof(program)), 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Runs a command that gets EPERM for setpriority, as systemd's SystemCallFilter=~@resources gives it."""


def files(gateway: Gateway, folder: str = "out") -> dict[str, list[dict[str, str]]]:
    return {path.stem: read(path.read_text()) for path in sorted((gateway.directory / folder).glob("*.csv"))}


def ledger_sum(gateway: Gateway) -> int:
    connection = sqlite3.connect(gateway.directory / "data" / "ledger.db")
    ((calls, changes),) = connection.execute(
        "SELECT (SELECT sum(cost_nanousd) FROM records), (SELECT coalesce(sum(delta_nanousd), 0) FROM adjustments)"
    )
    connection.close()
    return int(calls + changes)


def settle_late(gateway: Gateway, day: str, cost: int) -> None:
    """A call of a past day that is settled only now."""
    (one,) = history(ns(day), 1, 1)
    late = msgspec.structs.replace(
        one, request_id=first_id_at(one.started_ns) + "9" * 16, cost_nanousd=cost, team="late", outcome="recovered",
        cost_lines=tuple(msgspec.structs.replace(line, nanousd=cost if not at else 0)
                         for at, line in enumerate(one.cost_lines)),
    )  # fmt: skip
    connection = connect(gateway.directory / "data" / "ledger.db")
    Writer().write(connection, records=[late])
    connection.close()


def test_a_closed_period_never_changes_and_what_is_late_stands_in_the_next(tmp_path: Path) -> None:
    # all three months are over; somebody's file holds the last one back
    gateway = office(tmp_path, 600, CONFIG + EXPORT + "after_hours = 0\n")
    adjust(gateway, "2026-08-01", "2026-09-01", "2026-08-15", 5, "typo", limit=10)
    stranger = tmp_path / "out" / "finance-2026-10.csv"
    stranger.parent.mkdir()
    stranger.write_text("not ours")
    done = gateway.cli("export", "run", check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "spendgate: export finance: finance-2026-10.csv is there already, and this ledger did not write it: "
        "move it away\n"
    )
    assert stranger.read_text() == "not ours"
    stranger.unlink()
    before = {name: (gateway.directory / "out" / f"{name}.csv").read_bytes() for name in files(gateway)}
    assert set(before) == {"finance-2026-08", "finance-2026-09"}
    assert sum(row["x_Reason"] == "typo" for row in files(gateway)["finance-2026-08"]) > 0

    changed = adjust(gateway, "2026-08-01", "2026-09-01", "2026-10-05", 9, "contract signed late", limit=20)
    settle_late(gateway, "2026-09-20", 123_456_789)
    said = gateway.cli("export", "run").stdout
    assert "finance-2026-10.csv" in said
    assert "2026-08" not in said
    found = files(gateway)
    assert {name: (gateway.directory / "out" / f"{name}.csv").read_bytes() for name in before} == before
    last = found["finance-2026-10"]
    corrected = [row for row in last if row["ChargeClass"] == "Correction"]
    assert billed([row for row in corrected if row["ChargeCategory"] == "Adjustment"]) == changed
    (late,) = [row for row in corrected if row["SubAccountId"] == "late" and row["BilledCost"] != "0.0"]
    assert late["BilledCost"] == "0.123456789"
    assert (late["ChargePeriodStart"][:7], late["BillingPeriodStart"][:7]) == ("2026-09", "2026-10")
    assert sum(billed(rows) for rows in found.values()) == ledger_sum(gateway)
    status = json.loads(gateway.cli("export", "status", "--format", "json").stdout)
    assert [(one["period"], one["done"]) for one in status] == [
        ("2026-08", True), ("2026-09", True), ("2026-10", True),
    ]  # fmt: skip
    assert sum(one["nanousd"] for one in status) == ledger_sum(gateway)
    assert gateway.cli("export", "run").stdout == ""


def test_days_and_weeks_are_closed_and_together_are_the_ledger(tmp_path: Path) -> None:
    more = EXPORT.replace('"finance"', '"weekly"').replace('"out"', '"weeks"') + 'period = "week"\nfrom = 2026-08-01\n'
    daily = EXPORT.replace('"finance"', '"daily"').replace('"out"', '"days"') + 'period = "day"\ngrain = "hour"\n'
    gateway = office(tmp_path, 400, CONFIG + more + daily)
    adjust(gateway, "2026-08-01", "2026-09-01", "2026-09-15", 5, "typo", limit=10)
    gateway.cli("export", "run")
    for folder in ("weeks", "days"):
        assert sum(billed(rows) for rows in files(gateway, folder).values()) == ledger_sum(gateway)
    assert "weekly-2026-07-27" in files(gateway, "weeks")
    # each correction once: with the day of its calls, as that was closed after it was booked
    found = [row for rows in files(gateway, "days").values() for row in rows if row["ChargeCategory"] == "Adjustment"]
    assert sum(float(row["x_Calls"]) for row in found) == 10


def test_a_change_of_the_period_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    gateway = office(tmp_path, 300, CONFIG + EXPORT + "after_hours = 0\n")
    gateway.cli("export", "run")
    gateway.write(CONFIG + EXPORT + 'period = "week"\n')
    gateway.cli("export", "run")
    found = files(gateway)
    assert {"finance-2026-10", "finance-2026-10-26"} <= set(found)
    assert sum(billed(rows) for rows in found.values()) == ledger_sum(gateway)


def test_a_week_that_days_began_is_a_file_of_its_own(tmp_path: Path) -> None:
    monday = "from = 2026-10-12\n"
    gateway = office(tmp_path, 300, CONFIG + EXPORT + monday + 'period = "day"\n')
    gateway.cli("export", "run")
    # the last day that is closed is a Wednesday
    connection = sqlite3.connect(tmp_path / "data" / "ledger.db")
    connection.execute("DELETE FROM facts WHERE name > 'export:finance:2026-10-14' AND name < 'export:finance;'")
    connection.commit()
    connection.close()
    days = {f"finance-2026-10-{day}" for day in (12, 13, 14)}
    for path in (tmp_path / "out").iterdir():
        if path.stem not in days:
            path.unlink()
    gateway.write(CONFIG + EXPORT + monday + 'period = "week"\n')
    assert gateway.cli("export", "run").stdout.startswith("finance-2026-10-15.csv: ")
    found = files(gateway)
    assert set(found) >= days | {"finance-2026-10-15", "finance-2026-10-19", "finance-2026-10-26"}
    connection = sqlite3.connect(tmp_path / "data" / "ledger.db")
    ((calls,),) = connection.execute("SELECT sum(cost_nanousd) FROM records WHERE started_ns >= ?", (ns("2026-10-12"),))
    connection.close()
    assert sum(billed(rows) for rows in found.values()) == calls


def test_corrections_of_days_before_the_first_call_stand_in_a_file_too(tmp_path: Path) -> None:
    gateway = office(tmp_path, 300, CONFIG + EXPORT + "after_hours = 0\n")
    statement = tmp_path / "july.csv"
    statement.write_text("day,model,usd\n2026-07-15,gpt-4o,5.25\n")
    gateway.cli("reconcile", str(statement), "--provider", "openai", "--book")
    gateway.cli("export", "run")
    (early,) = [row for row in files(gateway)["finance-2026-08"] if row["ChargePeriodStart"] < "2026-08"]
    assert (early["BilledCost"], early["ChargeClass"]) == ("5.25", "Correction")
    statement.write_text("day,model,usd\n2026-07-15,gpt-4o,6.25\n")
    gateway.cli("reconcile", str(statement), "--provider", "openai", "--book")
    adjust(gateway, "2026-08-01", "2026-09-01", "2026-10-05", 9, "contract signed late", limit=20)
    connection = sqlite3.connect(tmp_path / "data" / "ledger.db")
    connection.execute("DELETE FROM facts WHERE name = 'export:finance:2026-10'")
    connection.commit()
    connection.close()
    (tmp_path / "out" / "finance-2026-10.csv").unlink()
    gateway.cli("export", "run")
    assert sum(billed(rows) for rows in files(gateway).values()) == ledger_sum(gateway)


@pytest.mark.prove
def test_a_kill_at_any_moment_leaves_whole_files_and_the_same_sums(tmp_path: Path, prove: bool) -> None:
    gateway = office(tmp_path, 4000 if prove else 1500, CONFIG + EXPORT + 'period = "week"\nafter_hours = 0\n')
    adjust(gateway, "2026-08-01", "2026-10-01", "2026-10-05", 9, "contract signed late")
    whole = tmp_path / "whole"
    shutil.copytree(tmp_path / "data", whole / "data")
    undisturbed = Gateway(whole, gateway.config)
    started = time.monotonic()
    undisturbed.cli("export", "run")
    length = time.monotonic() - started
    wanted = {path.name: path.read_bytes() for path in (whole / "out").iterdir()}
    rng = random.Random(11)
    command = [sys.executable, "-m", "gateway.cli.main", "export", "run", "--config", str(gateway.path)]
    kills = 0
    for _ in range(60 if prove else 8):
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(rng.uniform(0.25, 1.0) * length)
            # one that finds files written is sooner done, and the machine may have more to do at one time than another
            length = min(length, time.monotonic() - started)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
            kills += 1
        for path in (tmp_path / "out").glob("*.csv") if (tmp_path / "out").exists() else ():
            assert path.read_bytes() == wanted[path.name]
        if prove and rng.random() < 0.3 and (tmp_path / "out").exists():
            # as if it had been killed before it noted that a file is written
            connection = sqlite3.connect(tmp_path / "data" / "ledger.db")
            connection.execute(
                "UPDATE facts SET value = json_set(value, '$.done', json('false')) WHERE name IN "
                "(SELECT name FROM facts WHERE name LIKE 'export:%' ORDER BY name DESC LIMIT 1)"
            )
            connection.commit()
            connection.close()
    assert kills >= 1
    gateway.cli("export", "run")
    found = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert found == wanted
    assert not list((tmp_path / "data").glob("*.part"))
    assert sum(billed(rows) for rows in files(gateway).values()) == ledger_sum(gateway)


def test_a_gateway_writes_what_is_due_by_itself(tmp_path: Path) -> None:
    gateway = office(tmp_path, 200, CONFIG + EXPORT)
    with gateway:
        deadline = time.monotonic() + 30
        while len(list((tmp_path / "out").glob("*.csv"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert set(files(gateway)) == {"finance-2026-08", "finance-2026-09", "finance-2026-10"}
        while "export finance-2026-10.csv" not in gateway.log() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert "export finance-2026-10.csv" in gateway.log()
    assert sum(billed(rows) for rows in files(gateway).values()) == ledger_sum(gateway)


def test_a_gateway_that_is_killed_while_it_exports_goes_on_at_its_next_start(tmp_path: Path) -> None:
    gateway = office(tmp_path, 3000, CONFIG + EXPORT)
    gateway.start()
    deadline = time.monotonic() + 30
    while not list((tmp_path / "data").glob("export-*")) and time.monotonic() < deadline:
        time.sleep(0.005)
    gateway.kill()
    with gateway:
        while "finance-2026-10" not in files(gateway) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert set(files(gateway)) == {"finance-2026-08", "finance-2026-09", "finance-2026-10"}
    assert sum(billed(rows) for rows in files(gateway).values()) == ledger_sum(gateway)


def test_a_gateway_counts_exports_that_failed(tmp_path: Path) -> None:
    gateway = office(tmp_path, 50, CONFIG + EXPORT)
    (tmp_path / "out").write_text("no directory")
    with gateway:
        deadline = time.monotonic() + 30
        while "spendgate_export_failures_total 1.0" not in gateway.metrics() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert "spendgate_export_failures_total 1.0" in gateway.metrics()
        assert "export finance:" in gateway.log()


def test_two_exports_at_once_come_one_after_the_other(tmp_path: Path) -> None:
    import fcntl

    gateway = office(tmp_path, 50, CONFIG + EXPORT)
    command = [sys.executable, "-m", "gateway.cli.main", "export", "run", "--config", str(gateway.path)]
    with (tmp_path / "data" / "exports.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        with pytest.raises(subprocess.TimeoutExpired):
            waiting[0].wait(1)
        assert not (tmp_path / "out").exists()
    said = sorted(process.communicate(timeout=30)[0].count("rows") for process in waiting)
    assert said == [0, 3]


def test_an_address_that_fsspec_knows_takes_files_too(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    url = f"local://{tmp_path}/bucket/costs"
    gateway = office(tmp_path, 200, CONFIG + EXPORT.replace('"out"', f'"{url}"') + 'format = "parquet"\n')
    gateway.cli("export", "run")
    found = sorted(path.name for path in (tmp_path / "bucket" / "costs").iterdir())
    assert found == ["finance-2026-08.parquet", "finance-2026-09.parquet", "finance-2026-10.parquet"]
    unknown = gateway.config.replace("local://", "nosuch://").replace('"finance"', '"other"')
    gateway.write(unknown)
    done = gateway.cli("export", "run", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("spendgate: export other: nosuch://")
    assert done.stderr.count("\n") == 1


def test_a_later_start_skips_periods_whose_records_are_gone(tmp_path: Path) -> None:
    gateway = office(tmp_path, 60, CONFIG + EXPORT)
    connection = sqlite3.connect(tmp_path / "data" / "ledger.db")
    connection.execute("INSERT INTO facts (name, value) VALUES ('records_since_ns', ?)", (ns("2026-09-10"),))
    connection.commit()
    connection.close()
    done = gateway.cli("export", "run", check=False)
    assert done.returncode == 1
    assert "records from before 2026-09-10T00:00:00.000000Z are no longer kept" in done.stderr
    gateway.write(gateway.config + "from = 2026-10-01\n")
    assert gateway.cli("export", "run").stdout.startswith("finance-2026-10.csv: ")
    assert set(files(gateway)) == {"finance-2026-10"}
    (only,) = json.loads(gateway.cli("export", "status", "--format", "json").stdout)
    assert (only["period"], only["done"]) == ("2026-10", True)


def test_one_export_that_fails_does_not_hold_up_the_next(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    (tmp_path / "no-folder").write_text("a file")
    first = EXPORT.replace('"finance"', '"first"').replace('"out"', f'"local://{tmp_path}/no-folder/x"')
    gateway = office(tmp_path, 60, CONFIG + first + EXPORT)
    done = gateway.cli("export", "run", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"spendgate: export first: local://{tmp_path}/no-folder/x: ")
    assert done.stderr.count("\n") == 1
    assert len(files(gateway)) == 3
    (tmp_path / "no-folder").unlink()
    assert "first-2026-08.csv" in gateway.cli("export", "run").stdout


def test_parquet_without_its_package_is_one_line_and_other_exports_go_on(tmp_path: Path) -> None:
    first = EXPORT.replace('"finance"', '"first"').replace('"out"', '"first"') + 'format = "parquet"\n'
    gateway = office(tmp_path, 60, CONFIG + first + EXPORT)
    without = "import sys; sys.modules['pyarrow'] = None; from gateway.cli.main import main; sys.exit(main())"
    words = [sys.executable, "-c", without, "export", "run", "--config", str(gateway.path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (
        1, "spendgate: export first: Parquet needs pyarrow: pip install 'spendgate[parquet]'\n",
    )  # fmt: skip
    assert len(files(gateway)) == 3
    assert "first-2026-08.parquet" in gateway.cli("export", "run").stdout


def test_mistakes_in_exports_are_found_by_check(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, CONFIG + EXPORT + EXPORT + 'options = { key = "x" }\n')
    said = gateway.cli("check", check=False).stderr
    assert 'the name "finance" is used by exports[0] too' in said
    assert "has no effect on a directory" in said


def test_there_is_nothing_to_export_without_a_table_or_a_call(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, CONFIG)
    assert gateway.cli("export", "status").stdout == "There are no exports. Add one: [[exports]]\n"
    gateway.write(CONFIG + EXPORT)
    assert gateway.cli("export", "status").stdout == "Nothing was exported, and nothing is due.\n"
    assert gateway.cli("export", "run").stdout == ""
    assert os.listdir(tmp_path)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="the filter is written for two machines")
def test_check_tells_of_a_store_that_can_not_be_reached_from_here(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, CONFIG + EXPORT.replace('"out"', '"odd://bucket/folder"'))
    done = gateway.cli("check", check=False)
    assert done.returncode == 1
    assert "odd://bucket/folder: Protocol not known: odd" in done.stderr


def test_a_service_that_may_not_change_its_priority_exports_all_the_same(tmp_path: Path) -> None:
    """The systemd unit that is shipped is such a service."""
    gateway = office(tmp_path, 60, CONFIG + EXPORT + "after_hours = 0\n")
    words = [sys.executable, "-m", "gateway.cli.main", "export", "run", "--config", str(gateway.path)]
    done = subprocess.run([sys.executable, "-c", HARDENED, *words], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(files(gateway)) == 3
