"""Who may write to a ledger that several processes of one gateway share: one after the other.

SQLite's own lock is polled by those who wait for it; a file's lock is handed on the moment it is free.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Protocol

SLOT_BITS = 40
"""The number of an open entry is ``slot << 40 | count``: it tells which process is to settle it."""


class Turns(Protocol):
    def try_enter(self) -> bool:
        """Take the turn, where it is free now."""
        ...

    def enter(self) -> None:
        """Wait for the turn; never called by the event loop."""
        ...

    def leave(self) -> None:
        """Let the next one write; nothing happens where the turn is not held."""
        ...


class Alone:
    """No other process writes: it is always our turn."""

    def try_enter(self) -> bool:
        return True

    def enter(self) -> None:
        return

    def leave(self) -> None:
        return


class SharedTurns:
    """The lock of a file beside the ledger. The system lets go of it when its process ends, however it ends."""

    def __init__(self, ledger: Path) -> None:
        """Raises ``OSError`` where the file can't be made."""
        path = ledger.with_name(f"{ledger.name}.turn")
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def try_enter(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def enter(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def leave(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._fd)


def slot_range(slot: int) -> tuple[int, int]:
    """The numbers of a slot's open entries: from the first up to the second."""
    return slot << SLOT_BITS, (slot + 1) << SLOT_BITS
