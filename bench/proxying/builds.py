"""Which builds of the gateway there are to measure: the sources, and beside them what ``make compile`` made."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
COMPILED = ROOT / "build" / "compiled"
PACKAGES = ("gateway", "pricing")


def stale(compiled: Path = COMPILED) -> list[str]:
    """Modules whose source is not the one that was compiled."""
    here = {path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    there = {path.relative_to(compiled) for package in PACKAGES for path in (compiled / package).rglob("*.py")}
    changed = [one for one in here & there if (ROOT / one).read_bytes() != (compiled / one).read_bytes()]
    return sorted(str(one) for one in [*(here ^ there), *changed])


def found() -> dict[str, Path]:
    """A name for each; the first is the one that the bounds are about."""
    if COMPILED.exists() and not stale():
        return {"compiled": COMPILED, "pure Python": ROOT}
    return {"pure Python": ROOT}


def told() -> str:
    """Which builds are measured, in a line."""
    if not COMPILED.exists():
        return "Measured: the plain sources. `make compile` makes a compiled build, which is then measured too."
    if old := stale():
        return f"Measured: the plain sources; build/compiled is of other sources ({old[0]}, …): run `make compile`."
    return "Measured: the compiled build, and the plain sources."
