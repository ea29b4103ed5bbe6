"""``make bench`` works and prints each figure of docs/performance.md; how long anything takes is not asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEASURED = (
    "CPU µs a call, 32 in flight",
    "calls/s on one core, 32 in flight",
    "CPU µs a call, 256 in flight",
    "calls/s on one core, 256 in flight",
    "CPU µs an SDK's call, 32 in flight",
    "CPU µs an SSE chunk",
    "CPU µs a body of 100 kB",
    "CPU µs a body of 1 MB",
    "p50 at 30 % load, ms",
    "p99 at 30 % load, ms",
    "first byte p50, ms",
    "MiB after few calls",
    "MiB after many calls",
    "CPU µs a call, 1 worker on a core",
    "calls/s, 1 worker on a core",
    "CPU µs a call, 1 worker",
    "calls/s, 1 worker",
    "CPU µs a call, 2 workers",
    "calls/s, 2 workers",
)
BOUNDED = {
    "CPU a call ÷ bare asyncio, 32 in flight": "2.2",
    "CPU a call ÷ bare aiohttp, 32 in flight": "0.5",
    "CPU a call ÷ bare asyncio, 256 in flight": "1.7",
    "CPU a call ÷ bare aiohttp, 256 in flight": "0.5",
    "CPU an SDK's call ÷ bare asyncio, 32 in flight": "-",
    "CPU an SSE chunk ÷ bare asyncio": "1.2",
    "CPU of a 100 kB body ÷ nginx": "2",
    "CPU of a 100 kB body ÷ bare asyncio": "-",
    "CPU of a 1 MB body ÷ nginx": "-",
    "CPU of a 1 MB body ÷ bare asyncio": "-",
    "added p99 at 30 % load, ms": "-",
    "added to a stream's first byte, p50, ms": "-",
    "memory after 128 calls ÷ after 64": "1.05",
    "CPU a call, 2 workers ÷ 1 on the same cores": "1.15",
    "CPU a call, 2 workers ÷ 1 on the same cores, beside bare asyncio's": "-",
    "CPU a call, 2 workers ÷ 1 on a core of its own": "1.15",
    "CPU a call, 2 workers ÷ 1 on a core of its own, beside bare asyncio's": "-",
}


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_each_figure_is_measured_beside_its_peers_and_its_bound() -> None:
    command = [sys.executable, str(ROOT / "bench" / "run.py"), "--smoke"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    rows = {cells[0]: cells[1:] for cells in (line_cells(line) for line in done.stdout.splitlines()) if cells}
    head = rows["measured"]
    assert "pure Python" in head
    assert head[-2:] == ["aiohttp", "direct"] or head[-3:] == ["aiohttp", "nginx", "direct"]
    for what in MEASURED:
        assert rows[what][0] != "-", what
    for title, most in BOUNDED.items():
        assert rows[title][-1] == most, title
    assert float(rows["added p50 at 30 % load, ms"][-1]) > 1
    for path in (ROOT / "bench").glob("*.py"):
        assert path.name == "run.py" or f"bench/{path.name} " in done.stdout


def line_cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("| ") else []


def test_the_documents_figures_are_those_that_the_bench_prints() -> None:
    text = (ROOT / "docs" / "performance.md").read_text().split("<!-- figures -->")[1].split("<!-- end -->")[0]
    titles = {cells[0] for cells in map(line_cells, text.splitlines()) if cells}
    counted = "memory after 1,000,000 calls ÷ after 10,000"
    wanted = {*MEASURED, *BOUNDED, "added p50 at 30 % load, ms", "measured", "ratio within the run", counted}
    assert {title for title in titles if title.strip("-")} == wanted - {"memory after 128 calls ÷ after 64"}
