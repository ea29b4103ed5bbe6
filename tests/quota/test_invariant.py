"""No interleaving passes a limit: calls, reloads, restarts, clock steps and grants in any order, against a plain model.

The ledger is the list of what was settled; a restart forgets everything but that list and what was open.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from decimal import Decimal

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.config.quotas import QuotaConfig
from gateway.ledger.view import Spent
from gateway.quota.engine import Amounts, Quotas, Reservation, Shortage, Subject
from gateway.quota.reload import RuleChange
from gateway.quota.replay import differences, load, photo
from gateway.quota.rule import CONCURRENT, Raise, Rule, from_config

SECOND = 1_000_000_000
START = 1_793_491_200 * SECOND
"""2026-11-01T00:00Z."""
RULES = [
    {"name": "org", "usd": Decimal("0.000005"), "window": "day"},
    {
        "name": "team",
        "match": {"team": "a"},
        "usd": Decimal("0.000003"),
        "tokens": 2000,
        "window": "hour",
        "warn_at": (Decimal("0.5"),),
    },
    {
        "name": "flow",
        "per": ("team", "workflow"),
        "output_tokens": 900,
        "window": "month",
        "timezone": "Asia/Kathmandu",
    },
    {"name": "calls", "requests": 20, "window": "rolling 1h"},
    {"name": "slots", "per": ("team",), "concurrent": 4},
    {"name": "ever", "match": {"team": ("a", "b")}, "input_tokens": 20_000, "window": "total"},
    {"name": "watched", "usd": Decimal("0.000001"), "window": "day", "action": "warn"},
]
SUBJECTS = [
    Subject(team, flow, f"key-{team}", "openai", model)
    for team in "abc"
    for flow in ("x", "y")
    for model in ("gpt-4o", "claude")
]
AMOUNTS = st.builds(
    Amounts,
    nanousd=st.integers(0, 2000),
    input_tokens=st.integers(0, 900),
    output_tokens=st.integers(0, 500),
)


def rules(names: frozenset[str], factor: int) -> list[Rule]:
    """The named rules; ``factor`` makes the first one looser or tighter, as an edit of the file would."""
    made = []
    for said in RULES:
        if said["name"] in names:
            more = {"usd": Decimal("0.000005") * factor} if said["name"] == "org" else {}
            made.append(from_config(QuotaConfig.model_validate(said | more)))
    return made


ALL = frozenset(str(said["name"]) for said in RULES)


class Ledger:
    """What was settled, with the moment at which it had been reserved."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, Subject, Amounts]] = []

    def spent(self, since_ns: int, until_ns: int) -> Iterator[Spent]:
        for at, subject, used in self.rows:
            if since_ns <= at < until_ns:
                yield Spent(
                    subject.team, subject.workflow, subject.key, subject.provider, subject.model, dict(subject.tags),
                    used.nanousd, used.input_tokens, used.output_tokens, used.requests,
                )  # fmt: skip

    def last_start_ns(self, since_ns: int) -> int:
        return max((at for at, _, _ in self.rows), default=0)


