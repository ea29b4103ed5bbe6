"""One gateway for a data directory, and for a ledger: locks that the system lets go of when the process ends, however
it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class AlreadyRunning(Exception):  # noqa: N818 - said in one line to a person
    """Another gateway uses this data directory, or this ledger."""


class DirectoryLock:
    """Held from ``acquire`` until ``release`` or the end of the process. ``ledger``: the ledger's file, which may lie
    outside of the directory: another gateway may name it too, with a directory of its own."""

    def __init__(self, directory: Path, ledger: Path | None = None) -> None:
        self._wanted = [(directory / "spendgate.lock", f"the data directory {directory}")]
        if ledger is not None:
            # however it is named: a link leads to the same file
            path = ledger.resolve()
            self._wanted.append((path.with_name(f"{path.name}.lock"), f"the ledger {ledger}"))
        self._fds: list[int] = []

    def acquire(self) -> None:
        """Raises ``AlreadyRunning``, or ``OSError`` where a directory can't be written; nothing is held then."""
        try:
            for path, what in self._wanted:
                self._fds.append(_locked(path, what))
        except BaseException:
            self.release()
            raise

    @property
    def fds(self) -> tuple[int, ...]:
        """To be handed to processes of the same gateway: the directory is free when all of them have ended."""
        assert self._fds
        return tuple(self._fds)

    def release(self) -> None:
        while self._fds:
            os.close(self._fds.pop())


def _locked(path: Path, what: str) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        why = "is no directory" if isinstance(error, FileExistsError) else error.strerror or str(error)
        raise OSError(error.errno, f"{what} can't be used: {error.filename}: {why}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise AlreadyRunning(
            f"another gateway (process {pid}) uses {what}: stop it first, "
            "or give this one a server.data_dir and ledger.url of its own"
        ) from error
    os.ftruncate(fd, 0)
    os.pwrite(fd, str(os.getpid()).encode(), 0)
    return fd
