"""Test support is importable by every test."""

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
for folder in (HERE, HERE / "wire", HERE / "ledger", HERE / "prove"):
    sys.path.insert(0, str(folder))


@pytest.fixture(scope="session")
def prove() -> bool:
    """True in ``make prove``: the slow proofs run in full."""
    return os.environ.get("PROVE") == "1"
