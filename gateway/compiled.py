"""The compiled build of a work tree (``make compile``), used where it is of the sources as they are now.

An installed package holds its compiled modules itself and needs none of this.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

PACKAGES = ("gateway", "pricing")
KINDS = (".py", ".pxd", ".pyx", ".h")
PLAIN = "SPENDGATE_PLAIN"
"""Set in the environment: the sources are used."""
MANIFEST = "sources.json"


class Made(msgspec.Struct):
    """What a build was made of."""

    python: str
    sources: dict[str, tuple[int, int]]
    """Path below the tree → size, and when it was changed, in nanoseconds."""


def sources_of(tree: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """All sources below a tree, as they are now."""
    for package in PACKAGES:
        for folder, _, names in os.walk(tree / package):
            for name in names:
                if name.endswith(KINDS):
                    path = os.path.join(folder, name)
                    found = os.stat(path)
                    yield os.path.relpath(path, tree), (found.st_size, found.st_mtime_ns)


def note(tree: Path, built: Path) -> None:
    """Write down what the build in ``built`` was made of."""
    made = Made(sys.implementation.cache_tag, dict(sources_of(tree)))
    (built / MANIFEST).write_bytes(msgspec.json.encode(made))


def is_current(tree: Path, built: Path) -> bool:
    """Whether the build in ``built`` is for this Python, and of the sources as they are now."""
    try:
        made = msgspec.json.decode((built / MANIFEST).read_bytes(), type=Made)
    except (OSError, ValueError):
        return False
    return made.python == sys.implementation.cache_tag and made.sources == dict(sources_of(tree))


def prefer() -> bool:
    """From now on modules are imported from the compiled build, where it is current. Called before any other is."""
    tree = Path(__file__).resolve().parents[1]
    built = tree / "build" / "compiled"
    if os.environ.get(PLAIN) or not is_current(tree, built):
        return False
    for package in PACKAGES:
        importlib.import_module(package).__path__.insert(0, str(built / package))
    return True
