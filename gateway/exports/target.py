"""Where files go: a directory, or whatever fsspec reaches. A file appears there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol


class TargetError(Exception):
    """The files can't go there. One line for a person."""


class Target(Protocol):
    def exists(self, name: str) -> bool:
        """Whether a file of this name is there."""
        ...

    def put(self, made: Path, name: str) -> None:
        """Take a finished file; it is gone from where it was made. Takes the place of a file of the same name."""
        ...


class Directory:
    """A directory of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def exists(self, name: str) -> bool:
        return (self._path / name).exists()

    def put(self, made: Path, name: str) -> None:
        self._path.mkdir(parents=True, exist_ok=True)
        part = self._path / f".{name}.part"
        if made.stat().st_dev == self._path.stat().st_dev:
            made.replace(part)
        else:
            with made.open("rb") as source, part.open("wb") as out:
                while piece := source.read(1 << 20):
                    out.write(piece)
                out.flush()
                os.fsync(out.fileno())
            made.unlink()
        part.replace(self._path / name)
        folder = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Remote:
    """A folder that fsspec reaches."""

    def __init__(self, url: str, options: dict[str, str]) -> None:
        try:
            import fsspec  # type: ignore[import-untyped, unused-ignore]
        except ModuleNotFoundError as error:
            raise TargetError(f"{url} needs fsspec: pip install 'spendgate[remote]'") from error
        try:
            self._fs: Any
            self._fs, self._folder = fsspec.core.url_to_fs(url, **options)
        except (ImportError, ValueError) as error:
            raise TargetError(f"{url}: {error}") from error

        self._url = url

    def exists(self, name: str) -> bool:
        with self._told():
            return bool(self._fs.exists(f"{self._folder}/{name}"))

    def put(self, made: Path, name: str) -> None:
        part = f"{self._folder}/{name}.part"
        with self._told():
            self._fs.makedirs(self._folder, exist_ok=True)
            self._fs.put_file(str(made), part)
            self._fs.mv(part, f"{self._folder}/{name}")
        made.unlink()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What goes wrong, in a line."""
        try:
            yield
        except Exception as error:  # each store's package has errors of its own
            text = " ".join(str(error).split())[:300] or type(error).__name__
            raise TargetError(f"{self._url}: {text}") from error


def target_of(to: str, base: Path, options: dict[str, str]) -> Target:
    """The target that a configuration names. Raises ``TargetError``."""
    return Remote(to, options) if "://" in to else Directory(base / to)
