"""A copy, or a file of records, that is killed on its way leaves nothing that looks like a whole one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.gateway import Gateway
from support.history import history, write

CONFIG = '[providers.openai]\nkind = "openai"\nbase_url = "http://127.0.0.1:9"\napi_key = "sk-real"\n'
CALLS = 5_000


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    made = Gateway(tmp_path, CONFIG)
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "ledger.db", history(time.time_ns(), 3, CALLS))
    return made


@pytest.mark.parametrize(
    "words",
    [
        ("backup", "copy.db"),
        ("export", "--format", "jsonl", "--out", "all.jsonl"),
        ("export", "--format", "csv", "--out", "all.csv"),
        ("export", "--format", "parquet", "--out", "all.parquet"),
    ],
    ids=lambda words: words[-1],
)
def test_a_file_that_is_there_is_whole_whenever_its_maker_is_killed(gateway: Gateway, words: tuple[str, ...]) -> None:
    folder = gateway.directory
    *options, name = words
    before = {one.name for one in folder.iterdir()}
    command = [sys.executable, "-m", "gateway.cli.main", "ledger", *options, str(folder / name)]
    process = subprocess.Popen([*command, "--config", str(gateway.path)])
    # the moment at which something of it is on the disk
    while process.poll() is None and {one.name for one in folder.iterdir()} == before:
        time.sleep(0.0005)
    process.kill()
    process.wait(10)
    killed = (folder / name).read_bytes() if (folder / name).exists() else None
    (folder / f"{name}.part").touch()
    (folder / f"other-{name}.1.part").touch()
    if killed is not None:
        # it was done before it was killed
        (folder / name).unlink()
    gateway.cli("ledger", *options, str(folder / name))
    assert killed in (None, (folder / name).read_bytes())
    # what was left of it is gone, and nothing else
    assert {one.name for one in folder.iterdir()} == before | {name, f"{name}.part", f"other-{name}.1.part"}


def test_two_copies_of_one_name_that_are_made_at_once_do_not_disturb_each_other(gateway: Gateway) -> None:
    folder = gateway.directory
    command = [sys.executable, "-m", "gateway.cli.main", "ledger", "export", "--out", str(folder / "all.jsonl")]
    for one in [subprocess.Popen([*command, "--config", str(gateway.path)]) for _ in range(3)]:
        assert one.wait(60) == 0
    assert len((folder / "all.jsonl").read_text().splitlines()) == CALLS
    assert not list(folder.glob("*.part*"))


def test_a_copy_that_is_put_back_stays_as_it_is(gateway: Gateway) -> None:
    folder = gateway.directory
    gateway.cli("ledger", "backup", str(folder / "copy.db"))
    copied = (folder / "copy.db").read_bytes()
    for path in (folder / "data").iterdir():
        path.unlink()
    before = sorted(path.name for path in folder.iterdir())
    assert f"put back: {CALLS:,} records" in gateway.cli("ledger", "restore", str(folder / "copy.db")).stdout
    assert (folder / "copy.db").read_bytes() == copied
    assert sorted(path.name for path in folder.iterdir()) == before


def test_records_go_into_a_pipe_that_has_a_name(gateway: Gateway) -> None:
    pipe = gateway.directory / "pipe"
    os.mkfifo(pipe)
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(pipe.read_text().splitlines()), daemon=True)
    reader.start()
    gateway.cli("ledger", "export", "--out", str(pipe))
    reader.join(20)
    assert len({json.loads(line)["request_id"] for line in lines}) == CALLS
    assert pipe.is_fifo()


def test_a_file_of_figures_goes_into_a_pipe_that_has_a_name(gateway: Gateway) -> None:
    pipe = gateway.directory / "pipe"
    os.mkfifo(pipe)
    text: list[str] = []
    reader = threading.Thread(target=lambda: text.append(pipe.read_text()), daemon=True)
    reader.start()
    gateway.cli("export", "openmetrics", "--out", str(pipe))
    reader.join(20)
    assert text[0].endswith("# EOF\n")
    assert pipe.is_fifo()
