"""Quotas of one of several processes: it spends what the lender lent it (see ``gateway.quota.leases``).

While it has a slice the request path is that of a process alone: a look at a counter's own limit. Where a slice does
not suffice the call asks for more, beside the request path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import msgspec

from gateway.quota.counter import Counter, Span
from gateway.quota.counters import Counters, Plan
from gateway.quota.engine import Quotas
from gateway.quota.rule import CONCURRENT, Raise, Rule, Subject
from gateway.quota.slices import Back, Given, Stand, Want
from gateway.quota.terms import Amounts, Beside, Reservation, Shortage, Vector


def identity(rule: Rule) -> str:
    """Names a rule in the form in which it stands in the configuration, the same in every process."""
    said = hashlib.sha256(repr(rule.source).encode()).hexdigest()[:16]
    return f"{rule.name}@{said}"


class Lending(Protocol):
    """The way to the lender. Nothing here waits."""

    def claim(self, wants: list[Want], then: Callable[[list[Given]], None]) -> None:
        """Ask; ``then`` hears the answer."""
        ...

    def back(self, backs: list[Back], stands: list[Stand]) -> None:
        """Give back, and tell how the counters stand."""
        ...

    def refused(self, short: Shortage) -> None:
        """A call was refused for lack of room."""
        ...


class SharedCounter(Counter):
    """``limits`` is what this process was lent in the current window; ``base`` stays 0, the lender knows the rest."""

    __slots__ = ("_rolled", "free", "name", "seen", "tight", "unknown")

    def __init__(
        self, rule: Rule, name: str, bucket: str, now_ns: int, rolled: Callable[[SharedCounter, Span, list[int]], None]
    ) -> None:
        super().__init__(rule, bucket, now_ns)
        units = len(rule.units)
        self.name = name
        """The rule's identity."""
        self.slice = [0] * units
        self.free = [0] * units
        """What the lender had left when it last answered…"""
        self.seen = [0] * units
        """…and what was used then."""
        self.tight = False
        self.unknown = False
        """What other gateways have left could not be asked."""
        self._rolled = rolled

    @property
    def slice(self) -> list[int]:
        found = self.limits
        assert isinstance(found, list)
        return found

    @slice.setter
    def slice(self, amounts: list[int]) -> None:
        self.limits, self.raises = amounts, ()

    def adopt(self, rule: Rule) -> None:
        self.rule = rule

    def dropped(self) -> None:
        self._rolled(self, self.span, self.slack())
        self.slice = [0] * len(self.rule.units)

    def limit(self, position: int, now_ns: int) -> int:
        return self.limits[position]

    def left(self, position: int, now_ns: int) -> int:
        return self.slack()[position] + max(0, self.free[position])

    def slack(self) -> list[int]:
        """What was lent and is neither used nor held."""
        span = self.span
        return [lent - used - held for lent, used, held in zip(self.slice, span.used, span.reserved, strict=True)]

    def roll(self, now_ns: int) -> Span:
        old, slack, units = self.span, self.slack(), self.rule.units
        span = super().roll(now_ns)
        self.slice = [
            lent if unit == CONCURRENT else 0 for lent, unit in zip(self.slice, units, strict=True)
        ]  # the rest was lent for the window that is over
        self._rolled(self, old, [0 if unit == CONCURRENT else free for unit, free in zip(units, slack, strict=True)])
        return span

    def recount(self) -> None:
        return

    def used(self, position: int) -> int:
        """By all processes, as far as is known here."""
        return self.seen[position]

    def reserved(self, position: int) -> int:
        """By all processes, as far as is known here."""
        return max(0, self.rule.limit(position, self.span.start_ns) - self.free[position] - self.seen[position])