class Gateway(RuleBasedStateMachine):
    """One gateway's quotas. A call's true use is never above what it holds."""

    @initialize()
    def begin(self) -> None:
        self.wall = self.now = START
        self.ledger = Ledger()
        self.names, self.factor = ALL, 1
        self.quotas = Quotas(rules(self.names, 1))
        load(self.quotas, self.ledger, self.now)
        self.open: list[tuple[Reservation, Amounts]] = []
        self.number = 0
        self.loosest: dict[str, int] = {}
        self.change: tuple[RuleChange, frozenset[str], int] | None = None

    @rule(calls=st.lists(st.tuples(st.sampled_from(SUBJECTS), AMOUNTS), min_size=1, max_size=4))
    def reserve(self, calls: list[tuple[Subject, Amounts]]) -> None:
        for subject, bound in calls:
            self.one(subject, bound)

    def one(self, subject: Subject, bound: Amounts) -> None:
        self.number += 1
        held = self.quotas.reserve(f"call-{self.number}", subject, bound, self.now)
        if isinstance(held, Shortage):
            assert held.used + held.reserved + held.wanted > held.limit
            self.quotas.refused(held, self.now)
        else:
            if self.number % 3 == 0:
                self.quotas.grows(held)
            self.open.append((held, bound))

    def pick(self, data: st.DataObject) -> tuple[Reservation, Amounts]:
        return self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), share=st.integers(0, 100), calls=st.integers(1, 3))
    def settle(self, data: st.DataObject, share: int, calls: int) -> None:
        for _ in range(min(calls, len(self.open))):
            held, bound = self.pick(data)
            used = Amounts(*(part * share // 100 for part in (bound.nanousd, bound.input_tokens, bound.output_tokens)))
            assert not self.quotas.settle(held, used, self.now)
            self.ledger.rows.append((held.reserved_ns, held.subject, used))

    @precondition(lambda self: self.ledger.rows)
    @rule(data=st.data(), share=st.integers(1, 100))
    def give_back(self, data: st.DataObject, share: int) -> None:
        """A statement says that a call did not cost all that it counts at."""
        at, subject, _ = data.draw(st.sampled_from(self.ledger.rows))
        left = [used for when, who, used in self.ledger.rows if (when, who) == (at, subject)]
        less = [
            sum(parts) * share // 100
            for parts in zip(*((one.nanousd, one.input_tokens, one.output_tokens) for one in left), strict=True)
        ]
        self.quotas.give_back(subject, at, Amounts(*less), self.now)
        self.ledger.rows.append((at, subject, Amounts(*(-part for part in less), requests=0)))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def begin_later(self, data: st.DataObject) -> None:
        """A session's answer begins long after room was held for it: it counts in the windows of then."""
        held, bound = self.pick(data)
        self.quotas.began(held, self.now)
        self.open.append((held, bound))
        self.accept()

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        held, _ = self.pick(data)
        self.quotas.release(held, self.now)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), more=st.builds(Amounts, st.integers(0, 500), st.just(0), st.integers(0, 200)))
    def grow(self, data: st.DataObject, more: Amounts) -> None:
        held, bound = self.pick(data)
        if self.quotas.grow(held, more, self.now) is None:
            bound = Amounts(bound.nanousd + more.nanousd, bound.input_tokens, bound.output_tokens + more.output_tokens)
        self.open.append((held, bound))

    @rule(seconds=st.sampled_from([1, 59, 61, 600, 3600, 86_400, 31 * 86_400, -30, -3000]))
    def time(self, seconds: int) -> None:
        """The gateway's clock stands still while a wall clock that was set back catches up."""
        before = self.now
        self.wall += seconds * SECOND
        self.now = max(self.now, self.wall)
        self.quotas.look(self.now)
        if any(before < at for at, _, _ in self.ledger.rows):
            # calls from before the clock was set back, under a raise that has ended, count when their window comes
            self.accept()

    @rule(names=st.just(ALL) | st.sets(st.sampled_from(sorted(ALL)), min_size=1), factor=st.sampled_from([1, 2]))
    def reload(self, names: set[str], factor: int) -> None:
        """It begins: calls go on under the old rules while the use of new ones is read from the ledger."""
        if self.change is not None:
            return
        self.change = RuleChange(self.quotas, rules(frozenset(names), factor)), frozenset(names), factor
        written = Ledger()
        written.rows = list(self.ledger.rows)
        self.change[0].load(written, self.now)

    @precondition(lambda self: self.change)
    @rule()
    def take_effect(self) -> None:
        assert self.change is not None
        change, self.names, self.factor = self.change
        change.take_effect(self.now)
        self.change = None
        self.agrees()
        self.accept()

    @precondition(lambda self: self.change)
    @rule()
    def abandon(self) -> None:
        assert self.change is not None
        self.change[0].abandon()
        self.change = None

    def accept(self) -> None:
        """New rules may find more in use than they allow."""
        for key, (taken, limit) in self.taken().items():
            self.loosest[key] = max(taken, limit)

    def taken(self) -> dict[str, tuple[int, int]]:
        return {
            f"{counter.rule.name}/{counter.bucket}/{position}": (
                counter.used(position) + counter.reserved(position),
                counter.rule.limit(position, self.now),
            )
            for counter, position in self.quotas.snapshot(self.now)
            if counter.rule.blocking
        }

    @rule()
    def crash(self) -> None:
        """What was open is recovered at its whole reservation. The clock may have been set back before."""
        for held, bound in self.open:
            self.ledger.rows.append((held.reserved_ns, held.subject, bound))
        self.open, self.change, self.now = [], None, self.wall
        self.quotas = Quotas(rules(self.names, self.factor))
        load(self.quotas, self.ledger, self.now)
        self.accept()

    def agrees(self) -> None:
        """What is used is what the ledger says."""
        assert differences(photo(self.quotas, self.now), self.quotas.rules, self.ledger, self.now) == []

    @rule(amount=st.integers(1, 2000), seconds=st.integers(1, 7200))
    def grant(self, amount: int, seconds: int) -> None:
        self.quotas.grant({"org": [Raise(0, amount, self.now, self.now + seconds * SECOND)]})

    @invariant()
    def never_over(self) -> None:
        if not hasattr(self, "quotas"):
            return
        for key, (taken, limit) in self.taken().items():
            # a limit that was lowered (by an edit, the end of a raise, a new rule) may find more in use than it allows;
            # from then on nothing may be added
            assert taken <= max(limit, self.loosest.get(key, 0)), key
            self.loosest[key] = taken if taken > limit else limit
        assert self.quotas.live == len(self.open)
        for counter in self.quotas.counters:
            growing = [held for held, _ in self.open if held.growing]
            assert counter.growing == sum(any(span.counter is counter for span in held.spans) for held in growing)

    def teardown(self) -> None:
        if not hasattr(self, "quotas"):
            return
        for held, bound in self.open:
            self.quotas.settle(held, bound, self.now)
            self.ledger.rows.append((held.reserved_ns, held.subject, bound))
        for counter, position in self.quotas.snapshot(self.now):
            assert counter.reserved(position) == 0
        self.agrees()


TestGateway = Gateway.TestCase
EXAMPLES = 3000 if os.environ.get("PROVE") == "1" else 150
TestGateway.settings = settings(max_examples=EXAMPLES, stateful_step_count=60, deadline=None)
TestGateway.pytestmark = pytest.mark.prove


def test_the_model_itself_would_notice() -> None:
    """A counter that lost a settlement differs from the ledger."""
    ledger = Ledger()
    quotas = Quotas(rules(ALL, 1))
    load(quotas, ledger, START)
    held = quotas.reserve("call", SUBJECTS[0], Amounts(10, 5, 5), START)
    assert isinstance(held, Reservation)
    quotas.settle(held, Amounts(10, 5, 5), START)
    found = differences(photo(quotas, START), quotas.rules, ledger, START)
    assert {each.quota for each in found} == ALL - {"slots"}
    ledger.rows.append((START, SUBJECTS[0], Amounts(10, 5, 5)))
    assert differences(photo(quotas, START), quotas.rules, ledger, START) == []
    assert msgspec.structs.asdict(found[0])["ledger"] == 0
    assert CONCURRENT == 5
