"""Known weaknesses of the packages that run, by pip-audit. ``python deploy/audit.py`` (part of ``make check``).

Its data is the package index's own: where that can't be had, one line says so and nothing fails.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PATIENCE = 90
COMMAND = "pip_audit --requirement requirements.lock --disable-pip --no-deps --progress-spinner off --format json"


def report(text: str) -> tuple[int, list[str]]:
    """Exit code and lines of what pip-audit answered."""
    try:
        dependencies: list[dict[str, Any]] = json.loads(text)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return 0, ["audit: skipped, its data can't be had here"]
    looked = [one for one in dependencies if "skip_reason" not in one]
    if not looked:
        return 0, ["audit: skipped, its data can't be had here"]
    found = [
        f"audit: {one['name']} {one['version']}: {weak['id']}, mended in {' '.join(weak['fix_versions']) or 'none'}"
        for one in looked
        for weak in one["vulns"]
    ]
    left = len(dependencies) - len(looked)
    told = f"audit: {len(looked)} packages looked up" + (f", {left} unknown to the index" if left else "")
    return (1, found) if found else (0, [f"{told}: nothing known against them"])


def main() -> int:
    """Run it."""
    command = [sys.executable, "-m", *COMMAND.split()]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
        text = done.stdout
    except subprocess.TimeoutExpired:
        text = ""
    code, lines = report(text)
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
