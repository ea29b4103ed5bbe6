"""Which builds of the gateway there are to measure: the sources, and beside them what ``make compile`` made."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMPILED = ROOT / "build" / "compiled"
PACKAGES = ("gateway", "pricing")


def stale() -> str:
    """A module that the compiled build has of another source, or not compiled; empty: there is none."""
    here = {path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    there = {path.relative_to(COMPILED) for package in PACKAGES for path in (COMPILED / package).rglob("*.py")}
    changed = {one for one in here & there if (ROOT / one).read_bytes() != (COMPILED / one).read_bytes()}
    hot = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["spendgate"]["compiled"]
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    chosen = {Path(name.replace(".", "/") + suffix) for name in hot}
    compiled = {path.relative_to(COMPILED) for path in COMPILED.rglob("*" + suffix)}
    return min((str(one) for one in (here ^ there) | changed | (chosen ^ compiled)), default="")


def found() -> dict[str, Path]:
    """A name for each; the first is the one that the bounds are about."""
    if COMPILED.exists() and not stale():
        return {"compiled": COMPILED, "pure Python": ROOT}
    return {"pure Python": ROOT}


def refresh() -> None:
    """Compile where that is possible and needed; else the line that says why not goes to standard error."""
    if not COMPILED.exists() or stale():
        subprocess.run([sys.executable, str(ROOT / "deploy" / "compile.py")])


def told() -> str:
    """Which builds are measured, in a line."""
    if not COMPILED.exists():
        return "Measured: the plain sources. `make compile` makes a compiled build, which is then measured too."
    if old := stale():
        return f"Measured: the plain sources; build/compiled is of other sources ({old}, …): run `make compile`."
    return "Measured: the compiled build, and the plain sources."
