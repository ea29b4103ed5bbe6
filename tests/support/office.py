"""A lender and the processes it lends to, without sockets: every message waits until it is carried."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

from gateway.config.quotas import QuotaConfig
from gateway.quota.engine import Amounts, Reservation, Shortage, Subject
from gateway.quota.leases import Lender
from gateway.quota.rule import UNITS, from_config
from gateway.quota.shared import SharedQuotas, identity
from gateway.quota.slices import Answer, Back, Freed, Given, Recall, Stand, Want

HOUR_NS = 3_600_000_000_000
START_NS = 1_790_000_000_000_000_000 // HOUR_NS * HOUR_NS


class Office:
    """A lender and its processes; every message waits in the line of its way until ``step`` carries it on."""

    def __init__(self, quotas: list[QuotaConfig], processes: int, seed: int = 0) -> None:
        self.now_ns = START_NS
        self.rng = random.Random(seed)
        self.quotas = quotas
        self.ways: dict[tuple[str, int], deque[Callable[[], None]]] = {}
        self.lender = Lender(self.send, 1000, lambda: self.now_ns)
        rules = [from_config(quota) for quota in quotas]
        self.lender.use({identity(rule): rule for rule in rules})
        self.lender.open()
        self.processes: dict[int, Process] = {}
        for number in range(processes):
            self.enter(number)

    def enter(self, number: int) -> None:
        self.lender.join(number)
        self.processes[number] = Process(self, number)

    def put(self, way: str, process: int, message: Callable[[], None]) -> None:
        self.ways.setdefault((way, process), deque()).append(message)

    def send(self, process: int, message: Answer | Recall | Freed) -> None:
        self.put("to", process, lambda: self.processes[process].take(message))

    def step(self) -> bool:
        """Carry one message; which way's is chance."""
        busy = [key for key, line in self.ways.items() if line]
        if not busy:
            return False
        self.ways[self.rng.choice(busy)].popleft()()
        return True

    def quiet(self) -> None:
        for _ in range(10_000):
            if not self.step():
                return
        raise AssertionError("messages without end")

    def kill(self, number: int) -> None:
        """It dies: its words that were on their way may come or not."""
        line = self.ways.pop(("from", number), deque())
        for _ in range(self.rng.randint(0, len(line))):
            line.popleft()()
        self.lender.leave(number)
        self.ways.pop(("to", number), None)


class Process:
    """One process; calls that wait for room end in ``refused`` or in ``live``."""

    def __init__(self, office: Office, number: int) -> None:
        self.office, self.number = office, number
        self.soon: list[Callable[[], None]] = []
        rules = [from_config(quota) for quota in office.quotas]
        self.quotas = SharedQuotas(rules, self, self.soon.append, max_counters=1000)
        self.claims: dict[int, Callable[[list[Given]], None]] = {}
        self.live: list[Reservation] = []
        self.refused = 0
        self.asked = 0
        self.calls = 0

    # Lending

    def claim(self, wants: list[Want], then: Callable[[list[Given]], None]) -> None:
        self.asked += 1
        number = self.asked
        self.claims[number] = then
        self.office.put("from", self.number, lambda: self.office.lender.claim(self.number, number, wants))

    def back(self, backs: list[Back], stands: list[Stand]) -> None:
        def carry() -> None:
            self.office.lender.back(self.number, backs)
            self.office.lender.stand(self.number, stands)

        self.office.put("from", self.number, carry)

    def take(self, message: Answer | Recall | Freed) -> None:
        if isinstance(message, Answer):
            self.claims.pop(message.number)(message.given)
        elif isinstance(message, Recall):
            self.quotas.recalled(message.rule, message.bucket)
            lender = self.office.lender
            self.office.put("from", self.number, lambda: lender.gave(self.number, message.rule, message.bucket))
        self.turn_ends()

    def turn_ends(self) -> None:
        soon, self.soon[:] = list(self.soon), []
        for callback in soon:
            callback()

    # calls

    def call(self, subject: Subject, amounts: Amounts) -> None:
        now_ns = self.office.now_ns
        self.calls += 1
        name = f"{self.number}-{self.calls}"

        def attempt() -> bool:
            held = self.quotas.reserve(name, subject, amounts, now_ns)
            if isinstance(held, Shortage):
                return False
            self.live.append(held)
            return True

        def lent(all_of_it: bool) -> None:
            if not attempt():
                if all_of_it and self.quotas.ask(subject, amounts, now_ns, lent, whole=True):
                    return
                self.refused += 1

        if not attempt() and not self.quotas.ask(subject, amounts, now_ns, lent):
            self.refused += 1
        self.turn_ends()

    def settle(self, which: int, used: Amounts) -> None:
        self.quotas.settle(self.live.pop(which), used, self.office.now_ns)
        self.turn_ends()


def quota(**fields: object) -> QuotaConfig:
    return QuotaConfig(**{"name": "q", "window": "hour", **fields})  # type: ignore[arg-type]


def taken(office: Office, unit: str) -> int:
    """Used and held by all living processes now."""
    index = UNITS.index(unit)
    total = 0
    for process in office.processes.values():
        for counter in process.quotas.counters:
            counter.current(office.now_ns)
            for position, kind in enumerate(counter.rule.units):
                if kind == index:
                    total += counter.span.used[position] + counter.span.reserved[position]
    return total


SUBJECT = Subject("t", "w", "k", "p", "m")