class SharedQuotas(Quotas):
    """``soon`` calls back at the end of this turn of the loop: what comes back in a turn goes in one message."""

    def __init__(
        self,
        rules: Sequence[Rule],
        lending: Lending,
        soon: Callable[[Callable[[], None]], object],
        *,
        max_counters: int,
    ) -> None:
        self._lending = lending
        self._soon = soon
        self._backs: dict[tuple[str, str, int, int], int] = {}
        self._touched: set[Span] = set()
        self._names = {id(rule): identity(rule) for rule in rules}
        self._raises: dict[str, list[Raise]] = {}
        """Granted at run time."""
        super().__init__(rules, max_counters=max_counters)

    def _counter(self, rule: Rule, bucket: str, now_ns: int) -> Counter:
        # a rule that is full has no name: nothing is lent for it
        return SharedCounter(rule, self._names.get(id(rule), ""), bucket, now_ns, self._rolled)

    # asking

    def ask(
        self,
        subject: Subject,
        bound: Amounts,
        now_ns: int,
        then: Callable[[bool], None],
        *,
        beside: Sequence[Beside] = (),
        whole: bool = False,
    ) -> bool:
        wants: list[Want] = []
        places: list[tuple[SharedCounter, Span, int]] = []
        for counter, vector in self._needs(subject, bound, beside, now_ns):
            assert isinstance(counter, SharedCounter)
            if not counter.rule.blocking or not counter.name:
                continue
            span = counter.current(now_ns)
            slack = counter.slack()
            short = any(free < vector[unit] for free, unit in zip(slack, counter.rule.units, strict=True))
            if short and (whole or counter.tight):
                # slack may go before the answer comes: it goes at once, and all is asked for
                self._loosen(counter)
                slack = [0] * len(slack)
            for position, unit in enumerate(counter.rule.units):
                lacks = vector[unit] - slack[position]
                if lacks > 0:
                    wants.append(Want(counter.name, counter.bucket, position, span.start_ns, lacks))
                    places.append((counter, span, position))
        if not wants:
            return False
        self._flush()
        self._lending.claim(wants, lambda given: self._lent(places, given, then))
        return True

    def _needs(
        self, subject: Subject, bound: Amounts, beside: Sequence[Beside], now_ns: int
    ) -> list[tuple[Counter, Vector]]:
        """What a call, and other models beside it, want of each counter."""
        own = bound.vector()
        found = {id(counter): (counter, own) for counter in self.counters.plan(subject, now_ns).counters}
        others: dict[int, tuple[Counter, Vector]] = {}
        for other, amounts in beside:
            more = amounts.vector()
            for counter in self.counters.plan(other, now_ns).counters:
                if id(counter) not in found:
                    a, b, c, d, e, f = others[id(counter)][1] if id(counter) in others else (0, 0, 0, 0, 0, 0)
                    summed = (a + more[0], b + more[1], c + more[2], d + more[3], e + more[4], f + more[5])
                    others[id(counter)] = (counter, summed)
        return [*found.values(), *others.values()]

    def _lent(
        self, places: list[tuple[SharedCounter, Span, int]], given: list[Given], then: Callable[[bool], None]
    ) -> None:
        for (counter, span, position), one in zip(places, given, strict=True):
            unit = counter.rule.units[position]
            if unit != CONCURRENT and counter.span is not span:
                # its window has ended meanwhile
                self._give(counter, span.start_ns, position, one.amount)
                continue
            counter.slice[position] += one.amount
            counter.free[position], counter.seen[position] = one.free, one.used
            counter.tight, counter.unknown = one.tight, one.unknown
        then(all(one.amount for one in given))
        for counter, _, _ in places:
            if counter.tight:
                self._loosen(counter)

    def recalled(self, name: str, bucket: str) -> None:
        """Others need room: give back the slack of a counter, now and from now on."""
        rule = next((rule for rule in self.rules if self._names[id(rule)] == name), None)
        counter = self.counters.known(rule.name, bucket) if rule is not None else None
        if isinstance(counter, SharedCounter):
            counter.tight = True
            self._loosen(counter)
        self._flush()

    def freed(self) -> None:
        """Something came back for which calls stand in line."""
        for tell in list(self._freed):
            tell()

    # giving back

    def _return(self, held: Reservation, used: Vector) -> None:
        super()._return(held, used)
        for span in held.spans:
            counter = span.counter
            assert isinstance(counter, SharedCounter)
            if counter.tight:
                self._loosen(counter)
            if span is not counter.span and counter.rule.rolling_ns and counter.rule.blocking:
                for position, unit in enumerate(counter.rule.units):
                    if unit != CONCURRENT:
                        self._give(counter, span.start_ns, position, held.vector[unit] - used[unit])
        self._touched.update(held.spans)

    def settle(self, held: Reservation, actual: Amounts, now_ns: int) -> bool:
        vector, reserved = actual.vector(), held.vector
        self._return(held, vector)
        exceeded = vector[0] > reserved[0] or vector[1] > reserved[1] or vector[2] > reserved[2]
        if exceeded:
            self._overdraw(held.spans)
        return exceeded

    def book(self, subject: Subject, actual: Amounts, at_ns: int) -> None:
        vector = actual.vector()
        for counter in self.counters.plan(subject, at_ns).counters:
            counter.book(at_ns, vector)
            span = counter.span_at(at_ns)
            self._touched.add(span)
            if span is counter.span:
                self._overdraw((span,))
            elif counter.rule.rolling_ns and counter.rule.blocking:
                for position, unit in enumerate(counter.rule.units):
                    if unit != CONCURRENT:
                        self._give(counter, span.start_ns, position, -vector[unit])

    def began(self, held: Reservation, at_ns: int) -> None:
        before = list(held.spans)
        super().began(held, at_ns)
        for old, new in zip(before, held.spans, strict=True):
            counter = old.counter
            if old is not new and counter.rule.blocking:
                self._touched.add(old)
                for position, unit in enumerate(counter.rule.units):
                    if unit != CONCURRENT and old is not counter.span:
                        self._give(counter, old.start_ns, position, held.vector[unit])
                    if unit != CONCURRENT and new is not counter.span:
                        self._give(counter, new.start_ns, position, -held.vector[unit])
        self._overdraw(held.spans)

    def _overdraw(self, spans: Iterable[Span]) -> None:
        """What is used or held beyond a slice and can't be refused any more: the lender must know."""
        for span in spans:
            counter = span.counter
            assert isinstance(counter, SharedCounter)
            if counter.rule.blocking:
                for position, slack in enumerate(counter.slack()):
                    if slack < 0:
                        counter.slice[position] -= slack
                        self._give(counter, counter.span.start_ns, position, slack)

    def _loosen(self, counter: SharedCounter) -> None:
        """Give back all slack of a counter."""
        for position, slack in enumerate(counter.slack()):
            if slack:
                counter.slice[position] -= slack
                self._give(counter, counter.span.start_ns, position, slack)
        self._touched.add(counter.span)

    def _rolled(self, counter: SharedCounter, old: Span, slack: list[int]) -> None:
        if counter.rule.blocking:
            for position, amount in enumerate(slack):
                self._give(counter, old.start_ns, position, amount)

    def _give(self, counter: Counter, start_ns: int, position: int, amount: int) -> None:
        assert isinstance(counter, SharedCounter)
        if not amount or not counter.name:
            return
        if not self._backs:
            self._soon(self._flush)
        key = (counter.name, counter.bucket, position, start_ns)
        self._backs[key] = self._backs.get(key, 0) + amount

    def _flush(self) -> None:
        backs, self._backs = self._backs, {}
        if backs:
            near = {(name, bucket) for name, bucket, _, _ in backs}
            stands = [span for span in self._touched if _key(span) in near]
            self._touched.difference_update(stands)
            self._lending.back([Back(*key, amount) for key, amount in backs.items()], _told(stands))

    # what others are told

    def refused(self, short: Shortage, now_ns: int) -> None:
        if not short.unknown:
            self._lending.refused(short)

    def _shortage(self, plan: Plan, counter: Counter, position: int, vector: Vector, now_ns: int) -> Shortage:
        short = super()._shortage(plan, counter, position, vector, now_ns)
        assert isinstance(counter, SharedCounter)
        if counter.unknown and not short.hopeless:
            return msgspec.structs.replace(short, unknown=True)
        return short

    def look(self, now_ns: int) -> None:
        return

    def stands(self) -> list[Stand]:
        """How the counters stand that were touched since the last call; those of calls in flight are among them."""
        for held in self._live.values():
            self._touched.update(held.spans)
        touched, self._touched = self._touched, set()
        for held in self._live.values():
            self._touched.update(held.spans)
        return _told(touched)

    def photo(self) -> list[Stand]:
        """How all counters stand that count now."""
        return _told(span for counter in self.counters for span in (counter.span, *counter.parts))

    # changes

    def change(self, rules: Sequence[Rule], max_counters: int, now_ns: int) -> None:
        """Other rules hold. Of those that are new nothing is used here yet; calls in flight move to them with what they
        hold."""
        before = set(self._names.values())
        self._flush()
        self._names = {id(rule): identity(rule) for rule in rules}
        new = {rule.name for rule in rules if self._names[id(rule)] not in before}
        self.replace_rules(Counters(rules, max_counters, self._counter), frozenset(new), now_ns)
        for held in self._live.values():
            fresh = [span for span in held.spans if span.counter.rule.name in new]
            self._overdraw(fresh)
            for span in fresh:
                counter = span.counter
                if span is not counter.span and counter.rule.rolling_ns and counter.rule.blocking:
                    for position, unit in enumerate(counter.rule.units):
                        if unit != CONCURRENT:
                            self._give(counter, span.start_ns, position, -held.vector[unit])
        self.grant(self._raises)

    def raised(self, raises: dict[str, list[Raise]]) -> None:
        """Raises that were granted at run time; what is lent of them the lender says."""
        self._raises = raises
        self.grant(raises)

    def give_all(self) -> None:
        """At the end: nothing more will be used."""
        for counter in self.counters:
            if isinstance(counter, SharedCounter) and counter.rule.blocking:
                self._loosen(counter)
        self._flush()


def _key(span: Span) -> tuple[str, str]:
    counter = span.counter
    assert isinstance(counter, SharedCounter)
    return counter.name, counter.bucket


def _told(spans: Iterable[Span]) -> list[Stand]:
    return [Stand(*_key(span), span.start_ns, list(span.used), list(span.reserved)) for span in spans]
