"""A line for calls that may wait their turn: in order, fair between keys, bounded. Timers are passed in."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

from gateway.ports import Clock, Timer
from gateway.quota.rule import Rule

PUMP_SECONDS = 0.25
"""How often the line is looked at for windows that reopened by themselves."""


class Waiter:
    """One call in line. ``turn`` tries to take room and says whether it did; ``late`` gives up."""

    __slots__ = ("gone", "late", "timer", "turn")

    def __init__(self, turn: Callable[[], bool], late: Callable[[], None]) -> None:
        self.turn = turn
        self.late = late
        self.gone = False
        self.timer: Timer | None = None


class WaitingLine:
    """One line a rule. Keys take turns; within a key, first come first served."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lines: dict[str, OrderedDict[str, deque[Waiter]]] = {}
        self._lengths: dict[str, int] = {}
        self._pumping = False
        self._armed = False

    def enter(
        self, rule: Rule, key: str, seconds: float, turn: Callable[[], bool], late: Callable[[], None]
    ) -> Callable[[], None] | None:
        """Stand in line; answers how to leave it. None: the line is full."""
        length = self._lengths.get(rule.name, 0)
        if length >= rule.queue_length:
            return None
        waiter = Waiter(turn, late)
        self._lines.setdefault(rule.name, OrderedDict()).setdefault(key, deque()).append(waiter)
        self._lengths[rule.name] = length + 1
        waiter.timer = self._clock.after(seconds, lambda: self._late(rule.name, waiter))
        if not self._armed:
            self._armed = True
            self._clock.after(PUMP_SECONDS, self._tick)
        return lambda: self._drop(rule.name, waiter)

    @property
    def length(self) -> int:
        return sum(self._lengths.values())

    def pump(self) -> None:
        """Something was given back: let those who fit go on."""
        if self._pumping or not self._lengths:
            return
        self._pumping = True
        try:
            for name in list(self._lines):
                self._pump(name)
        finally:
            self._pumping = False

    def _pump(self, name: str) -> None:
        line = self._lines.get(name)
        while line:
            key, waiters = next(iter(line.items()))
            while waiters and waiters[0].gone:
                waiters.popleft()
            if not waiters:
                del line[key]
                continue
            waiter = waiters[0]
            if not waiter.turn():
                return
            waiters.popleft()
            line.move_to_end(key)
            self._leave(name, waiter)
        self._lines.pop(name, None)

    def _tick(self) -> None:
        self._armed = False
        self.pump()
        if self._lengths:
            self._armed = True
            self._clock.after(PUMP_SECONDS, self._tick)

    def _late(self, name: str, waiter: Waiter) -> None:
        if not waiter.gone:
            self._leave(name, waiter)
            waiter.late()

    def _drop(self, name: str, waiter: Waiter) -> None:
        if not waiter.gone:
            self._leave(name, waiter)

    def _leave(self, name: str, waiter: Waiter) -> None:
        waiter.gone = True
        if waiter.timer is not None:
            waiter.timer.cancel()
        left = self._lengths.get(name, 1) - 1
        if left > 0:
            self._lengths[name] = left
        else:
            self._lengths.pop(name, None)
