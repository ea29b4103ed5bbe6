"""What waits to be written, and when a batch of it begins."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from gateway.ledger.transactions import TASK, Item

MAX_BATCH = 512
GATHER_SECONDS = 0.001
"""A batch waits no longer than this for rows of the same burst."""


class Gathering:
    """``begin`` is called on the loop when it is time for a batch of what is in ``queue``; ``busy`` holds it off."""

    __slots__ = ("_begin", "_due", "_loop", "_many", "_until", "busy", "queue")

    def __init__(self, loop: asyncio.AbstractEventLoop, begin: Callable[[], None]) -> None:
        self._loop = loop
        self._begin = begin
        self.queue: deque[Item] = deque()
        self.busy = True
        """A batch is under way, or nothing is written yet."""
        self._due = False
        """A turn of the loop that begins the next batch is on its way."""
        self._many = 0
        """Rows that waited when a turn of the loop was last given to gather more…"""
        self._until = 0.0
        """…and when there are no more such turns."""

    def put(self, item: Item) -> None:
        """``item`` waits: a batch begins soon."""
        self.queue.append(item)
        self.soon()

    def soon(self) -> None:
        """Begin a batch soon, whether a row waits or something else."""
        if not self._due and not self.busy:
            self._due = True
            self._many = len(self.queue)
            self._until = time.monotonic() + GATHER_SECONDS
            self._loop.call_soon(self._gather)

    def _gather(self) -> None:
        """A commit costs about the same for one row and for twenty: begin once a turn of the loop has brought no more,
        or it has been long enough."""
        waiting = len(self.queue)
        if waiting > self._many and time.monotonic() < self._until:
            self._many = waiting
            self._loop.call_soon(self._gather)
        else:
            self._due = False
            self._begin()

    def batch(self) -> list[Item]:
        """What one transaction takes, in order. A task is alone."""
        queue = self.queue
        batch: list[Item] = []
        while queue and len(batch) < MAX_BATCH:
            if queue[0][0] == TASK:
                if not batch:
                    batch.append(queue.popleft())
                break
            batch.append(queue.popleft())
        return batch
