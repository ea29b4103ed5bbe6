"""Test support is importable by every test."""

import os
import signal
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
for folder in (HERE, HERE / "wire", HERE / "ledger", HERE / "prove"):
    sys.path.insert(0, str(folder))


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a run that a shell started in the background: what tests start would never hear of Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def prove() -> bool:
    """True in ``make prove``: the slow proofs run in full."""
    return os.environ.get("PROVE") == "1"
