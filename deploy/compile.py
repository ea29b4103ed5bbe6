"""Makes a wheel whose hot modules are compiled, in dist/, and unpacks it in build/compiled: ``make compile``.

The sources are copied first and built there, so that nothing compiled ever lies among them.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMPILED = ROOT / "build" / "compiled"
NEEDED = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
PACKAGES = ("gateway", "pricing")


def lacking() -> str:
    """What is not here that compiling needs."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(os.environ.get("CC", compiler).split()[0]) is None:
        return f"a C compiler ({compiler}) is needed; nothing was compiled, the plain package works without"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return "Python's headers (Python.h) are needed; nothing was compiled, the plain package works without"
    if importlib.util.find_spec("Cython") is None:
        return "Cython is needed: pip install cython"
    return ""


def pip(*words: str, **env: str) -> None:
    command = [sys.executable, "-m", "pip", *words, "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"compile: {(done.stderr or done.stdout)[-3000:].strip()}")


def wheel(folder: Path) -> Path:
    """Build it from a copy in ``folder``."""
    copy, made = folder / "sources", folder / "wheel"
    copy.mkdir()
    for name in NEEDED:
        shutil.copy(ROOT / name, copy)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip("wheel", "--no-build-isolation", "--wheel-dir", str(made), str(copy), SPENDGATE_COMPILE="1")
    (found,) = made.glob("*.whl")
    return found


def main() -> int:
    if missing := lacking():
        print(f"compile: {missing}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="spendgate-compile-") as name:
        built = wheel(Path(name))
        dist = ROOT / "dist"
        dist.mkdir(exist_ok=True)
        kept = Path(shutil.copy(built, dist))
        shutil.rmtree(COMPILED, ignore_errors=True)
        pip("install", "--target", str(COMPILED), str(kept))
    print(f"{kept.relative_to(ROOT)}; unpacked in {COMPILED.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
