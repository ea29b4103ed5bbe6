"""What one address may do: how many calls a second, and how many unknown keys it may try.

Trying keys is bounded for the address, not for the key: past the bound, what it sends is refused whether the key is
known or not, so that a guess that hits is not told from one that does not. Keys that were used from that address with
success since its first unknown one go on to work: one program with a wrong key does not lock out its neighbours behind
the same address. An IPv6 client is taken by its /64 network, which is what one customer has.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address
from itertools import islice

import msgspec

FORGET_SECONDS = 600.0
"""An address is watched for so long after its last unknown key."""
MAX_WATCHED = 10_000
MAX_KEYS = 1_000
"""Keys that go on to work from one watched address."""
MAX_RATED = 50_000


class GuardLimits(msgspec.Struct, frozen=True, kw_only=True):
    """0: no bound."""

    calls_per_second: int = 0
    unknown_keys_per_minute: int = 600


class Watched(msgspec.Struct):
    """An address that sent an unknown key lately."""

    left: float
    """Unknown keys that it may still try."""
    at: float
    last: float
    keys: set[str]


class Rated(msgspec.Struct):
    left: float
    at: float


class Guard:
    """Decides, without waiting. A refusal is told as the seconds after which a call may be tried again; 0: none.

    While nobody sends unknown keys, a usual call costs a look at ``active``.
    """

    __slots__ = ("_asked", "_monotonic", "_rated", "active", "limits", "watched")

    def __init__(self, limits: GuardLimits, monotonic: Callable[[], float]) -> None:
        self.watched: dict[str, Watched] = {}
        self.active = False
        """Whether any call has to be asked for: kept, because each call looks at it."""
        self._rated: dict[str, Rated] = {}
        self._asked: dict[str, Rated] = {}
        self._monotonic = monotonic
        self.use(limits)

    def use(self, limits: GuardLimits) -> None:
        """Other bounds hold from now on."""
        self.limits = limits
        self.active = bool(self.watched) or limits.calls_per_second > 0

    def concerns(self, peer: str) -> bool:
        """Whether calls of an address have to be asked for each time."""
        return self.limits.calls_per_second > 0 or scope(peer) in self.watched

    def unknown(self, peer: str) -> float:
        """An unknown key came."""
        limit = self.limits.unknown_keys_per_minute
        if not limit:
            return 0.0
        now = self._monotonic()
        self._forget(now)
        peer = scope(peer)
        # the newest is the last: what is at the front has been quiet for the longest time
        found = self.watched.pop(peer, None)
        if found is None:
            if len(self.watched) >= MAX_WATCHED:
                del self.watched[next(iter(self.watched))]
            found = Watched(left=float(limit), at=now, last=now, keys=set())
        self.watched[peer] = found
        self.active = True
        _refill(found, now, limit / 60, limit)
        found.last = now
        if found.left < 1:
            return (1 - found.left) * 60 / limit
        found.left -= 1
        return 0.0

    def known(self, peer: str, key: str) -> float:
        """A known key came, while some address is watched."""
        peer = scope(peer)
        found = self.watched.get(peer)
        if found is None:
            return 0.0
        now = self._monotonic()
        if found.last + FORGET_SECONDS <= now:
            del self.watched[peer]
            self.use(self.limits)
            return 0.0
        limit = self.limits.unknown_keys_per_minute
        _refill(found, now, limit / 60, limit)
        if key in found.keys or not limit:
            return 0.0
        if found.left < 1:
            return (1 - found.left) * 60 / limit
        if len(found.keys) < MAX_KEYS:
            found.keys.add(key)
        return 0.0

    def called(self, peer: str) -> float:
        """A call came, where their rate is bounded."""
        rate = self.limits.calls_per_second
        return _taken(self._rated, scope(peer), rate, rate, self._monotonic())

    def asked(self, peer: str) -> float:
        """A browser asked whether a page may call, which takes no key: bounded as unknown keys are, beside them."""
        limit = self.limits.unknown_keys_per_minute
        wait = self.called(peer) if self.limits.calls_per_second else 0.0
        return wait or (_taken(self._asked, scope(peer), limit / 60, limit, self._monotonic()) if limit else 0.0)

    def _forget(self, now: float) -> None:
        for peer in list(islice(self.watched, 2)):
            if self.watched[peer].last + FORGET_SECONDS <= now:
                del self.watched[peer]


def _taken(rated: dict[str, Rated], peer: str, per_second: float, most: int, now: float) -> float:
    """Take one of what an address may do; answers the seconds until there is one again."""
    found = rated.get(peer)
    if found is None:
        if len(rated) >= MAX_RATED:
            del rated[next(iter(rated))]
        found = rated[peer] = Rated(left=float(most), at=now)
    _refill(found, now, per_second, most)
    if found.left < 1:
        return (1 - found.left) / per_second
    found.left -= 1
    return 0.0


def _refill(bucket: Watched | Rated, now: float, per_second: float, most: int) -> None:
    bucket.left = min(float(most), bucket.left + (now - bucket.at) * per_second)
    bucket.at = now


def scope(peer: str) -> str:
    """What of an address stands for one client."""
    if ":" not in peer:
        return peer
    address = IPv6Address(peer)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Address(int(address) >> 64 << 64))
