"""Batches of requests that lie in a file: their use is reported once they have ended.

``POST /v1/batches`` begins one and answers its id. ``GET /v1/batches/ID`` answers how far it has come, again and again,
with the model that all its requests name and, of one that has ended, the sum of what they used. Of one that expired or
was cancelled the requests that had been answered are charged.

Source: OpenAI, guide "Batch API", API reference (batches/create, batches/object: ``model``, ``usage``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from gateway.wire.anthropic_iterations import MAX_BESIDE
from gateway.wire.dialect import Header
from gateway.wire.facts import Facts
from gateway.wire.framing.ndjson import Lines
from gateway.wire.json_read import parse
from gateway.wire.meter import FrameMeter, Reader
from gateway.wire.numbers import table, text, total
from gateway.wire.openai_usage import read_usage
from gateway.wire.paths import plain_path
from gateway.wire.usage import Beside, Reading, Usage

API = "batches"
RESULTS = "batch_results"
FILE = "download"
"""A file that may hold results."""
SUMMED = frozenset((API, RESULTS, FILE))
"""Operations whose usage is the sum of many calls'."""
KEYS = ("id", "model", "status", "usage")
"""Members of a batch that matter."""
_BATCH = re.compile(r"/batches(?P<one>/[^/]+)?$").search
_ENDED = frozenset(("completed", "expired", "cancelled"))
"""Of one that ``failed`` no request was begun."""


def batch(method: bytes, target: bytes) -> Facts | None:
    """Facts of a call that begins a batch or looks at one; None for any other call."""
    found = _BATCH(plain_path(target))
    if found is None or method != (b"GET" if found["one"] else b"POST"):
        return None
    return Facts(api=API, fetches=bool(found["one"]))


def add(summed: Usage, more: Usage) -> None:
    """Add what one request of a batch used."""
    for name in Usage.__struct_fields__:
        setattr(summed, name, total(getattr(summed, name), getattr(more, name)))


class ByModel:
    """Adds up what the requests of a batch used, by the model that answered."""

    def __init__(self) -> None:
        self._used: dict[str, Usage] = {}

    def __bool__(self) -> bool:
        return bool(self._used)

    def take(self, model: str, usage: Usage) -> None:
        """Add what one request used. Where there are too many models the rest counts as the first's."""
        used = self._used
        if model not in used and len(used) > MAX_BESIDE:
            model = next(iter(used))
        add(used.setdefault(model, Usage()), usage)

    def tell(self, reading: Reading, api: str) -> None:
        """The first model's use is the batch's, that of others stands beside it."""
        if not self._used:
            return
        (model, reading.usage), *others = self._used.items()
        reading.source, reading.complete = "response", True
        reading.model = model or reading.model
        reading.beside += tuple(Beside(api, other, usage) for other, usage in others)


class BatchReader:
    """Reads a batch: its id, by which it is charged once, and its use where it has ended and used anything."""

    def __init__(self) -> None:
        self.reading = Reading(service_tier="batch")
        self.terminal = False

    def frame(self, data: bytes) -> None:
        document = table(parse(data))
        reading = self.reading
        reading.claim = text(document.get("id"))
        reading.model = text(document.get("model"))
        usage = Usage()
        # before its end a batch reports zeros
        if document.get("status") in _ENDED and read_usage(table(document.get("usage")), usage) and usage != Usage():
            reading.usage, reading.source = usage, "response"

    def done(self) -> None:
        self.reading.complete = self.reading.usage is not None


class Results(Reader, Protocol):
    """Reads results of a batch, one a line."""

    def drop(self) -> None:
        """What was read is not all there is: it is no report."""
        ...


class ResultsMeter(FrameMeter):
    """Lines of which each counts: where their coding can't be undone to the end, none does."""

    def __init__(self, reader: Results, headers: Sequence[Header], keys: Sequence[str], needle: bytes) -> None:
        FrameMeter.__init__(self, reader, headers, Lines(keys), (needle,))
        self._results = reader

    def _end(self) -> None:
        FrameMeter._end(self)
        if self._decoder is not None and self._decoder.broken:
            self._results.drop()
