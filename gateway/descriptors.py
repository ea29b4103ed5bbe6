"""How many descriptors this process may have, and how many of them clients may take: whoever connects must leave enough
for the providers, the ledger's files and the admin port."""

from __future__ import annotations

import resource
from contextlib import suppress

import msgspec

ENOUGH = 1 << 20
"""What stands for no bound at all."""


class Shares(msgspec.Struct, frozen=True):
    """``clients``: connections of the data plane, each of which may need one to a provider. ``told``: those beyond the
    bound that hear why. ``admin``: connections of the admin port."""

    clients: int
    told: int
    admin: int


def take_all() -> None:
    """Raise the process's own bound as far as the system lets it: what a shell gives by default is meant for programs
    that wait with ``select``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # a system may have a bound beside the one that it names
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def shares() -> Shares:
    """How the descriptors that this process may have are shared out. Some are nobody's: they are for files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = ENOUGH if soft == resource.RLIM_INFINITY else soft
    files, admin, told = min(256, most // 4), min(1024, most // 8), min(1000, most // 16)
    return Shares(clients=max(1, (most - files - admin - told) // 2), told=told, admin=admin)
