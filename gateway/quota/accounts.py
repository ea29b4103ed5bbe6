"""A counter as a lender sees it: by window, what is settled and what each process holds."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.quota.rule import CONCURRENT, Rule
from gateway.quota.slices import Given, Stand, Want

NOTHING = Given(0, 0, 0, True)


class Share:
    """One window of one counter: what was settled before or by processes that are gone, and each process's part."""

    __slots__ = ("base", "elsewhere", "end_ns", "held", "stands")

    def __init__(self, units: int, end_ns: int) -> None:
        self.end_ns = end_ns
        self.base = [0] * units
        self.elsewhere = [0] * units
        """What is used at other gateways, as far as they said."""
        self.held: dict[int, list[int]] = {}
        self.stands: dict[int, Stand] = {}

    def taken(self, position: int) -> int:
        return self.base[position] + sum(held[position] for held in self.held.values())

    def used(self, position: int) -> int:
        return self.elsewhere[position] + self.used_here(position)

    def used_here(self, position: int) -> int:
        return self.base[position] + sum(stand.used[position] for stand in self.stands.values())

    def reserved(self, position: int) -> int:
        return sum(stand.reserved[position] for stand in self.stands.values())


class Account:
    """One counter as the lender sees it."""

    __slots__ = ("bucket", "flying", "hungry", "loose", "name", "recalled", "rule", "shares", "waiting")

    def __init__(self, name: str, rule: Rule, bucket: str) -> None:
        self.name = name
        """The rule's identity."""
        self.rule = rule
        self.bucket = bucket
        self.shares: dict[int, Share] = {}
        self.flying: dict[int, int] = {}
        """Calls at a time that each process may have: they belong to no window."""
        self.loose: set[int] = set()
        """Processes that may have slack."""
        self.recalled: set[int] = set()
        """Processes that were asked for their slack and have not answered."""
        self.waiting: list[tuple[Claim, int, Want]] = []
        self.hungry: set[int] = set()
        """Processes that got nothing and may have calls in line."""

    def share(self, start_ns: int) -> Share:
        found = self.shares.get(start_ns)
        if found is None:
            found = self.shares[start_ns] = Share(len(self.rule.units), self.rule.window(start_ns)[1])
        return found

    def counting(self, start_ns: int) -> Iterable[Share]:
        """The windows that count for a call reserved in the one that begins at ``start_ns``. Of a rolling window also
        the parts behind it: a process may be late, and what it wants counts together with what is used in those."""
        rolling = self.rule.rolling_ns
        own = self.share(start_ns)
        if not rolling:
            return (own,)
        until = own.end_ns + rolling
        return [share for start, share in self.shares.items() if start < until and start_ns < share.end_ns + rolling]

    def free(self, position: int, start_ns: int, now_ns: int) -> int:
        limit = self.rule.limit(position, now_ns)
        if self.rule.units[position] == CONCURRENT:
            return limit - self.flights()
        return limit - sum(share.taken(position) for share in self.counting(start_ns))

    def used(self, position: int, start_ns: int) -> int:
        if self.rule.units[position] == CONCURRENT:
            return 0
        return sum(share.used(position) for share in self.counting(start_ns))

    def starts(self) -> list[int]:
        """Of the windows that are kept."""
        return list(self.shares)

    def flights(self) -> int:
        """Calls at a time that all processes may have."""
        return sum(self.flying.values())

    def hold(self, process: int, position: int, start_ns: int, amount: int) -> None:
        """Lend ``amount`` more, or less."""
        if self.rule.units[position] == CONCURRENT:
            self.flying[process] = self.flying.get(process, 0) + amount
        else:
            held = self.share(start_ns).held.setdefault(process, [0] * len(self.rule.units))
            held[position] += amount


class Claim:
    """The wants of one call, until all of them are answered."""

    __slots__ = ("given", "left", "number", "process")

    def __init__(self, process: int, number: int, wants: int) -> None:
        self.process = process
        self.number = number
        self.left = wants
        self.given: list[Given] = [NOTHING] * wants
