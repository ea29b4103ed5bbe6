"""What is told of quotas, each once: a threshold was crossed, there is no room any more, there is room again."""

from __future__ import annotations

from gateway.quota.counter import Counter
from gateway.quota.counters import Counters
from gateway.quota.rule import CONCURRENT, UNITS
from gateway.quota.terms import Event, Observe, Passed, Shortage


class Notices:
    """Of ``counters``. ``observe`` hears of events; it must not call back."""

    __slots__ = ("_counters", "_exhausted", "_observe", "_told")

    def __init__(self, counters: Counters, observe: Observe | None) -> None:
        self._counters = counters
        self._observe = observe
        self._exhausted: dict[Counter, tuple[int, int]] = {}
        """Counters that refuse calls → which unit, and how much the call that told of it wanted."""
        self._told: frozenset[Passed] = frozenset()
        """Thresholds that were told before the counters were loaded; forgotten at the next look."""

    def warn(self, counter: Counter, now_ns: int) -> None:
        """Tell of the thresholds that a counter has crossed."""
        rule = counter.rule
        while counter.warned < len(rule.warn_at):
            position = _crossing(counter, counter.warned, now_ns)
            if position is None:
                return
            share = _share(counter)
            counter.passed(counter.warned + 1)
            if not rule.rolling_ns or (rule.name, counter.bucket, share) not in self._told:
                self._tell(counter, "threshold", position, now_ns, share)

    def refused(self, short: Shortage, now_ns: int) -> None:
        """A call was refused for lack of room: the first that would not fit even with nothing held tells that the
        quota is exhausted."""
        if short.hopeless or short.unit == "concurrent" or short.held_up:
            return
        counter = self._counters.counter(short.rule, short.bucket, now_ns)
        if counter not in self._exhausted:
            position = counter.rule.units.index(UNITS.index(short.unit))
            wanted = short.least or short.wanted
            self._exhausted[counter] = (position, wanted)
            self._tell(counter, "exhausted", position, now_ns, wanted=wanted)

    def look(self, now_ns: int) -> None:
        """Called now and then: tells of quotas that have room again, and counts thresholds of rolling windows anew."""
        self._told = frozenset()
        for counter, (position, wanted) in list(self._exhausted.items()):
            counter.current(now_ns)
            if counter.used(position) + wanted <= counter.rule.limit(position, now_ns):
                del self._exhausted[counter]
                self._tell(counter, "reopened", position, now_ns)
        for counter in self._counters:
            if counter.warned and counter.rule.rolling_ns:
                counter.current(now_ns)
                while counter.warned and _crossing(counter, counter.warned - 1, now_ns) is None:
                    counter.passed(counter.warned - 1)
                    self._tell(counter, "receded", 0, now_ns, _share(counter))

    # a start, and other rules

    def was_exhausted(self, quota: str, bucket: str, unit: str, wanted: int, now_ns: int) -> None:
        """At a start: a quota had no room for a call that needed ``wanted``."""
        for rule in self._counters.rules:
            if rule.name == quota and UNITS.index(unit) in rule.units:
                counter = self._counters.counter(rule, bucket, now_ns)
                self._exhausted[counter] = (rule.units.index(UNITS.index(unit)), wanted)

    def were_told(self, told: frozenset[Passed], now_ns: int) -> None:
        """At a start: thresholds that were told before. Where a rolling window is still past them they are not told
        again; a window of the calendar says itself whether it is the same."""
        self._told = told
        for counter in self._counters:
            if counter.rule.rolling_ns:
                counter.current(now_ns)
                self.warn(counter, now_ns)

    def follow(self, counters: Counters, now_ns: int) -> None:
        """Other rules hold, of which these are the counters."""
        self._counters = counters
        told, self._exhausted = self._exhausted, {}
        for counter, (position, wanted) in told.items():
            if counters.owns(counter):
                self._exhausted[counter] = (position, wanted)
            elif any(rule.name == counter.rule.name and rule.per == counter.rule.per for rule in counters.rules):
                # a rule with another limit counts anew; that it has room again is told all the same
                unit = UNITS[counter.rule.units[position]]
                self.was_exhausted(counter.rule.name, counter.bucket, unit, wanted, now_ns)

    def _tell(self, counter: Counter, kind: str, position: int, now_ns: int, detail: str = "", wanted: int = 0) -> None:
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
                wanted=wanted,
                window_ns=counter.span.start_ns,
                at_ns=now_ns,
                detail=detail,
            )
        )


def _share(counter: Counter) -> str:
    """The next threshold."""
    top, bottom = counter.rule.warn_at[counter.warned]
    return f"{100 * top / bottom:g} %"


def _crossing(counter: Counter, threshold: int, now_ns: int) -> int | None:
    """The first unit of which the share of that threshold is used."""
    rule = counter.rule
    top, bottom = rule.warn_at[threshold]
    for position, unit in enumerate(rule.units):
        if unit != CONCURRENT and counter.used(position) * bottom >= rule.limit(position, now_ns) * top:
            return position
    return None
