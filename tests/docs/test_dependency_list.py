"""Every dependency says what it is for; the locks hold names, versions and hashes, and nothing of a machine."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = ("requirements.lock", "requirements-test.lock")


def named(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9_.-]", one, maxsplit=1)[0].lower() for one in requirements}


def locked(lock: str) -> dict[str, str]:
    lines = (ROOT / lock).read_text().splitlines()
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", "\n".join(lines), re.MULTILINE))


def test_every_dependency_has_a_line_that_says_what_it_is_for() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text()
    told = {name for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)}
    extras = [one for extra in PROJECT["optional-dependencies"].values() for one in extra]
    assert told == named([*PROJECT["dependencies"], *extras])


@pytest.mark.parametrize("lock", [*LOCKS, "requirements-focus.lock"])
def test_a_lock_holds_names_versions_and_hashes_only(lock: str) -> None:
    for line in (ROOT / lock).read_text().splitlines():
        assert re.fullmatch(r"[a-z0-9-]+==[\w.!]+( ; .+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?", line), line


def test_the_locks_pin_everything_that_the_project_names() -> None:
    extras = PROJECT["optional-dependencies"]
    runtime = named([*PROJECT["dependencies"], *(one for name in extras if name != "test" for one in extras[name])])
    assert runtime <= set(locked(LOCKS[0]))
    assert named(extras["test"]) <= set(locked(LOCKS[1]))


def test_both_locks_agree() -> None:
    runtime, test = (locked(lock) for lock in LOCKS)
    assert runtime.items() <= test.items()
