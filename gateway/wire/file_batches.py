"""Batches whose use stands in their results alone: in a file, an answer a line, and at Mistral in the job too.

A call that begins one answers its id, and so does each look at it; of one that has ended also the id of the file with
its results. ``GET …/files/ID/content`` reads that file: its use is charged under the file's id, whoever read it first.
Mistral's jobs hold their answers inlined where the look asks for them (``?inline=true``), beside the same file.

Sources: Groq API reference (batches, files); Mistral API reference (batch/jobs: ``outputs``, ``output_file``; files)
and recorded jobs; Together API reference (batch-create: ``job``; batches, files). Lines are as OpenAI's: ``response``
with ``status_code`` and ``body``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from gateway.wire import batches
from gateway.wire.dialect import Header, Meter
from gateway.wire.facts import Facts, Other
from gateway.wire.framing.json_items import JsonItems
from gateway.wire.framing.json_scan import paths
from gateway.wire.hollow import hollow
from gateway.wire.json_read import parse, read_fields
from gateway.wire.meter import SilentMeter
from gateway.wire.numbers import table, text
from gateway.wire.paths import plain_path
from gateway.wire.pieces import PieceMeter, PieceReader
from gateway.wire.usage import Reading, Usage

ITEM_KEYS = ("response/body/usage", "response/body/usage_info", "response/body/model")
WANTED = paths(("id", "status", "output_file_id", "output_file", "model", "job/id"))
OUTPUTS = paths(("outputs",))
_ENDED = frozenset(("SUCCESS", "FAILED", "TIMEOUT_EXCEEDED", "CANCELLED"))
"""Mistral's jobs whose inlined answers are all there will be."""
_FILE = re.compile(r"/files/(?P<name>[^/]+)/content$").search


class Body(msgspec.Struct):
    model: Any = None
    requests: Any = None


_BODY: msgspec.json.Decoder[Body] = msgspec.json.Decoder(Body)


class Meaning(Protocol):
    """What the numbers of an answer mean, see ``gateway.wire.openai_shape``."""

    def usage_of(self, document: dict[str, Any]) -> Any: ...

    def take_usage(self, usage: dict[str, Any], document: dict[str, Any], into: Usage, reading: Reading) -> bool: ...


def read(jobs: str, method: bytes, target: bytes, body: bytes) -> Facts | None:
    """Facts of a call that begins a batch (``POST`` of a path that ends in ``jobs``), looks at one, or reads a file;
    None for any other call."""
    path = plain_path(target)
    if method == b"POST":
        return _begun(body) if path.endswith(jobs) else None
    if method != b"GET":
        return None
    if path.rpartition("/")[0].endswith(jobs):
        return Facts(api=batches.API, fetches=True)
    found = _FILE(path)
    return Facts(api=batches.FILE, fetches=True, claim=f"files/{text(found['name'])}") if found else None


def _begun(body: bytes) -> Facts:
    """It is charged when its results are read, but of a model that may not be used none may begin."""
    fields = read_fields(_BODY, body, hollow(body))
    if isinstance(fields, str):
        return Facts(api=batches.API)
    model = text(fields.model)
    asked = [table(table(one).get("body")) for one in fields.requests] if isinstance(fields.requests, list) else []
    names = {text(one["model"]) for one in asked if one.get("model") is not None}
    return Facts(api=batches.API, model=model, others=tuple(map(Other, sorted(names - {model}))))


class Sum:
    """Adds up what the requests of a batch used, by the model that answered."""

    def __init__(self, meaning: Meaning) -> None:
        self._meaning = meaning
        self.used = batches.ByModel()

    def frame(self, data: bytes) -> None:
        body = table(table(table(parse(data)).get("response")).get("body"))
        usage = self._meaning.usage_of(body)
        if not isinstance(usage, dict):
            # it failed, which costs nothing
            return
        into = Usage()
        if self._meaning.take_usage(usage, body, into, Reading()):
            self.used.take(text(body.get("model")), into)


class JobReader(PieceReader):
    """Reads a batch: its id, the file with its results, and what inlined answers used."""

    def __init__(self, meaning: Meaning) -> None:
        scan = JsonItems(WANTED, OUTPUTS, ITEM_KEYS, lambda: Sum(meaning))
        PieceReader.__init__(self, scan, Reading(service_tier="batch"))

    def _ended(self, job: dict[str, Any], reading: Reading) -> None:
        reading.model = text(job.get("model"))
        reading.claim = text(job.get("id")) or text(table(job.get("job")).get("id"))
        file = text(job.get("output_file_id")) or text(job.get("output_file"))
        if file:
            reading.claim, reading.begun_as = f"files/{file}", reading.claim
        for summed in self._scan.items.values() if job.get("status") in _ENDED else ():
            if isinstance(summed, Sum):
                summed.used.tell(reading, batches.FILE)


class FileReader:
    """Reads results, one a line. Of a file that holds none there is no report."""

    def __init__(self, meaning: Meaning, facts: Facts) -> None:
        self.reading = Reading(service_tier="batch", claim=facts.claim)
        self.terminal = False
        self._meaning = meaning
        self._sum = Sum(meaning)

    def frame(self, data: bytes) -> None:
        self._sum.frame(data)

    def done(self) -> None:
        self._sum.used.tell(self.reading, batches.FILE)

    def drop(self) -> None:
        self._sum = Sum(self._meaning)


def meter(meaning: Meaning, facts: Facts, status: int, headers: Sequence[Header]) -> Meter:
    """A meter for a batch, or for a file that may hold the results of one. A part of a file (206) says nothing."""
    if facts.api == batches.API:
        return PieceMeter(JobReader(meaning), headers)
    reader = FileReader(meaning, facts)
    if status != 200:
        return SilentMeter(reader, headers)
    return batches.ResultsMeter(reader, headers, ITEM_KEYS, b'"response"')
