"""Structured logs: one line a refusal or failure, none a success unless asked. Secrets and prompts never reach a line.

Lines are written by a thread of their own, so that a reader of standard error that stalls delays no call; what does not
fit its queue is dropped and counted.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import queue
import time
from collections.abc import Callable, Iterable
from logging.handlers import QueueHandler, QueueListener
from typing import Any

from gateway.scrub import Scrubber

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
STANDARD_ERROR = 2
QUEUE_LINES = 10_000
LAST_SECONDS = 2.0
"""So long the process's end waits for lines to be taken."""
LINES_PER_SECOND = 100
"""Of one message; more are left out and their number is told."""


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, scrubber: Scrubber) -> None:
        super().__init__()
        self._scrubber = scrubber

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        fields = getattr(record, "fields", None)
        if fields:
            line.update(fields)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(self._scrubber.deep(line), ensure_ascii=False, default=str)


class HumanLines(logging.Formatter):
    """Time, level, message, then ``key=value``; what a caller sent can't begin a line of its own."""

    def __init__(self, scrubber: Scrubber) -> None:
        super().__init__()
        self._scrubber = scrubber

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%H:%M:%S", time.localtime(record.created))
        fields = getattr(record, "fields", None) or {}
        rest = "".join(f" {key}={value}" for key, value in fields.items())
        text = _one_line(f"{at} {record.levelname.lower():7} {record.getMessage()}{rest}")
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return self._scrubber(text)


def _one_line(text: str) -> str:
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


class Bounded(QueueHandler):
    """Hands records to the writing thread; drops them where its queue is full."""

    dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1


class Raw(logging.Handler):
    """Writes lines with the system's own call and no lock, so that a stalled reader can't hold up the process's end."""

    def createLock(self) -> None:  # noqa: N802 - logging's name
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        left = (self.format(record) + "\n").encode(errors="replace")
        try:
            while left:
                left = left[os.write(STANDARD_ERROR, left) :]
        except OSError:
            return


def _stop(listener: QueueListener, lines: queue.Queue[logging.LogRecord]) -> None:
    """Write what waits, for at most ``LAST_SECONDS``."""
    deadline = time.monotonic() + LAST_SECONDS
    while not lines.empty() and time.monotonic() < deadline:
        time.sleep(0.01)
    if lines.empty():
        with contextlib.suppress(queue.Full):
            listener.enqueue_sentinel()
        thread = listener._thread
        if thread is not None:
            thread.join(max(0.1, deadline - time.monotonic()))


class Limited(logging.Filter):
    """Lets so many lines of one message through in a second, then tells how many it left out."""

    def __init__(self, per_second: int, now: Callable[[], float]) -> None:
        super().__init__()
        self._per_second = per_second
        self._now = now
        self._second: dict[str, int] = {}
        self._counts: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        key = str(record.msg)[:80]
        second = int(self._now())
        if self._second.get(key) != second:
            left_out = self._counts.get(key, 0) - self._per_second
            if left_out > 0:
                record.fields = {**getattr(record, "fields", {}), "left_out_before": left_out}
            if len(self._second) >= QUEUE_LINES:
                self._second.clear()
                self._counts.clear()
            self._second[key], self._counts[key] = second, 0
        self._counts[key] += 1
        return self._counts[key] <= self._per_second


def set_up(style: str, level: str, secrets: Iterable[str] = ()) -> Log:
    """The gateway's logger, writing to standard error. What libraries warn of takes the same way: the event loop does
    so for each piece of an answer whose client has just hung up."""
    scrubber = Scrubber(secrets)
    lines: queue.Queue[logging.LogRecord] = queue.Queue(QUEUE_LINES)
    writer = Raw()
    writer.setFormatter(JsonLines(scrubber) if style == "json" else HumanLines(scrubber))
    listener = QueueListener(lines, writer)
    listener.start()
    atexit.register(_stop, listener, lines)
    handler = Bounded(lines)
    handler.addFilter(Limited(LINES_PER_SECOND, time.monotonic))
    logger = logging.getLogger("spendgate")
    logger.handlers = [handler]
    logger.setLevel(LEVELS[level])
    logger.propagate = False
    libraries = logging.getLogger()
    libraries.handlers = [*(other for other in libraries.handlers if not isinstance(other, Bounded)), handler]
    return Log(logger, scrubber, handler)


class Log:
    """The logger, with what else belongs to it."""

    def __init__(self, logger: logging.Logger, scrubber: Scrubber, handler: Bounded) -> None:
        self.logger = logger
        self.scrubber = scrubber
        self._handler = handler

    @property
    def dropped(self) -> int:
        """Lines that the queue had no room for."""
        return self._handler.dropped
