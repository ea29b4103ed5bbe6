"""The compiled build is the sources and nothing else: it is left out where it can't be made, and behaves the same."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.gateway import Gateway

from gateway.compiled import PLAIN, is_current, note

ROOT = Path(__file__).parents[2]
COMPILE = ROOT / "deploy" / "compile.py"
sys.path.insert(0, str(COMPILE.parent))

import layout  # noqa: E402 - found by the line above

BUILT = ROOT / "build" / "compiled"
MODULES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["spendgate"]["compiled"]
SUITES = ("tests/e2e", "tests/server", "tests/quota", "tests/ledger", "tests/wire", "tests/hostile", "tests/prove")


def test_each_module_that_is_to_be_compiled_exists_once() -> None:
    assert len(MODULES) == len(set(MODULES)) > 30
    for name in MODULES:
        assert (ROOT / (name.replace(".", "/") + ".py")).exists(), name


def test_nothing_compiled_lies_among_the_sources() -> None:
    for package in ("gateway", "pricing"):
        found = [path for kind in ("*.so", "*.c", "*.pyd") for path in (ROOT / package).rglob(kind)]
        assert not found


def test_without_a_compiler_one_line_says_so() -> None:
    env = {**os.environ, "CC": "no-such-compiler"}
    done = subprocess.run([sys.executable, str(COMPILE)], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert re.fullmatch(r"compile: a C compiler \(.+\) is needed; .+\n", done.stderr)


def test_a_plain_build_compiles_nothing(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for package in ("gateway", "pricing"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", "made", "."]
    env = {name: value for name, value in os.environ.items() if name != "SPENDGATE_COMPILE"}
    subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True, timeout=120)
    (made,) = (tmp_path / "made").glob("*.whl")
    assert made.name.endswith("-py3-none-any.whl")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A work tree with a build: one module is another there."""
    for package in ("gateway", "pricing"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(tmp_path / package, tmp_path / "build" / "compiled" / package)
    (tmp_path / "build" / "compiled" / "gateway" / "cli" / "serve.py").touch()
    other = tmp_path / "build" / "compiled" / "gateway" / "app.py"
    other.write_text("raise OSError('compiled')")
    note(tmp_path, tmp_path / "build" / "compiled")
    return tmp_path


def served_by(tree: Path, **env: str) -> str:
    """What ``spendgate serve`` says in a tree."""
    command = [sys.executable, "-m", "gateway.cli.main", "serve", "--config", "none.toml"]
    done = subprocess.run(command, cwd=tree, env={**os.environ, **env}, capture_output=True, text=True, timeout=60)
    return done.stderr


def test_a_build_of_the_sources_as_they_are_is_used(tree: Path) -> None:
    assert served_by(tree) == "spendgate: compiled\n"


def test_without_it_or_when_told_so_the_sources_run(tree: Path) -> None:
    assert "none.toml" in served_by(tree, SPENDGATE_PLAIN="1")
    (tree / "build" / "compiled" / "sources.json").unlink()
    assert "none.toml" in served_by(tree)


@pytest.mark.parametrize("changed", ["gateway/near.py", "pricing/money.py", "gateway/exchange.pxd"])
def test_a_build_of_other_sources_is_not_used(tree: Path, changed: str) -> None:
    with (tree / changed).open("a") as source:
        source.write("\n")
    assert "none.toml" in served_by(tree)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
@pytest.mark.parametrize("fresh", [True, False])
def test_gateways_of_tests_run_the_build_where_it_is_of_the_sources(tmp_path: Path, fresh: bool) -> None:
    with Gateway(tmp_path, '[providers.simulated]\nkind = "simulated"\n', fresh=fresh) as gateway:
        assert gateway.process is not None
        loaded = Path(f"/proc/{gateway.process.pid}/maps").read_text()
    preferred = is_current(ROOT, BUILT) and not os.environ.get(PLAIN)
    assert (f"{BUILT}/gateway/exchange." in loaded) == preferred


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What ``build/sources`` holds: sixteen modules."""
    made = tmp_path / "sources"
    (made / "gateway").mkdir(parents=True)
    (made / "setup.py").write_text("flags")
    for name in NAMES:
        (made / (name.replace(".", "/") + ".py")).write_text("same = 1")
    return made


NAMES = [f"gateway.part{number}" for number in range(16)]


def seen(copy: Path) -> Any:
    """What a run of ``deploy/compile.py`` knows of the counts."""
    return layout.Layout(copy.parent, copy, shutil.which("gcc") or pytest.skip("no gcc"), NAMES)


def counts(copy: Path) -> Callable[[Path], None]:
    return lambda built: (copy / "one.gcda").touch()


def change(copy: Path, modules: int) -> None:
    for name in NAMES[:modules]:
        (copy / (name.replace(".", "/") + ".py")).write_text("other = 1")


def test_calls_are_counted_once_and_again_after_changes(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "train", counts(copy))
    first = seen(copy)
    assert first.is_stale(any_change=False)
    assert not first.taken
    first.take(lambda: None, copy.parent / "counting")
    assert first.taken
    assert seen(copy).taken
    assert not seen(copy).is_stale(any_change=True)
    change(copy, 4)
    assert seen(copy).is_stale(any_change=True)
    assert not seen(copy).is_stale(any_change=False)
    assert seen(copy).taken
    change(copy, 5)
    assert seen(copy).is_stale(any_change=False)


def test_other_flags_make_other_counts(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "train", counts(copy))
    seen(copy).take(lambda: None, copy.parent / "counting")
    (copy / "setup.py").write_text("other flags")
    assert seen(copy).is_stale(any_change=False)
    assert not seen(copy).taken


def test_where_calls_go_wrong_one_line_says_so_and_it_is_not_tried_each_time(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(built: Path) -> None:
        raise SystemExit("the gateway is not ready")

    monkeypatch.setattr(layout, "train", wrong)
    (copy / "old.gcda").touch()
    found = seen(copy)
    found.take(lambda: None, copy.parent / "counting")
    assert not found.taken
    assert not seen(copy).is_stale(any_change=True)
    change(copy, 1)
    assert seen(copy).is_stale(any_change=False)
    assert capsys.readouterr().err == ("compile: the code is not laid out by what calls do: the gateway is not ready\n")


def test_the_build_that_tests_use_is_laid_out_by_what_calls_do() -> None:
    if not (BUILT / "sources.json").exists() or shutil.which("gcc") is None or sys.platform != "linux":
        pytest.skip("no compiled build, or not by gcc on Linux")
    if os.environ.get("SPENDGATE_LAYOUT") == "0":
        pytest.skip("SPENDGATE_LAYOUT=0")
    assert json.loads((ROOT / "build" / "layout.json").read_text())["counted"]


@pytest.mark.prove
def test_the_compiled_build_passes_the_same_tests(prove: bool) -> None:
    if not prove:
        pytest.skip("compiles, then runs whole suites: in make prove only")
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    subprocess.run([sys.executable, str(COMPILE)], check=True, timeout=900)
    env = {**os.environ, "PYTHONPATH": str(BUILT), "PYTHONSAFEPATH": "1", "SPENDGATE_PLAIN": "1"}
    asked = f"import importlib as i\nfor name in {MODULES!r}: print(i.import_module(name).__file__)"
    told = subprocess.run([sys.executable, "-c", asked], env=env, capture_output=True, text=True, check=True, cwd=ROOT)
    assert all(line.startswith(str(BUILT)) and line.endswith(".so") for line in told.stdout.splitlines())
    assert len(told.stdout.splitlines()) == len(MODULES)
    env["PROVE"] = ""
    done = subprocess.run([sys.executable, "-m", "pytest", "-x", *SUITES], env=env, cwd=ROOT, timeout=3000)
    assert done.returncode == 0
