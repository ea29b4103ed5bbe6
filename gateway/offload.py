"""Work away from the event loop, its result back on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from gateway.ledger.faults import is_trouble

T = TypeVar("T")


class Offloader:
    """Runs work in a few threads; a failure is logged and answered by the fallback."""

    def __init__(self, loop: asyncio.AbstractEventLoop, executor: ThreadPoolExecutor, log: logging.Logger) -> None:
        self._loop = loop
        self._executor = executor
        self._log = log

    def __call__(self, work: Callable[[], T], fallback: T, then: Callable[[T], None]) -> None:
        def done(future: Future[T]) -> None:
            if future.cancelled():
                # the process ends: the call that waits for it is recovered at the next start
                return
            error = future.exception()
            if error is not None:
                expected = is_trouble(error)
                self._log.error(f"work in the background failed: {error}", exc_info=None if expected else error)
            result = fallback if error is not None else future.result()
            with suppress(RuntimeError):
                # the loop is closed: as above
                self._loop.call_soon_threadsafe(then, result)

        self._executor.submit(work).add_done_callback(done)
