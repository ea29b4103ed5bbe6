"""One counter of one rule: what is used and what is held, window by window."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from gateway.quota.rule import CONCURRENT, Raise, Rule
from gateway.quota.windows import FOREVER


class Span:
    """A counter in one window (or one part of a rolling window). Lives as long as a reservation refers to it."""

    __slots__ = ("counter", "end_ns", "reserved", "start_ns", "used")

    def __init__(self, counter: Counter, start_ns: int, end_ns: int) -> None:
        units = len(counter.units)
        self.counter = counter
        self.start_ns = start_ns
        self.end_ns = end_ns
        self.used = [0] * units
        self.reserved = [0] * units


class Counter:
    """Holds ``settled + reserved <= limit`` for its rule in the current window.

    ``base`` is what earlier parts of a rolling window, and calls still open from an earlier window's ``concurrent``
    unit, add to the current span.
    """

    __slots__ = (
        "ahead",
        "base",
        "blocking",
        "bucket",
        "growing",
        "limits",
        "near",
        "parts",
        "raises",
        "rule",
        "span",
        "units",
        "warned",
    )

    def __init__(self, rule: Rule, bucket: str, now_ns: int) -> None:
        self.rule = rule
        self.bucket = bucket
        self.units = rule.units
        self.blocking = rule.blocking
        self.limits: Sequence[int] = rule.limits
        self.raises: Sequence[Raise] = rule.raises
        """What is added to ``limits`` for a time."""
        self.span = Span(self, *rule.window(now_ns))
        self.base = [0] * len(rule.units)
        self.parts: deque[Span] = deque()
        """Earlier parts of a rolling window that still count."""
        self.ahead: dict[int, Span] = {}
        """Windows to come, by their start, of which something is used: the clock was set back."""
        self.warned = 0
        """How many of the rule's thresholds were crossed in this window."""
        self.near: Sequence[int] = self._nearing()
        """What must be used for the next threshold; empty: there is none. Raises and earlier parts change it."""
        self.growing = 0
        """Calls in flight whose reservation grows with their answer."""

    def adopt(self, rule: Rule) -> None:
        """The same rule, read again."""
        self.rule, self.limits, self.raises = rule, rule.limits, rule.raises

    def passed(self, thresholds: int) -> None:
        """So many of the rule's thresholds were crossed."""
        self.warned = thresholds
        self.near = self._nearing()

    def _nearing(self) -> Sequence[int]:
        rule = self.rule
        if self.warned >= len(rule.warn_at):
            return ()
        top, bottom = rule.warn_at[self.warned]
        return [
            FOREVER if unit == CONCURRENT else -(-limit * top // bottom)
            for unit, limit in zip(rule.units, rule.limits, strict=True)
        ]

    def nearing(self) -> bool:
        """The next threshold may be crossed: a look that costs less than to tell."""
        if self.raises or self.parts:
            return True
        position = 0
        for used in self.span.used:
            if used >= self.near[position]:
                return True
            position += 1
        return False

    def dropped(self) -> None:
        """It is forgotten: nothing is used, nothing is held."""

    def limit(self, position: int, now_ns: int) -> int:
        """What may be taken here."""
        return self.rule.limit(position, now_ns)

    def left(self, position: int, now_ns: int) -> int:
        """What may still be taken."""
        return self.limit(position, now_ns) - self.taken(position)

    def current(self, now_ns: int) -> Span:
        """The span that holds ``now_ns``. A clock that was set back stays in the newest one."""
        span = self.span
        return span if now_ns < span.end_ns else self.roll(now_ns)

    def roll(self, now_ns: int) -> Span:
        """Begin the next window. What is past is forgotten; what is held stays with its calls."""
        old = self.span
        rule = self.rule
        span = self.span = Span(self, *rule.window(now_ns))
        if rule.rolling_ns:
            self.parts.append(old)
        if self.ahead:
            span = self._reach(span)
        if rule.rolling_ns:
            self._forget(now_ns)
        elif self.warned:
            self.passed(0)
        for position, unit in enumerate(rule.units):
            if unit == CONCURRENT:
                span.reserved[position] = old.reserved[position]
        return span

    def _reach(self, span: Span) -> Span:
        """``span`` begins, of which something may be used already, and of the parts before it."""
        for start in sorted(self.ahead):
            if start <= span.start_ns:
                part = self.ahead.pop(start)
                if start == span.start_ns:
                    self.span = part
                elif self.rule.rolling_ns:
                    self.parts.append(part)
        return self.span

    def _forget(self, now_ns: int) -> None:
        """Add up the parts of a rolling window that still count, and drop those that don't."""
        horizon = now_ns - self.rule.rolling_ns
        while self.parts and self.parts[0].end_ns <= horizon:
            self.parts.popleft()
        self.recount()

    def _beside(self) -> list[Span]:
        """Of a rolling window, the earlier parts that still count, and those to come with which this one will."""
        until = self.span.end_ns + self.rule.rolling_ns if self.rule.rolling_ns else 0
        return [*self.parts, *(part for start, part in self.ahead.items() if start < until)]

    def recount(self) -> None:
        """The sum of what is used and held beside the current span."""
        spans = self._beside()
        for position, unit in enumerate(self.rule.units):
            if unit == CONCURRENT:
                self.base[position] = 0
            else:
                self.base[position] = sum(part.used[position] + part.reserved[position] for part in spans)

    def span_at(self, at_ns: int) -> Span:
        """The span to which a call that was reserved at ``at_ns`` is charged. One that is past counts no more."""
        for part in self.ahead.values():
            if part.start_ns <= at_ns < part.end_ns:
                return part
        span = self.current(at_ns)
        if at_ns >= span.start_ns:
            return span
        for part in self.parts:
            if part.start_ns <= at_ns < part.end_ns:
                return part
        past = Span(self, *self.rule.window(at_ns))
        if span.start_ns - past.end_ns < self.rule.rolling_ns:
            self.parts.append(past)
            self.parts = deque(sorted(self.parts, key=lambda part: part.start_ns))
        return past

    def hold(self, at_ns: int, vector: Sequence[int]) -> Span:
        """Hold what a call reserved at ``at_ns``, whether there is room or not; answers where."""
        span = self.span_at(at_ns)
        for position, unit in enumerate(self.rule.units):
            (self.span if unit == CONCURRENT else span).reserved[position] += vector[unit]
        self.recount()
        return span

    def rehold(self, span: Span, at_ns: int, vector: Sequence[int]) -> Span:
        """Hold at ``at_ns`` what is held in ``span``; answers where."""
        moved = self.span_at(at_ns)
        for position, unit in enumerate(self.rule.units):
            if unit != CONCURRENT:
                span.reserved[position] -= vector[unit]
                moved.reserved[position] += vector[unit]
        self.recount()
        return moved

    def book(self, at_ns: int, vector: Sequence[int]) -> None:
        """Count what a call used that was reserved at ``at_ns`` and is settled."""
        span = self.span_at(at_ns)
        for position, unit in enumerate(self.rule.units):
            if unit != CONCURRENT:
                span.used[position] += vector[unit]
        self.recount()

    def taken(self, position: int) -> int:
        """Used and held in the window that counts now."""
        return self.base[position] + self.span.used[position] + self.span.reserved[position]

    def used(self, position: int) -> int:
        return self.span.used[position] + sum(part.used[position] for part in self._beside())

    def reserved(self, position: int) -> int:
        if self.rule.units[position] == CONCURRENT:
            return self.span.reserved[position]
        return self.span.reserved[position] + sum(part.reserved[position] for part in self._beside())

    def reopens_ns(self, now_ns: int) -> int:
        """When some of what is used no longer counts."""
        if self.rule.rolling_ns:
            oldest = self.parts[0] if self.parts else self.span
            return oldest.end_ns + self.rule.rolling_ns
        return self.span.end_ns

    @property
    def idle(self) -> bool:
        """Nothing used, nothing held: forgetting it loses nothing."""
        spans = (self.span, *self.parts, *self.ahead.values())
        return not any(any(span.used) or any(span.reserved) for span in spans)
