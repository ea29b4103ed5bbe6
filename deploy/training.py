"""What a gateway does whose compiled modules count how often each branch is taken: the calls that most gateways see.

Used by ``deploy/compile.py``. The counts are written when the gateway ends.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

BENCH = Path(__file__).parents[1] / "bench"
sys.path.insert(0, str(BENCH))

from proxying import contenders, machine  # noqa: E402 - found by the line above
from proxying.load import Plan  # noqa: E402
from proxying.rounds import bodies  # noqa: E402

PLANS = (
    {"body": "plain", "calls": 12_000, "in_flight": 32},
    {"body": "plain", "calls": 6_000, "in_flight": 256},
    {"body": "plain", "calls": 300, "in_flight": 1},
    {"body": "stream", "calls": 100, "in_flight": 50, "stream": True},
    {"body": "100k", "calls": 300, "in_flight": 8},
)

PATIENCE_SECONDS = 120
"""For the calls of one plan, which take some five."""


def train(source: Path) -> None:
    """Have the gateway whose packages lie in ``source`` answer calls. Raises ``OSError``, ``SubprocessError``, or
    ``SystemExit`` with what went wrong."""
    everywhere = set(machine.cores())
    with tempfile.TemporaryDirectory(prefix="spendgate-train-") as name:
        folder = Path(name)
        written, port = bodies(folder), contenders.free_port()
        provider = [sys.executable, str(BENCH / "proxying" / "provider.py"), str(port)]
        with (
            contenders.process(provider, port, folder / "provider.log", everywhere),
            contenders.gateway("trained", source, folder, port, everywhere) as one,
        ):
            for plan in PLANS:
                told = Plan(one.port, one.path, list(one.keys), **{**plan, "body": str(written[plan["body"]])})
                command = [sys.executable, str(BENCH / "proxying" / "load.py"), json.dumps(asdict(told))]
                done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
                if done.returncode or json.loads(done.stdout)["bad"]:
                    raise SystemExit(f"the calls went wrong: {(done.stderr or done.stdout)[-300:]}")
