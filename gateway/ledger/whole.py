"""Files that are there as a whole or not at all, however the process ends that writes them."""

from __future__ import annotations

import fcntl
import glob
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_LEFT = re.compile(r"\.\d+\.part")


@contextmanager
def part_beside(path: Path) -> Iterator[Path]:
    """An empty file beside ``path``, for what is to be moved there once it is whole. What others that were killed left
    of this file is removed.

    An ``OSError`` that is raised names ``path``.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        _clear(path)
        with _held(part):
            try:
                yield part
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        if error.filename == str(part):
            error.filename = str(path)
        raise


def _held(part: Path) -> IO[bytes]:
    """Make the file, and hold it as long as it is open: so others know that somebody still writes it."""
    while True:
        file = part.open("xb")
        # where files can't be locked, nobody clears them either
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        # it was taken for one that was left, before it was held
        file.close()


def _clear(path: Path) -> None:
    """Remove parts that nobody holds any more, each with the journal that SQLite left of it."""
    for part in path.parent.glob(f"{glob.escape(path.name)}.*.part"):
        if not _LEFT.fullmatch(part.name, len(path.name)):
            continue
        with suppress(OSError), part.open("rb") as left:
            fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.with_name(f"{part.name}-journal").unlink(missing_ok=True)
            part.unlink()
