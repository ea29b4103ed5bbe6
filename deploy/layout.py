"""Which branches calls take: counted while a gateway answers some, so that the compiler lays the code out by it.

A call passes some hundred thousand instructions of compiled modules, most of them once: what it costs is how much of
that is in the processor's caches. Code that calls do not pass is set apart, and what follows each other lies together.
gcc alone, on Linux; elsewhere, and where the calls go wrong, the modules are compiled without.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from training import train

TOLERATED = 4
"""A layout is good enough while no more than one module in so many has changed since."""


class Layout:
    """What was counted in ``build``; the modules were compiled in ``copy``, by ``compiler``."""

    def __init__(self, build: Path, copy: Path, compiler: str, modules: list[str]) -> None:
        self._note = build / "layout.json"
        self._copy = copy
        self._possible = sys.platform == "linux" and _is_gcc(compiler)
        how = _hash(copy / "setup.py", *copy.glob("gateway/*.h"))
        # the path too: modules that count know where to write
        self._for = [str(copy), sys.implementation.cache_tag, _version(compiler), how]
        self._modules = {name: _hash(*copy.glob(name.replace(".", "/") + ".p[xy]*")) for name in modules}
        try:
            self._known = json.loads(self._note.read_text())
        except (OSError, ValueError):
            self._known = {}

    @property
    def taken(self) -> bool:
        """Whether there are counts to compile by."""
        return self._possible and self._known.get("for") == self._for and bool(self._known["counted"])

    def is_stale(self, *, any_change: bool) -> bool:
        """Whether calls should be counted (again)."""
        if not self._possible:
            return False
        if self._known.get("for") != self._for:
            return True
        known = self._known["modules"]
        changed = sum(known.get(name) != found for name, found in self._modules.items())
        # where it went wrong the last time, what has changed may be why
        return changed > (0 if any_change or not self._known["counted"] else len(self._modules) // TOLERATED)

    def take(self, build: Callable[[], None], built: Path) -> None:
        """Count anew. ``build`` makes the modules that count, in ``built``."""
        self._note.unlink(missing_ok=True)
        if self._known.get("for") != self._for:
            shutil.rmtree(built, ignore_errors=True)
        for old in self._copy.rglob("*.gcda"):
            old.unlink()
        try:
            build()
            train(built)
            counted = next(self._copy.rglob("*.gcda"), None) is not None
        except (OSError, subprocess.SubprocessError, SystemExit) as error:
            # it is not tried again before something changes
            print(f"compile: the code is not laid out by what calls do: {error}", file=sys.stderr)
            counted = False
        self._known = {"for": self._for, "modules": self._modules, "counted": counted}
        self._note.write_text(json.dumps(self._known))


def _version(compiler: str) -> str:
    return subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout


def _is_gcc(compiler: str) -> bool:
    return "Free Software Foundation" in _version(compiler)


def _hash(*paths: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(paths))).hexdigest()
