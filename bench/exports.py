"""What a FOCUS file costs: CPU and memory of writing three months of generated calls.

    .venv/bin/python bench/exports.py [CALLS]

A ledger of ``CALLS`` (default 300,000) calls over 92 days, six workflows of four teams, five models; every file by a
process of its own, as the command does it.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.history import history, write

END = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 10**9
CONFIG = """
[server]
data_dir = "{0}"
[providers.openai]
kind = "openai"
[providers.anthropic]
kind = "anthropic"
[providers.gemini]
kind = "gemini"
"""
COMMANDS = {
    "FOCUS, CSV, by day": ("focus", "--out", "day.csv"),
    "FOCUS, CSV, by hour": ("focus", "--grain", "hour", "--out", "hour.csv"),
    "FOCUS, Parquet, by day": ("focus", "--format", "parquet", "--out", "day.parquet"),
    "OpenMetrics": ("openmetrics", "--out", "past.om"),
}


def main() -> int:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.toml").write_text(CONFIG.format(folder))
        write(folder / "ledger.db", history(END, 92, calls))
        print(f"{calls:,} calls over 92 days")
        print("| file | CPU s | µs a call | MB | peak memory MB |\n| --- | --- | --- | --- | --- |")
        for title, words in COMMANDS.items():
            command = [sys.executable, "-m", "gateway.cli.main", "export", *words]
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            started = time.monotonic()
            period = ("--since", "2026-08-01", "--until", "2026-11-01")
            subprocess.run([*command, *period, "--config", "config.toml"], cwd=folder, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            size = (folder / words[-1]).stat().st_size / 1e6
            # the highest of all children so far: a later one may have needed less
            peak = after.ru_maxrss / 1000
            print(f"| {title} | {spent:.1f} | {spent / calls * 1e6:.0f} | {size:.1f} | ≤ {peak:.0f} |", flush=True)
            print(f"  {time.monotonic() - started:.1f} s by the clock", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
