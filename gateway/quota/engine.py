"""Quotas: views of the ledger that can say no.

The invariant, for every blocking rule at every moment: settled + reserved <= limit. It holds because ``reserve`` checks
and takes in one synchronous section, because a reservation is an upper bound of what the call can cost, and because a
call is charged to the window in which it was reserved. All amounts are integers; money is nanodollars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from gateway.quota.counter import Counter, Span
from gateway.quota.counters import Counters, Plan
from gateway.quota.notices import Notices
from gateway.quota.rule import CONCURRENT, UNITS, Raise, Rule, Subject
from gateway.quota.terms import Amounts, Beside, Observe, Reservation, Room, Shortage, Vector
from gateway.quota.windows import FOREVER

__all__ = ["Amounts", "Beside", "Quotas", "Reservation", "Room", "Shortage", "Subject"]


class Quotas:
    """All rules and their counters, in one process. ``observe`` hears of events; it must not call back."""

    def __init__(self, rules: Sequence[Rule], *, max_counters: int = 100_000, observe: Observe | None = None) -> None:
        self.rules = tuple(rules)
        self.counters = Counters(rules, max_counters, self._counter)
        self.counters.held = self._held
        self._plans = self.counters.plans
        self._live: dict[str, Reservation] = {}
        self._noted: list[tuple[Reservation, Vector]] | None = None
        self._freed: list[Callable[[], None]] = []
        """Who wants to know that something was given back: calls waiting in line."""
        self.notices = Notices(self.counters, observe)

    def _counter(self, rule: Rule, bucket: str, now_ns: int) -> Counter:
        return Counter(rule, bucket, now_ns)

    def _held(self) -> frozenset[int]:
        return frozenset(id(span.counter) for held in self._live.values() for span in held.spans)

    # the request path

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
        """Where room is lent (see ``gateway.quota.shared``): ask for what ``bound``, and other models ``beside``, lack,
        or for the ``whole`` of it; ``then`` hears whether all was lent. False: there is nobody to ask."""
        return False

    def reserve(self, call_id: str, subject: Subject, bound: Amounts, now_ns: int) -> Reservation | Shortage:
        """Hold ``bound`` in every quota that matches, or in none."""
        plan = self._plans.get(subject)
        if plan is None:
            plan = self.counters.plan(subject, now_ns)
        tokens_in, tokens_out = bound.input_tokens, bound.output_tokens
        vector = (bound.nanousd, tokens_in, tokens_out, tokens_in + tokens_out, bound.requests, 1)
        spans: list[Span] = []
        for counter in plan.counters:
            span = counter.span
            if now_ns >= span.end_ns:
                span = counter.roll(now_ns)
            if counter.blocking:
                base, used, reserved, limits = counter.base, span.used, span.reserved, counter.limits
                position = 0
                for unit in counter.units:
                    limit = counter.rule.limit(position, now_ns) if counter.raises else limits[position]
                    if base[position] + used[position] + reserved[position] + vector[unit] > limit:
                        return self._shortage(plan, counter, position, vector, now_ns)
                    position += 1
            spans.append(span)
        for span in spans:
            reserved = span.reserved
            position = 0
            for unit in span.counter.units:
                reserved[position] += vector[unit]
                position += 1
        held = Reservation(call_id, subject, vector, spans, plan.names, now_ns)
        self._live[call_id] = held
        return held

    def reserve_beside(self, held: Reservation, other: Beside, now_ns: int) -> Shortage | None:
        """Hold what another model may use for the same call, in the quotas that match it and not the call, or in none;
        all that the call holds is given back where there is no room."""
        subject, bound = other
        vector = bound.vector()
        plan = Plan(self._others_counters(held, subject, now_ns))
        for counter in plan.counters:
            counter.current(now_ns)
            for position, unit in enumerate(counter.units if counter.blocking else ()):
                if counter.taken(position) + vector[unit] > counter.limit(position, now_ns):
                    self.release(held, now_ns)
                    return self._shortage(plan, counter, position, vector, now_ns)
        if plan.counters:
            name = f"{held.call_id}+{len(held.beside)}"
            spans = [counter.hold(now_ns, vector) for counter in plan.counters]
            more = self._live[name] = Reservation(name, subject, vector, spans, plan.names, now_ns)
            more.of = held
            held.beside.append(more)
            held.quotas += tuple(one for one in plan.names if one not in held.quotas)
        return None

    def _others_counters(self, held: Reservation, subject: Subject, at_ns: int) -> list[Counter]:
        """The counters of another model's quotas that the call itself does not hold."""
        own = {id(span.counter) for span in held.spans}
        return [counter for counter in self.counters.plan(subject, at_ns).counters if id(counter) not in own]

    def settle(self, held: Reservation, actual: Amounts, now_ns: int) -> bool:
        """Book what a call used and give the rest back, once. True: it used more than it held."""
        tokens_in, tokens_out = actual.input_tokens, actual.output_tokens
        vector = (actual.nanousd, tokens_in, tokens_out, tokens_in + tokens_out, actual.requests, 1)
        self._return(held, vector)
        for span in held.spans:
            counter = span.counter
            if counter.near and counter.nearing():
                self.notices.warn(counter, now_ns)
        reserved = held.vector
        return vector[0] > reserved[0] or tokens_in > reserved[1] or tokens_out > reserved[2]

    def book(self, subject: Subject, actual: Amounts, at_ns: int) -> None:
        """Count what was used beside a call, for which nothing was held."""
        vector = actual.vector()
        for counter in self.counters.plan(subject, at_ns).counters:
            counter.book(at_ns, vector)
            if counter.rule.warn_at:
                self.notices.warn(counter, at_ns)
        if self._noted is not None:
            self._noted.append((Reservation("", subject, vector, [], (), at_ns), vector))

    def release(self, held: Reservation, now_ns: int) -> None:
        """Give everything back: the call was never sent."""
        self._return(held, (0, 0, 0, 0, 0, 0))

    def grow(self, held: Reservation, more: Amounts, now_ns: int) -> Rule | None:
        """Hold more for a call that goes on, in the windows in which it was reserved. Answers the rule that has no
        room for it, in which case nothing changes."""
        vector = (more.nanousd, more.input_tokens, more.output_tokens, more.input_tokens + more.output_tokens, 0, 0)
        for span in held.spans:
            counter = span.counter
            rule = counter.rule
            if not rule.blocking:
                continue
            for position, unit in enumerate(rule.units):
                if span is counter.span or rule.rolling_ns:
                    taken = counter.taken(position)
                else:
                    taken = span.used[position] + span.reserved[position]
                if vector[unit] and taken + vector[unit] > rule.limit(position, now_ns):
                    return rule
        for span in held.spans:
            rule = span.counter.rule
            for position, unit in enumerate(rule.units):
                span.reserved[position] += vector[unit]
            if span is not span.counter.span:
                span.counter.recount()
        a, b, c, d, e, f = held.vector
        held.vector = (a + vector[0], b + vector[1], c + vector[2], d + vector[3], e, f)
        return None

    def grows(self, held: Reservation) -> None:
        """What ``held`` holds is to grow: who comes later leaves room for it (``Room.growing``)."""
        held.growing = True
        for span in held.spans:
            span.counter.growing += 1

    def began(self, held: Reservation, at_ns: int) -> None:
        """What was held before it was known when it would begin does so now: it is charged to the windows of ``at_ns``,
        whether they have room or not."""
        for place, span in enumerate(held.spans):
            if not span.start_ns <= at_ns < span.end_ns:
                held.spans[place] = span.counter.rehold(span, at_ns, held.vector)
        held.reserved_ns = at_ns

    def _return(self, held: Reservation, used: Vector) -> None:
        """Turn what is held into what was used."""
        if self._live.pop(held.call_id, None) is None:
            raise AssertionError(f"{held.call_id} was settled twice")
        vector = held.vector
        for span in held.spans:
            counter = span.counter
            reserved, settled = span.reserved, span.used
            position = 0
            for unit in counter.units:
                if unit == CONCURRENT:
                    counter.span.reserved[position] -= 1
                else:
                    reserved[position] -= vector[unit]
                    settled[position] += used[unit]
                position += 1
            if counter.parts:
                counter.recount()
        if held.growing:
            for span in held.spans:
                span.counter.growing -= 1
        for more in held.beside:
            self._return(more, (0, 0, 0, 0, 0, 0))
        if self._noted is not None:
            self._noted.append((held, used))
        if self._freed:
            for tell in list(self._freed):
                tell()

    def give_back(self, subject: Subject, reserved_ns: int, more: Amounts, now_ns: int) -> None:
        """What a call is now known not to have used, in the windows in which it was reserved: it counts no more."""
        vector = more.vector()
        used = (-vector[0], -vector[1], -vector[2], -vector[3], 0, 0)
        for counter in self.counters.plan(subject, now_ns).counters:
            counter.book(reserved_ns, used)
        if self._noted is not None:
            self._noted.append((Reservation("", subject, used, [], (), reserved_ns), used))
        for tell in list(self._freed):
            tell()

    def on_freed(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` whenever something is given back."""
        self._freed.append(tell)

    # what is short, what is left

    def _shortage(self, plan: Plan, counter: Counter, position: int, vector: Vector, now_ns: int) -> Shortage:
        rule = counter.rule
        short = list(_short(plan, vector, now_ns))
        limit = rule.limit(position, now_ns)
        wanted = vector[rule.units[position]]
        timeless = rule.units[position] == CONCURRENT or counter.span.end_ns >= FOREVER
        return Shortage(
            quota=rule.name,
            bucket=counter.bucket,
            unit=UNITS[rule.units[position]],
            limit=limit,
            used=counter.used(position),
            reserved=counter.reserved(position),
            wanted=wanted,
            resets_ns=None if timeless else counter.reopens_ns(now_ns),
            hopeless=wanted > limit,
            clamp=all(other.clamp for other in short),
            extend=all(other.extend for other in short),
            rule=rule,
        )

    def room(self, subject: Subject, now_ns: int) -> Room:
        """What is left for a subject now."""
        left: dict[int, int] = {}
        growing = 0
        for counter in self.counters.plan(subject, now_ns).counters:
            rule = counter.rule
            if not rule.blocking:
                continue
            counter.current(now_ns)
            growing = max(growing, counter.growing)
            for position, unit in enumerate(rule.units):
                free = max(0, counter.left(position, now_ns))
                left[unit] = min(free, left.get(unit, free))
        usd, tokens_in, tokens_out, tokens = (left.get(unit) for unit in range(4))
        return Room(nanousd=usd, input_tokens=tokens_in, output_tokens=tokens_out, tokens=tokens, growing=growing)

    # what is told

    def refused(self, short: Shortage, now_ns: int) -> None:
        """A call was refused for lack of room."""
        self.notices.refused(short, now_ns)

    def look(self, now_ns: int) -> None:
        """Called now and then."""
        self.notices.look(now_ns)

    # raises

    def grant(self, raises: dict[str, list[Raise]]) -> None:
        """Set the raises that were granted at run time, by rule, beside those of the configuration."""
        for rule in self.rules:
            rule.raises[:] = [*rule.configured_raises, *raises.get(rule.name, ())]
        for tell in list(self._freed):
            tell()

    # changes of the rules (see ``gateway.quota.reload``)

    def note_settlements(self) -> None:
        """Keep note of what is settled, for rules that are made ready meanwhile."""
        self._noted = []

    def forget_settlements(self) -> None:
        self._noted = None

    def replace_rules(self, counters: Counters, new: frozenset[str], now_ns: int) -> None:
        """Put ``counters`` in place of those that hold. The rules that ``new`` names count there what was used before
        ``note_settlements``; the others keep their counters. Calls in flight move with what they hold."""
        counters.take_over(self.counters, new)
        noted, self._noted = self._noted or (), None
        for held, used in noted:
            for counter in counters.plan(held.subject, held.reserved_ns).counters:
                if counter.rule.name in new:
                    counter.book(held.reserved_ns, used)
        self.rules, self.counters, self._plans = counters.rules, counters, counters.plans
        counters.held = self._held
        self.notices.follow(counters, now_ns)
        for held in self._live.values():
            self._move(held)
        for counter in counters:
            counter.current(now_ns)

    def _move(self, held: Reservation) -> None:
        """Put a call in flight under the rules that hold for it now, in the windows in which it was reserved."""
        known = {id(span.counter): span for span in held.spans}
        spans: list[Span] = []
        counters = self.counters.plan(held.subject, held.reserved_ns).counters
        for counter in counters if held.of is None else self._others_counters(held.of, held.subject, held.reserved_ns):
            span = known.get(id(counter))
            if span is None:
                span = counter.hold(held.reserved_ns, held.vector)
                counter.growing += held.growing
            spans.append(span)
        held.spans = spans

    # looking

    def snapshot(self, now_ns: int) -> Iterator[tuple[Counter, int]]:
        """All counters, each unit of them, rolled to now."""
        for counter in self.counters:
            counter.current(now_ns)
            for position in range(len(counter.rule.units)):
                yield counter, position

    @property
    def live(self) -> int:
        """Calls that hold something."""
        return len(self._live)


def _short(plan: Plan, vector: Vector, now_ns: int) -> Iterator[Rule]:
    """All blocking rules that have no room."""
    for counter in plan.counters:
        rule = counter.rule
        counter.current(now_ns)
        if rule.blocking and any(
            counter.taken(position) + vector[unit] > counter.limit(position, now_ns)
            for position, unit in enumerate(rule.units)
        ):
            yield rule
