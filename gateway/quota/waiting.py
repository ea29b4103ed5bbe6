"""A line for calls that may wait their turn: in order, fair between keys, bounded. Timers are passed in."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

from gateway.ports import Clock, Timer
from gateway.quota.rule import Rule

PUMP_SECONDS = 0.25
"""How often the line is looked at for windows that reopened by themselves."""


Place = tuple[str, str]
"""A counter: the rule's name and the bucket."""


class Waiter:
    """One call in line. ``turn`` tries to take room and says whether it leaves the line; ``late`` gives up."""

    __slots__ = ("gone", "key", "late", "place", "timer", "turn")

    def __init__(self, place: Place, key: str, turn: Callable[[], bool], late: Callable[[], None]) -> None:
        self.place = place
        self.key = key
        self.turn = turn
        self.late = late
        self.gone = False
        self.timer: Timer | None = None


class WaitingLine:
    """One line a counter, so that none waits for another's room. Keys take turns; within a key, first come first
    served."""

    __slots__ = ("_armed", "_clock", "_lengths", "_lines", "_pumping")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lines: dict[Place, OrderedDict[str, deque[Waiter]]] = {}
        """Nobody in it is gone, no deque and no line is empty."""
        self._lengths: dict[str, int] = {}
        """Of all lines of a rule together, which is what ``queue_length`` bounds."""
        self._pumping = False
        self._armed = False

    def enter(
        self, rule: Rule, bucket: str, key: str, seconds: float, turn: Callable[[], bool], late: Callable[[], None]
    ) -> Callable[[], None] | None:
        """Stand in line; answers how to leave it. None: the line is full."""
        length = self._lengths.get(rule.name, 0)
        if length >= rule.queue_length:
            return None
        waiter = Waiter((rule.name, bucket), key, turn, late)
        self._lines.setdefault(waiter.place, OrderedDict()).setdefault(key, deque()).append(waiter)
        self._lengths[rule.name] = length + 1
        waiter.timer = self._clock.after(seconds, lambda: self._late(waiter))
        if not self._armed:
            self._armed = True
            self._clock.after(PUMP_SECONDS, self._tick)
        return lambda: self._leave(waiter)

    @property
    def length(self) -> int:
        return sum(self._lengths.values())

    @property
    def busy(self) -> bool:
        """Somebody waits."""
        return bool(self._lines)

    def waited_for(self, quota: str, bucket: str) -> bool:
        """True while calls stand in line for this counter: who comes later stands behind them."""
        return (quota, bucket) in self._lines

    def pump(self) -> None:
        """Something was given back: let those who fit go on."""
        if self._pumping or not self._lines:
            return
        self._pumping = True
        try:
            for place in list(self._lines):
                self._pump(place)
        finally:
            self._pumping = False

    def _pump(self, place: Place) -> None:
        while line := self._lines.get(place):
            key, waiters = next(iter(line.items()))
            waiter = waiters[0]
            if not waiter.turn():
                return
            self._leave(waiter)
            if key in line:
                line.move_to_end(key)

    def _tick(self) -> None:
        self._armed = False
        self.pump()
        if self._lines:
            self._armed = True
            self._clock.after(PUMP_SECONDS, self._tick)

    def _late(self, waiter: Waiter) -> None:
        if not waiter.gone:
            self._leave(waiter)
            waiter.late()

    def _leave(self, waiter: Waiter) -> None:
        """Out of the line, once."""
        if waiter.gone:
            return
        waiter.gone = True
        if waiter.timer is not None:
            waiter.timer.cancel()
        line = self._lines[waiter.place]
        waiters = line[waiter.key]
        waiters.remove(waiter)
        if not waiters:
            del line[waiter.key]
        if not line:
            del self._lines[waiter.place]
        name = waiter.place[0]
        left = self._lengths[name] - 1
        if left:
            self._lengths[name] = left
        else:
            del self._lengths[name]
