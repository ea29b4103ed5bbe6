"""Listening sockets that somebody else holds open: systemd's socket activation, or any program that does as it does.

A socket outlives the process that serves it: while one gateway drains and the next takes over, clients wait in its
queue and none is refused. Names (``LISTEN_FDNAMES``) are ``data`` and ``admin``; without names, in this order.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import MutableMapping

from gateway.ledger.single import AlreadyRunning, DirectoryLock

FIRST_FD = 3
NAMES = ("data", "admin")
POLL_SECONDS = 0.02
GRACE_SECONDS = 15.0
"""What a predecessor may need beyond its drain time."""


def inherited(environ: MutableMapping[str, str], pid: int) -> dict[str, list[socket.socket]]:
    """The sockets that were handed to this process, by name. Takes the variables away: children get none of it."""
    meant_for = environ.pop("LISTEN_PID", "")
    count = environ.pop("LISTEN_FDS", "0")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if meant_for != str(pid) or not count.isdigit():
        return {}
    found: dict[str, list[socket.socket]] = {}
    for place in range(min(int(count), len(NAMES))):
        os.set_inheritable(FIRST_FD + place, False)
        one = socket.socket(fileno=FIRST_FD + place)
        one.setblocking(False)
        name = names[place] if place < len(names) else ""
        found[name if name in NAMES else NAMES[place]] = [one]
    return found


async def succeed(lock: DirectoryLock, patience: float) -> None:
    """Take the data directory, for at most ``patience`` seconds waiting for the gateway that still holds it. Raises
    ``AlreadyRunning``."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    while True:
        try:
            lock.acquire()
        except AlreadyRunning:
            if loop.time() >= deadline:
                raise
            await asyncio.sleep(POLL_SECONDS)
        else:
            return
