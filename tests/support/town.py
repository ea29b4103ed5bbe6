"""Several gateways and the store that they share, without sockets: every word waits until it is carried, or is lost."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence

from gateway.quota.fund import Drained, Fund
from gateway.quota.rule import from_config
from gateway.quota.shared import identity
from gateway.sharing.store import SHARE, Ask, Lent, Notice, Taken, Window
from support.office import START_NS, Office, quota, taken


class Rows:
    """What a store does, in a dictionary."""

    def __init__(self) -> None:
        self.taken: dict[Window, dict[int, int]] = {}
        self.slack: set[tuple[int, str, str]] = set()
        self.gateways: set[int] = set()

    def counting(self, window: Window) -> int:
        rolling = window.rolling_ns
        total = 0
        for other, amounts in self.taken.items():
            if (other.rule, other.bucket, other.unit) == (window.rule, window.bucket, window.unit) and (
                other.start_ns == window.start_ns
                if not rolling
                else other.start_ns < window.end_ns + rolling and window.start_ns < other.end_ns + rolling
            ):
                total += sum(amounts.values())
        return total

    def set(self, gateway: int, taken: Sequence[Taken]) -> None:
        for one in taken:
            self.taken.setdefault(one.window, {})[gateway] = one.amount

    def begin(self, gateway: int, taken: Sequence[Taken]) -> None:
        for amounts in self.taken.values():
            amounts.pop(gateway, None)
        self.slack = {one for one in self.slack if one[0] != gateway}
        self.gateways.add(gateway)
        self.set(gateway, taken)

    def ask(self, gateway: int, ask: Ask) -> Lent:
        window = ask.window
        free = ask.limit - self.counting(window)
        if free < ask.least:
            elsewhere = any(
                one != gateway and (rule, bucket) == (window.rule, window.bucket) for one, rule, bucket in self.slack
            )
            return Lent(0, free, elsewhere)
        more = (ask.lasting - self.counting(window) - ask.least) // (SHARE * len(self.gateways))
        amount = ask.least + more if more >= ask.least else ask.least
        if amount > ask.least:
            self.slack.add((gateway, window.rule, window.bucket))
        held = self.taken.setdefault(window, {})
        held[gateway] = held.get(gateway, 0) + amount
        return Lent(amount, free - amount, elsewhere=False)


class Gateway(Office):
    """A gateway with two processes; what it says to the store waits in its line."""

    def __init__(self, town: Town, number: int, **limits: object) -> None:
        super().__init__([quota(**limits)], 2, town.rng.randrange(2**32))
        self.town, self.number = town, number
        self.now_ns = town.now_ns
        self.lender.fund = Fund(lambda: None, lambda: self.now_ns, lambda account: self.lender.is_closed(account.name))
        self.said: deque[Callable[[], None]] = deque()
        self.busy = False

    def begin(self, base: int) -> None:
        """After a start: all that it settled before."""
        (rule,) = self.lender.rules
        units = len(self.lender.rules[rule].units)
        rows = {(rule, "", START_NS): [base] + [0] * (units - 1)}
        self.lender.settled({rule: {START_NS}}, rows, set())
        self.lender.open()
        self.town.rows.begin(self.number, self.fund.everything())

    def reload(self, **limits: object) -> None:
        """Another limit holds; what processes had used is the ledger's then."""
        rule = from_config(quota(**limits))
        if identity(rule) in self.lender.rules:
            return
        self.quotas = [quota(**limits)]
        self.lender.use({**self.lender.rules, identity(rule): rule})
        for process in self.processes.values():
            for counter in process.quotas.counters:
                self.town.base[self.number] += counter.current(self.now_ns).used[0]
            process.quotas.change([rule], 1000, self.now_ns)
            process.turn_ends()
        self.lender.use({identity(rule): rule})
        self.quiet()

    def known(self) -> None:
        """After a reload: it was found out what had been used."""
        (rule,) = self.lender.rules
        self.lender.settled({rule: {START_NS}}, {(rule, "", START_NS): [self.town.base[self.number]]}, set())
        self.lender.open()

    @property
    def fund(self) -> Fund:
        assert self.lender.fund is not None
        return self.lender.fund

    def talk(self) -> None:
        """One step of the conversation with the store."""
        if not self.busy:
            drained = self.fund.drained()
            self.busy = True
            self.said.append(lambda: self.carry(drained))
        elif self.said:
            self.said.popleft()()

    def carry(self, drained: Drained) -> None:
        lost = self.town.rng.random()
        if lost < self.town.losses / 2:
            self.done(lambda: self.fund.failed(drained))
            return
        rows = self.town.rows
        rows.set(self.number, drained.taken)
        for counter in drained.loosened:
            rows.slack.discard((self.number, *counter))
        answers = [rows.ask(self.number, ask) for ask in drained.asks]
        for notice in drained.notices:
            self.town.tell(self, notice)
        if lost < self.town.losses:
            self.done(lambda: self.fund.failed(drained))
        else:
            self.done(lambda: self.fund.lent(drained.lacks, answers))

    def done(self, then: Callable[[], None]) -> None:
        def heard() -> None:
            then()
            self.busy = False

        self.said.append(heard)


class Town:
    """Several gateways and their store. ``losses``: so many of its conversations end without an answer."""

    def __init__(self, gateways: int, seed: int, losses: float = 0.0, **limits: object) -> None:
        self.rng = random.Random(seed)
        self.now_ns = START_NS
        self.losses = losses
        self.limits = limits
        self.rows = Rows()
        self.gateways = {number: Gateway(self, number, **limits) for number in range(gateways)}
        self.base = dict.fromkeys(self.gateways, 0)
        for gateway in self.gateways.values():
            gateway.begin(0)

    def tell(self, sender: Gateway, notice: Notice) -> None:
        for gateway in self.gateways.values():
            if gateway is not sender and self.rng.random() >= self.losses:
                gateway.put("notice", 0, lambda gateway=gateway: gateway.lender.noticed(notice))  # type: ignore[misc]

    def step(self) -> None:
        gateway = self.rng.choice(list(self.gateways.values()))
        if self.rng.random() < 0.5:
            gateway.step()
        else:
            gateway.talk()

    def quiet(self) -> None:
        """Until nothing is said any more; those who wait for others ask again."""
        for _ in range(3):
            for _ in range(60):
                for gateway in self.gateways.values():
                    gateway.quiet()
                    gateway.talk()
            for gateway in self.gateways.values():
                gateway.fund.again()

    def wait(self) -> None:
        """Until nobody waits for others any more."""
        for gateway in self.gateways.values():
            gateway.now_ns += 2_000_000_000
        self.quiet()

    def used(self, unit: str = "tokens") -> int:
        return sum(self.base.values()) + sum(taken(gateway, unit) for gateway in self.gateways.values())

    def crash(self, number: int) -> None:
        """It ends at any moment, and begins again from its ledger: what calls held counts whole."""
        old = self.gateways.pop(number)
        self.base[number] += taken(old, "tokens")
        self.gateways[number] = Gateway(self, number, **self.limits)
        self.gateways[number].begin(self.base[number])
