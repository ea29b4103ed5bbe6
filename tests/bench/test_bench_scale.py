"""The benches of docs/performance.md's "How it grows" work; how long anything takes is not asked."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def printed(name: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, str(BENCH / name), *arguments], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_streams_are_begun_at_once_and_none_is_lost() -> None:
    rows = [line.strip("| ").split(" | ") for line in printed("streams.py", "30", "3").splitlines() if "|" in line]
    named = {row[0]: row[1:] for row in rows[2:]}
    assert len(named) == 2
    for lost, events, *_ in named.values():
        # the last event of each stream is the provider's own and says no time
        assert (lost, events) == ("0", "60")


def test_many_keys_are_checked_served_and_called() -> None:
    out = printed("keys.py", "200", "20", "0.1")
    for what in ("checked in", "serving after"):
        assert re.search(rf"^{what} [\d.]+ s", out, re.M), out
    assert len(re.findall(r"^CPU µs a call, .*: [\d.]+$", out, re.M)) == 3, out
