"""Compiles the hot modules into build/compiled: ``make compile``; what has not changed is not compiled again.

The sources are copied to build/sources and built there, so that nothing compiled ever lies among them. ``spendgate``
uses the build while it is of the sources as they are. ``--wheel`` makes a wheel of it in dist/ too.

Where the compiler is gcc it lays the code out by what calls do: see ``layout.py``. ``--fresh`` has that seen anew if
any of the modules has changed, as ``--wheel`` does; else it is enough that most have not. ``SPENDGATE_LAYOUT=0`` leaves
that out, which takes less than half the time: what the code does is the same.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPY = ROOT / "build" / "sources"
COMPILED = ROOT / "build" / "compiled"
COUNTING = ROOT / "build" / "counting"
NEEDED = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
sys.path.insert(0, str(ROOT))

from layout import Layout  # noqa: E402 - beside this file

from gateway.compiled import MANIFEST, PACKAGES, note  # noqa: E402 - found by the line above


def compiler() -> str:
    """The C compiler's program."""
    return (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]


def hot_modules() -> list[str]:
    """The modules to compile."""
    found: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["spendgate"]["compiled"]
    return found


def lacking() -> str:
    """What is not here that compiling needs."""
    if shutil.which(compiler()) is None:
        return f"a C compiler ({compiler()}) is needed; nothing was compiled, the plain package works without"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return "Python's headers (Python.h) are needed; nothing was compiled, the plain package works without"
    if importlib.util.find_spec("Cython") is None:
        return "Cython is needed: pip install cython"
    return ""


def run(*words: str, profile: str) -> None:
    env = {**os.environ, "SPENDGATE_COMPILE": "1", "SPENDGATE_PROFILE": profile}
    done = subprocess.run([sys.executable, *words], cwd=COPY, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"compile: {(done.stderr or done.stdout)[-3000:].strip()}")


def mirror(source: Path, target: Path, *, keep: str = "") -> None:
    """Make the packages below ``target`` those below ``source``; what is the same stays untouched. ``keep``: how the
    names of files end that ``target`` has beside them."""
    for package in PACKAGES:
        here = {path.relative_to(source) for path in (source / package).rglob("*") if path.is_file()}
        here = {path for path in here if "__pycache__" not in path.parts}
        for old in (target / package).rglob("*"):
            if old.is_file() and old.relative_to(target) not in here and not (keep and old.name.endswith(keep)):
                old.unlink()
        for path in here:
            fresh, old = source / path, target / path
            if not old.exists() or old.stat().st_mtime_ns != fresh.stat().st_mtime_ns:
                old.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(fresh, old)


def build(target: Path, profile: str) -> None:
    """Make the packages with their compiled modules in ``target``."""
    target.mkdir(parents=True, exist_ok=True)
    run("setup.py", "-q", "build_ext", "--build-lib", str(target), profile=profile)
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    chosen = {target / (name.replace(".", "/") + suffix) for name in hot_modules()}
    for old in set(target.rglob("*" + suffix)) - chosen:
        old.unlink()
    mirror(ROOT, target, keep=suffix)


def main() -> int:
    if missing := lacking():
        print(f"compile: {missing}", file=sys.stderr)
        return 1
    COPY.mkdir(parents=True, exist_ok=True)
    (COMPILED / MANIFEST).unlink(missing_ok=True)
    for name in NEEDED:
        shutil.copy2(ROOT / name, COPY)
    mirror(ROOT, COPY)
    layout = Layout(ROOT / "build", COPY, compiler(), hot_modules())
    wanted = os.environ.get("SPENDGATE_LAYOUT") != "0"
    if wanted and layout.is_stale(any_change=bool({"--fresh", "--wheel"} & set(sys.argv[1:]))):
        layout.take(lambda: build(COUNTING, "make"), COUNTING)
        shutil.rmtree(COMPILED, ignore_errors=True)
    profile = "use" if wanted and layout.taken else ""
    build(COMPILED, profile)
    note(ROOT, COMPILED)
    print(f"compiled: {len(hot_modules())} modules in {COMPILED.relative_to(ROOT)}")
    if "--wheel" in sys.argv[1:]:
        words = ("wheel", "--no-build-isolation", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-input")
        run("-m", "pip", *words, "--wheel-dir", str(ROOT / "dist"), ".", profile=profile)
        print(f"a wheel in {(ROOT / 'dist').relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
