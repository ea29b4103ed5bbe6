"""One gateway for a data directory: a lock that the system lets go of when the process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class AlreadyRunning(Exception):  # noqa: N818 - said in one line to a person
    """Another gateway uses this data directory."""


class DirectoryLock:
    """Held from ``acquire`` until ``release`` or the end of the process."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "spendgate.lock"
        self._fd: int | None = None

    def acquire(self) -> None:
        """Raises ``AlreadyRunning``, or ``OSError`` where the directory can't be written."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise AlreadyRunning(
                f"another gateway (process {pid}) uses the data directory {self._path.parent}: stop it first, "
                "or give this one a server.data_dir and ledger.url of its own"
            ) from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        self._fd = fd

    @property
    def fd(self) -> int:
        """To be handed to processes of the same gateway: the directory is free when all of them have ended."""
        assert self._fd is not None
        return self._fd

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
