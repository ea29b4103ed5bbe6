"""Which builds of the gateway there are to measure: the sources, and beside them what ``make compile`` made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMPILED = ROOT / "build" / "compiled"
sys.path.insert(0, str(ROOT))

from gateway.compiled import is_current  # noqa: E402 - found by the line above


def found() -> dict[str, Path]:
    """A name for each; the first is the one that the bounds are about."""
    if is_current(ROOT, COMPILED):
        return {"compiled": COMPILED, "pure Python": ROOT}
    return {"pure Python": ROOT}


def refresh() -> None:
    """Compile where that is possible and needed; else the line that says why not goes to standard error."""
    subprocess.run([sys.executable, str(ROOT / "deploy" / "compile.py"), "--fresh"])


def told() -> str:
    """Which builds are measured, in a line."""
    if is_current(ROOT, COMPILED):
        return "Measured: the compiled build, and the plain sources."
    what = "is of other sources" if COMPILED.exists() else "is not there"
    return f"Measured: the plain sources; the compiled build {what}: run `make compile`."
