"""Several gateways share quotas by a store: whatever they do, whatever is lost on the way, never over."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.quota.engine import Amounts
from gateway.quota.fund import Drained, Fund
from gateway.quota.rule import UNITS, from_config
from gateway.quota.shared import identity
from gateway.sharing.store import SHARE, Ask, Lent, Notice, Stand, Taken, Window
from tests.support.office import HOUR_NS, START_NS, SUBJECT, Office, quota, taken


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


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32), gateways=st.integers(1, 4), limit=st.integers(0, 400), losses=st.sampled_from([0, 0.2])
)
def test_used_and_held_of_all_gateways_never_pass_the_limit(
    seed: int, gateways: int, limit: int, losses: float
) -> None:
    town = Town(gateways, seed, losses, tokens=limit)
    rng = random.Random(seed)
    for _ in range(200):
        what = rng.random()
        gateway = rng.choice(list(town.gateways.values()))
        process = rng.choice(list(gateway.processes.values()))
        if what < 0.25:
            process.call(SUBJECT, Amounts(0, rng.randint(0, 20), rng.randint(0, 20)))
        elif what < 0.4 and process.live:
            which = rng.randrange(len(process.live))
            _, tokens_in, tokens_out, *_ = process.live[which].vector
            process.settle(which, Amounts(0, rng.randint(0, tokens_in), rng.randint(0, tokens_out)))
        elif what < 0.41:
            town.crash(gateway.number)
        else:
            town.step()
        assert town.used() <= limit
        assert all(sum(amounts.values()) <= limit for amounts in town.rows.taken.values())


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), gateways=st.integers(2, 4))
def test_what_fits_is_let_through_wherever_the_slack_lies(seed: int, gateways: int) -> None:
    town = Town(gateways, seed, tokens=100, requests=1000)
    rng = random.Random(seed)
    for _ in range(60):
        process = rng.choice(list(rng.choice(list(town.gateways.values())).processes.values()))
        want, before, free = rng.randint(1, 9), process.refused, 100 - town.used()
        process.call(SUBJECT, Amounts(0, want, 0))
        town.quiet()
        town.wait()
        assert process.refused - before == (1 if want > free else 0)
        if process.live and rng.random() < 0.6:
            held = process.live[0].vector[1]
            process.settle(0, Amounts(0, rng.randint(0, held), 0))
            town.quiet()


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), losses=st.sampled_from([0, 0.2]))
def test_a_reload_of_one_gateway_loses_nothing_of_what_was_taken(seed: int, losses: float) -> None:
    town = Town(3, seed, losses, tokens=300)
    rng = random.Random(seed)
    limit = 300
    for _ in range(150):
        what = rng.random()
        gateway = rng.choice(list(town.gateways.values()))
        process = rng.choice(list(gateway.processes.values()))
        if what < 0.25:
            process.call(SUBJECT, Amounts(0, rng.randint(0, 20), rng.randint(0, 20)))
        elif what < 0.4 and process.live:
            _, tokens_in, tokens_out, *_ = process.live[0].vector
            process.settle(0, Amounts(0, rng.randint(0, tokens_in), rng.randint(0, tokens_out)))
        elif what < 0.6 and gateway.lender.settling:
            gateway.known()
        elif what < 0.42:
            more = rng.randint(200, 400)
            limit = max(limit, more)
            gateway.reload(tokens=more)
        for _ in range(8):
            town.step()
        assert town.used() <= limit


def test_what_was_used_beyond_a_reservation_is_taken_from_all() -> None:
    town = Town(2, 1, tokens=100)
    one, other = (next(iter(gateway.processes.values())) for gateway in town.gateways.values())
    one.call(SUBJECT, Amounts(0, 10, 0))
    town.quiet()
    one.settle(0, Amounts(0, 95, 0))
    town.quiet()
    other.call(SUBJECT, Amounts(0, 6, 0))
    town.quiet()
    town.wait()
    assert other.refused == 1
    other.call(SUBJECT, Amounts(0, 5, 0))
    town.quiet()
    town.wait()
    assert len(other.live) == 1


def test_what_the_store_may_not_have_heard_is_said_again() -> None:
    town = Town(2, 1, tokens=100)
    process = next(iter(town.gateways[0].processes.values()))
    process.call(SUBJECT, Amounts(0, 10, 0))
    town.quiet()
    town.losses = 2.0
    process.settle(0, Amounts(0, 95, 0))
    town.quiet()
    assert sum(town.rows.counting(window) for window in town.rows.taken) < 95
    town.losses = 0.0
    town.quiet()
    assert sum(town.rows.counting(window) for window in town.rows.taken) == 95


@pytest.mark.parametrize("seed", range(10))
def test_calls_at_a_time_are_shared_too(seed: int) -> None:
    town = Town(3, seed, concurrent=6)
    rng = random.Random(seed)
    for _ in range(200):
        process = rng.choice(list(rng.choice(list(town.gateways.values())).processes.values()))
        if rng.random() < 0.5:
            process.call(SUBJECT, Amounts(0, 1, 1))
        elif process.live:
            process.settle(0, Amounts(0, 1, 1))
        for _ in range(rng.randint(0, 8)):
            town.step()
        assert town.used("concurrent") <= 6
    town.quiet()
    town.wait()
    for gateway in town.gateways.values():
        for process in gateway.processes.values():
            while process.live:
                process.settle(0, Amounts(0, 1, 1))
    town.quiet()
    process = next(iter(town.gateways[2].processes.values()))
    for _ in range(6):
        process.call(SUBJECT, Amounts(0, 1, 1))
        town.quiet()
        town.wait()
    assert len(process.live) == 6


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), losses=st.sampled_from([0, 0.2]))
def test_rolling_windows_of_several_gateways_are_never_over(seed: int, losses: float) -> None:
    town = Town(3, seed, losses, tokens=100, window="rolling 1h")
    rng = random.Random(seed)
    ended: list[tuple[int, int]] = []
    for _ in range(250):
        gateway = rng.choice(list(town.gateways.values()))
        process = rng.choice(list(gateway.processes.values()))
        what = rng.random()
        if what < 0.2:
            process.call(SUBJECT, Amounts(0, rng.randint(10, 60), 0))
        elif what < 0.25 and process.live:
            held = process.live[0]
            used = rng.randint(0, held.vector[1])
            ended.append((held.spans[0].end_ns, used))
            process.settle(0, Amounts(0, used, 0))
        elif what < 0.3:
            more = rng.choice((HOUR_NS // 60, HOUR_NS // 20))
            for each in town.gateways.values():
                each.now_ns += more
        else:
            town.step()
        now_ns = gateway.now_ns
        live = [
            (one.spans[0].end_ns, one.vector[1])
            for each in town.gateways.values()
            for party in each.processes.values()
            for one in party.live
        ]
        assert sum(amount for end, amount in ended + live if end > now_ns - HOUR_NS) <= 100


def test_with_plenty_left_the_store_is_asked_seldom() -> None:
    town = Town(2, 3, tokens=10**9)
    asked = 0
    ask = town.rows.ask

    def counting(gateway: int, one: Ask) -> Lent:
        nonlocal asked
        asked += 1
        return ask(gateway, one)

    town.rows.ask = counting  # type: ignore[method-assign]
    for _ in range(300):
        for gateway in town.gateways.values():
            for process in gateway.processes.values():
                process.call(SUBJECT, Amounts(0, 100, 100))
                gateway.quiet()
                gateway.talk(), gateway.talk(), gateway.talk()
                gateway.quiet()
                if process.live:
                    process.settle(0, Amounts(0, 50, 50))
    assert not any(process.refused for gateway in town.gateways.values() for process in gateway.processes.values())
    assert asked < 10


def test_how_others_stand_is_told_and_shown() -> None:
    town = Town(2, 5, tokens=1000)
    one, other = town.gateways.values()
    process = next(iter(one.processes.values()))
    process.call(SUBJECT, Amounts(0, 40, 0))
    town.quiet()
    process.settle(0, Amounts(0, 30, 0))
    town.quiet()
    one.lender.stand(process.number, process.quotas.stands())
    (stand,) = one.fund.stands()
    assert (stand.used, UNITS[stand.window.unit]) == (30, "tokens")
    other.lender.elsewhere([Stand(stand.window, stand.used, 0)])
    (account,) = other.lender.accounts.values()
    assert account.used(0, START_NS) == 30
    assert one.fund.stands() == []
