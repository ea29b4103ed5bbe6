"""A coarse timer wheel: arming and cancelling a timer costs a list append, however many there are.

Timers fire on the first tick at or after their time, so up to one tick late. A sleeping wheel costs nothing: it ticks
only while a timer is armed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

TICK_SECONDS = 0.025
TICKS_PER_SECOND = 40
SLOTS = 512
"""One turn is 12.8 seconds; longer timers go round again."""
LONGEST_STILL_NS = 3_600_000_000_000


class WheelTimer:
    """One armed callback."""

    __slots__ = ("callback", "rounds")

    def __init__(self, callback: Callable[[], None], rounds: int) -> None:
        self.callback: Callable[[], None] | None = callback
        self.rounds = rounds

    def cancel(self) -> None:
        """Idempotent; the slot forgets the timer when its turn comes."""
        self.callback = None


class Wheel:
    """Implements ``gateway.ports.Clock`` on a running event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, since_ns: int = 0) -> None:
        """``since_ns``: how late it is for others already (see ``steadily``)."""
        self._loop = loop
        self._slots: list[list[WheelTimer]] = [[] for _ in range(SLOTS)]
        self._tick = 0
        self._armed = 0
        self._next_at = 0.0
        self._running = False
        self.monotonic: Callable[[], float] = time.monotonic
        self.now_ns: Callable[[], int] = steadily(time.time_ns, since_ns)

    def after(self, seconds: float, callback: Callable[[], None]) -> WheelTimer:
        """Call ``callback`` once, ``seconds`` from now, rounded up to the next tick."""
        if not self._running:
            self._wake()
        # ``_next_at`` may lie in the past where the loop was held up: count from the time, not from the tick
        ahead = (self.monotonic() + seconds - self._next_at) * TICKS_PER_SECOND
        ticks = int(ahead + 0.999999) + 1 if ahead > 0 else 1
        timer = WheelTimer(callback, (ticks - 1) // SLOTS)
        self._slots[(self._tick + ticks) % SLOTS].append(timer)
        self._armed += 1
        return timer

    def _wake(self) -> None:
        self._running = True
        self._next_at = self.monotonic() + TICK_SECONDS
        self._loop.call_at(self._next_at, self._turn)

    def _turn(self) -> None:
        """Fire what is due; after a stall, all slots that were missed."""
        now = self.monotonic()
        while self._next_at <= now and self._armed:
            self._tick = (self._tick + 1) % SLOTS
            self._next_at += TICK_SECONDS
            due = self._slots[self._tick]
            if due:
                self._slots[self._tick] = []
                self._fire(due)
        if self._armed:
            self._loop.call_at(self._next_at, self._turn)
        else:
            self._running = False

    def _fire(self, due: list[WheelTimer]) -> None:
        stay = []
        for timer in due:
            callback = timer.callback
            if callback is None:
                self._armed -= 1
            elif timer.rounds > 0:
                timer.rounds -= 1
                stay.append(timer)
            else:
                self._armed -= 1
                timer.callback = None
                try:
                    callback()
                except Exception as error:  # noqa: BLE001 - one timer's failure is reported, the others still fire
                    context = {"message": "a timer's callback failed", "exception": error}
                    self._loop.call_exception_handler(context)
        if stay:
            self._slots[self._tick].extend(stay)


def steadily(wall_ns: Callable[[], int], since_ns: int = 0) -> Callable[[], int]:
    """A wall clock that stands still where the machine's is set back by up to an hour, until that has caught up: so
    a call is charged to the window that its record names. A longer step back is followed."""
    last = since_ns

    def now_ns() -> int:
        nonlocal last
        now = wall_ns()
        if now >= last or last - now > LONGEST_STILL_NS:
            last = now
        return last

    return now_ns
