"""Test support is importable by every test."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

HERE = Path(__file__).parent
for folder in (HERE, HERE / "wire", HERE / "ledger", HERE / "prove"):
    sys.path.insert(0, str(folder))

for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)  # whoever runs the tests has a terminal of some width: what tests start has none

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a run that a shell started in the background: what tests start would never hear of Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)


# how long an example takes is the machine's affair, not the code's
settings.register_profile("spendgate", deadline=None)
settings.load_profile("spendgate")


@pytest.fixture(scope="session")
def prove() -> bool:
    """True in ``make prove``: the slow proofs run in full."""
    return os.environ.get("PROVE") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    from support.sharing import long_first

    long_first(items)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from support.sharing import ByFile

    return ByFile(config, log)
