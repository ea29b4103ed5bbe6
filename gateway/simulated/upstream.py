"""Plays the provider's side of ``gateway.ports.Upstreams``, at the pace of a real model."""

from __future__ import annotations

from collections import deque

from gateway.ports import Clock, Endpoint, Exchange, Timer, UpstreamPort
from gateway.simulated.shapes import Step, answer
from gateway.wire.http_heads import REASONS


class SimulatedUpstreams:
    """``first_seconds`` pass before an answer begins, ``token_seconds`` between its words."""

    def __init__(self, clock: Clock, first_seconds: float = 0.25, token_seconds: float = 0.02) -> None:
        self._clock = clock
        self._first_seconds = first_seconds
        self._token_seconds = token_seconds

    def send(self, endpoint: Endpoint, head: bytes, body: bytes, method: bytes, to: Exchange) -> UpstreamPort:
        target = head.split(b" ", 2)[1]
        steps = answer(method, target, body, self._first_seconds, self._token_seconds)
        return SimulatedCall(self._clock, deque(steps), to)


class SimulatedCall:
    """One answer on its way: gives the exchange its head, pieces and end when their time has come."""

    whole = False

    def __init__(self, clock: Clock, steps: deque[Step], to: Exchange) -> None:
        self._clock = clock
        self._steps = steps
        self._to = to
        self._paused = False
        self._timer: Timer | None = None
        self._arm()

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            if self._timer is None:
                self._arm()

    def abort(self) -> None:
        self._steps.clear()
        if self._timer is not None:
            self._timer.cancel()

    def write(self, data: bytes) -> None:
        """Never called: nothing here switches protocols."""

    def _arm(self) -> None:
        if self._steps:
            self._timer = self._clock.after(self._steps[0].after, self._play)

    def _play(self) -> None:
        """Give the next step, and all that follow without a pause."""
        self._timer = None
        while self._steps and not self._paused:
            self._give(self._steps.popleft())
            if self._steps and self._steps[0].after > 0:
                break
        if not self._paused:
            self._arm()

    def _give(self, step: Step) -> None:
        if step.status:
            self._to.upstream_head(step.status, REASONS.get(step.status, b""), list(step.headers))
        elif step.end:
            self._to.upstream_end([])
        else:
            self._to.upstream_data(step.data)
