"""Quotas: views of the ledger that can say no.

The invariant, for every blocking rule at every moment: settled + reserved <= limit. It holds because ``reserve`` checks
and takes in one synchronous section, because a reservation is an upper bound of what the call can cost, and because a
call is charged to the window in which it was reserved. All amounts are integers; money is nanodollars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from gateway.ledger.view import Spent, UsageView
from gateway.quota.counter import Counter, Span
from gateway.quota.matcher import Matcher, bucket_of
from gateway.quota.rule import CONCURRENT, UNITS, Rule, Subject
from gateway.quota.windows import FOREVER, ROLLING_PARTS

__all__ = ["Amounts", "Event", "Quotas", "Reservation", "Room", "Shortage", "Subject"]

MAX_PLANS = 20_000
OTHER = "other"
"""The bucket in which counters past the bound are counted together, where a rule says so."""
Vector = tuple[int, int, int, int, int, int]


class Amounts(msgspec.Struct, frozen=True):
    """What a call may use at most, or did use."""

    nanousd: int
    input_tokens: int
    output_tokens: int
    requests: int = 1

    def vector(self) -> Vector:
        """In the order of ``UNITS``."""
        tokens_in, tokens_out = self.input_tokens, self.output_tokens
        return (self.nanousd, tokens_in, tokens_out, tokens_in + tokens_out, self.requests, 1)


class Reservation:
    """What one call holds, and where."""

    __slots__ = ("call_id", "quotas", "reserved_ns", "spans", "subject", "vector")

    def __init__(
        self, call_id: str, subject: Subject, vector: Vector, spans: list[Span], quotas: tuple[str, ...], now_ns: int
    ) -> None:
        self.call_id = call_id
        self.subject = subject
        self.vector = vector
        self.spans = spans
        self.quotas = quotas
        self.reserved_ns = now_ns


class Shortage(msgspec.Struct, frozen=True, kw_only=True):
    """A quota that has no room for a call."""

    quota: str
    bucket: str
    unit: str
    limit: int
    used: int
    reserved: int
    wanted: int
    resets_ns: int | None
    """When room comes back by the passing of time; None: never."""
    hopeless: bool
    """The call alone is larger than the limit: waiting can't help."""
    clamp: bool
    """Every rule that is short allows a smaller output limit."""
    extend: bool
    rule: Rule


