"""SIGHUP that comes before a gateway can reload waits until it can, instead of ending the process.

A gateway may be asked to reload as soon as it is started: by a service manager, or while it waits for another one to
drain and let go of the data directory.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable


def hold() -> None:
    """From now on the kernel keeps the signal for this process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def answer(loop: asyncio.AbstractEventLoop, reload: Callable[[], object]) -> None:
    """Call ``reload`` at each, one that was kept included."""
    loop.add_signal_handler(signal.SIGHUP, reload)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