class Room(msgspec.Struct, kw_only=True):
    """What is left for a subject: the least over all blocking rules. None: no rule limits it."""

    nanousd: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    tokens: int | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something about a quota that somebody wants to know, once."""

    kind: str
    """``threshold``, ``exhausted``, ``reopened``, ``rule_changed``, ``granted``."""
    quota: str
    bucket: str = ""
    unit: str = ""
    limit: int = 0
    used: int = 0
    at_ns: int = 0
    detail: str = ""


class Plan:
    """The counters that hold for one subject."""

    __slots__ = ("counters", "names")

    def __init__(self, counters: list[Counter]) -> None:
        self.counters = counters
        self.names = tuple(counter.rule.name for counter in counters)


class Quotas:
    """All rules and their counters, in one process. ``observe`` hears of events; it must not call back."""

    def __init__(
        self,
        rules: Sequence[Rule],
        *,
        max_counters: int = 100_000,
        observe: Callable[[Event], None] | None = None,
    ) -> None:
        self.rules = tuple(rules)
        self._matcher = Matcher(rules)
        self._max_counters = max_counters
        self._observe = observe
        self._counters: dict[tuple[str, str], Counter] = {}
        self._plans: dict[Subject, Plan] = {}
        self._live: dict[str, Reservation] = {}
        self._freed: list[Callable[[], None]] = []
        """Who wants to know that something was given back: calls waiting in line."""

    # the request path

    def reserve(self, call_id: str, subject: Subject, bound: Amounts, now_ns: int) -> Reservation | Shortage:
        """Hold ``bound`` in every quota that matches, or in none."""
        plan = self._plans.get(subject)
        if plan is None:
            plan = self._plan(subject, now_ns)
        vector = bound.vector()
        spans: list[Span] = []
        for counter in plan.counters:
            span = counter.span
            if now_ns >= span.end_ns:
                span = self._roll(counter, now_ns)
            rule = counter.rule
            if rule.blocking:
                raises = rule.raises
                position = 0
                for unit in rule.units:
                    limit = rule.limit(position, now_ns) if raises else rule.limits[position]
                    taken = counter.base[position] + span.used[position] + span.reserved[position]
                    if taken + vector[unit] > limit:
                        return self._shortage(plan, counter, position, vector, now_ns)
                    position += 1
            spans.append(span)
        for span in spans:
            reserved = span.reserved
            position = 0
            for unit in span.counter.rule.units:
                reserved[position] += vector[unit]
                position += 1
        held = Reservation(call_id, subject, vector, spans, plan.names, now_ns)
        self._live[call_id] = held
        return held

    def settle(self, held: Reservation, actual: Amounts, now_ns: int) -> bool:
        """Book what a call used and give the rest back, once. True: it used more than it held."""
        vector = actual.vector()
        self._return(held, vector)
        reserved = held.vector
        exceeded = vector[0] > reserved[0] or vector[1] > reserved[1] or vector[2] > reserved[2]
        for span in held.spans:
            if span.counter.rule.warn_at:
                self._warn(span.counter, now_ns)
        return exceeded

    def release(self, held: Reservation, now_ns: int) -> None:
        """Give everything back: the call was never sent."""
        self._return(held, (0, 0, 0, 0, 0, 0))

    def grow(self, held: Reservation, more: Amounts, now_ns: int) -> bool:
        """Hold more for a call that goes on, in the windows in which it was reserved; False, and nothing, where one
        has no room."""
        vector = (more.nanousd, more.input_tokens, more.output_tokens, more.input_tokens + more.output_tokens, 0, 0)
        for span in held.spans:
            counter = span.counter
            rule = counter.rule
            if rule.blocking:
                for position, unit in enumerate(rule.units):
                    taken = (
                        counter.taken(position)
                        if span is counter.span or rule.rolling_ns
                        else span.used[position] + span.reserved[position]
                    )
                    if taken + vector[unit] > rule.limit(position, now_ns):
                        return False
        for span in held.spans:
            rule = span.counter.rule
            for position, unit in enumerate(rule.units):
                span.reserved[position] += vector[unit]
            if rule.rolling_ns and span is not span.counter.span:
                span.counter.recount()
        old = held.vector
        held.vector = tuple(a + b for a, b in zip(old, vector, strict=True))  # type: ignore[assignment]
        return True

    def _return(self, held: Reservation, used: Vector) -> None:
        """Turn what is held into what was used."""
        if self._live.pop(held.call_id, None) is None:
            raise AssertionError(f"{held.call_id} was settled twice")
        vector = held.vector
        for span in held.spans:
            counter = span.counter
            position = 0
            for unit in counter.rule.units:
                if unit == CONCURRENT:
                    counter.span.reserved[position] -= 1
                else:
                    span.reserved[position] -= vector[unit]
                    span.used[position] += used[unit]
                position += 1
            if counter.parts:
                counter.recount()
        if self._freed:
            for tell in list(self._freed):
                tell()

    # plans and counters

    def _plan(self, subject: Subject, now_ns: int) -> Plan:
        counters = [self._counter(rule, bucket_of(rule, subject), now_ns) for rule in self._matcher.rules_for(subject)]
        if len(self._plans) >= MAX_PLANS:
            for known in list(self._plans)[: MAX_PLANS // 10]:
                del self._plans[known]
        plan = self._plans[subject] = Plan(counters)
        return plan

    def _counter(self, rule: Rule, bucket: str, now_ns: int) -> Counter:
        counter = self._counters.get((rule.name, bucket))
        if counter is not None:
            return counter
        if len(self._counters) >= self._max_counters and rule.per:
            self._prune(now_ns)
            if len(self._counters) >= self._max_counters:
                if rule.shared_overflow and bucket != OTHER:
                    return self._counter_always(rule, OTHER, now_ns)
                full = msgspec.structs.replace(rule, limits=(0,) * len(rule.limits), raises=())
                return Counter(full if rule.blocking else rule, bucket, now_ns)
        return self._counter_always(rule, bucket, now_ns)

    def _counter_always(self, rule: Rule, bucket: str, now_ns: int) -> Counter:
        key = (rule.name, bucket)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = Counter(rule, bucket, now_ns)
        return counter

    def _prune(self, now_ns: int) -> None:
        """Forget counters whose windows are past and that nothing holds."""
        for counter in self._counters.values():
            if now_ns >= counter.span.end_ns:
                counter.roll(now_ns)
        gone = [key for key, counter in self._counters.items() if counter.idle]
        for key in gone:
            del self._counters[key]
        if gone:
            self._plans.clear()

    def _roll(self, counter: Counter, now_ns: int) -> Span:
        was_exhausted = counter.exhausted
        span = counter.roll(now_ns)
        if was_exhausted and not counter.exhausted:
            self._tell(counter, "reopened", 0, now_ns)
        return span

    # what is short

    def _shortage(self, plan: Plan, counter: Counter, position: int, vector: Vector, now_ns: int) -> Shortage:
        rule = counter.rule
        short = list(self._short(plan, vector, now_ns))
        limit = rule.limit(position, now_ns)
        wanted = vector[rule.units[position]]
        timeless = rule.units[position] == CONCURRENT or counter.span.end_ns >= FOREVER
        if not counter.exhausted and counter.taken(position) >= limit:
            counter.exhausted = True
            self._tell(counter, "exhausted", position, now_ns)
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

    def _short(self, plan: Plan, vector: Vector, now_ns: int) -> Iterator[Rule]:
        for counter in plan.counters:
            rule = counter.rule
            counter.current(now_ns)
            if rule.blocking and any(
                counter.taken(position) + vector[unit] > rule.limit(position, now_ns)
                for position, unit in enumerate(rule.units)
            ):
                yield rule

    def room(self, subject: Subject, now_ns: int) -> Room:
        """What is left for a subject now."""
        plan = self._plans.get(subject) or self._plan(subject, now_ns)
        left: dict[int, int] = {}
        for counter in plan.counters:
            rule = counter.rule
            if not rule.blocking:
                continue
            counter.current(now_ns)
            for position, unit in enumerate(rule.units):
                free = max(0, rule.limit(position, now_ns) - counter.taken(position))
                left[unit] = min(free, left.get(unit, free))
        return Room(nanousd=left.get(0), input_tokens=left.get(1), output_tokens=left.get(2), tokens=left.get(3))

    def on_freed(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` whenever something is given back."""
        self._freed.append(tell)

    # events

    def _warn(self, counter: Counter, now_ns: int) -> None:
        rule = counter.rule
        while counter.warned < len(rule.warn_at):
            top, bottom = rule.warn_at[counter.warned]
            position = next(
                (
                    p
                    for p in range(len(rule.units))
                    if rule.units[p] != CONCURRENT and counter.used(p) * bottom >= rule.limit(p, now_ns) * top
                ),
                None,
            )
            if position is None:
                return
            counter.warned += 1
            self._tell(counter, "threshold", position, now_ns, f"{100 * top // bottom} %")

    def _tell(self, counter: Counter, kind: str, position: int, now_ns: int, detail: str = "") -> None:
        if self._observe is None:
            return
        rule = counter.rule
        self._observe(
            Event(
                kind=kind,
                quota=rule.name,
                bucket=counter.bucket,
                unit=UNITS[rule.units[position]],
                limit=rule.limit(position, now_ns),
                used=counter.used(position),
                at_ns=now_ns,
                detail=detail,
            )
        )

    # the ledger

    def load(self, view: UsageView, now_ns: int, rules: Iterable[Rule] | None = None) -> None:
        """Set what is used, of all rules or of ``rules``, from the ledger."""
        by_window: dict[tuple[int, int], list[Rule]] = {}
        for rule in self.rules:
            if not rule.per:
                self._counter(rule, "", now_ns)
        for rule in self.rules if rules is None else rules:
            for span in _spans(rule, now_ns):
                by_window.setdefault(span, []).append(rule)
        for (start_ns, end_ns), group in sorted(by_window.items(), key=lambda item: item[0]):
            matcher = Matcher(group)
            for spent in view.spent(start_ns, min(end_ns, FOREVER)):
                subject = _subject(spent)
                for rule in matcher.rules_for(subject):
                    self._add(rule, bucket_of(rule, subject), spent, start_ns, end_ns, now_ns)

    def _add(self, rule: Rule, bucket: str, spent: Spent, start_ns: int, end_ns: int, now_ns: int) -> None:
        counter = self._counter(rule, bucket, now_ns)
        span = counter.span
        if span.start_ns != start_ns:
            span = next((part for part in counter.parts if part.start_ns == start_ns), span)
            if span.start_ns != start_ns:
                span = Span(counter, start_ns, end_ns)
                counter.parts.append(span)
        vector = Amounts(spent.nanousd, spent.input_tokens, spent.output_tokens, spent.requests).vector()
        for position, unit in enumerate(rule.units):
            if unit != CONCURRENT:
                span.used[position] += vector[unit]
        counter.recount()

    def adopt(self, old: Quotas, now_ns: int) -> None:
        """At a reload: take over the counters of rules that did not change, and all calls in flight."""
        kept = {rule.name: rule for rule in self.rules}
        for key, counter in old._counters.items():
            rule = kept.get(key[0])
            if rule is not None and rule.source == counter.rule.source:
                counter.rule = rule
                self._counters[key] = counter
        self._live = old._live
        for held in self._live.values():
            self._move(held, now_ns)

    def _move(self, held: Reservation, now_ns: int) -> None:
        """Put a call in flight under the rules that hold for it now, in the windows in which it was reserved."""
        plan = self._plans.get(held.subject) or self._plan(held.subject, held.reserved_ns)
        known = {id(span.counter): span for span in held.spans if self._owns(span.counter)}
        spans: list[Span] = []
        for counter in plan.counters:
            span = known.get(id(counter))
            if span is None:
                span = counter.current(held.reserved_ns)
                for position, unit in enumerate(counter.rule.units):
                    span.reserved[position] += held.vector[unit]
            spans.append(span)
        held.spans = spans

    def _owns(self, counter: Counter) -> bool:
        return self._counters.get((counter.rule.name, counter.bucket)) is counter

    def new_rules(self, old: Quotas) -> list[Rule]:
        """Rules that ``old`` did not have in this form: their use must be loaded."""
        before = {rule.name: rule.source for rule in old.rules}
        return [rule for rule in self.rules if before.get(rule.name) != rule.source]

    # looking

    def snapshot(self, now_ns: int) -> Iterator[tuple[Counter, int]]:
        """All counters, each unit of them, rolled to now."""
        for counter in list(self._counters.values()):
            if now_ns >= counter.span.end_ns:
                self._roll(counter, now_ns)
            for position in range(len(counter.rule.units)):
                yield counter, position

    def matching(self, subject: Subject, now_ns: int) -> list[Counter]:
        """The counters that hold for a subject."""
        return (self._plans.get(subject) or self._plan(subject, now_ns)).counters

    @property
    def live(self) -> int:
        """Calls that hold something."""
        return len(self._live)


def _spans(rule: Rule, now_ns: int) -> Iterator[tuple[int, int]]:
    """The windows of a rule that count now: one, or the parts of a rolling one."""
    start, end = rule.window(now_ns)
    yield start, end
    if rule.rolling_ns:
        part = end - start
        for number in range(1, ROLLING_PARTS + 1):
            yield start - number * part, end - number * part


def _subject(spent: Spent) -> Subject:
    tags = tuple(sorted(spent.tags.items()))
    return Subject(spent.team, spent.workflow, spent.key_id, spent.provider, spent.model_requested, tags)
