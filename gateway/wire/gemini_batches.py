"""Batches of the Gemini API: what their requests used stands in their results, request by request.

``POST …/models/M:batchGenerateContent`` and ``…:asyncBatchEmbedContent`` begin one and answer an operation. ``GET
/v1beta/batches/ID`` answers it again and again, ``metadata`` being the batch. Of one that has ended the answers are in
``response`` and the same once more in ``metadata.output``: inlined, or the name of a file (``files/batch-ID``), which
holds one answer a line.

Source: https://ai.google.dev/api/batch-api, https://ai.google.dev/gemini-api/docs/batch-api; python-genai
(``batches.py``, ``types.SingleEmbedContentResponse``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.wire import batches
from gateway.wire.dialect import Header, Meter
from gateway.wire.facts import Facts, Other
from gateway.wire.framing.json_items import JsonItems
from gateway.wire.framing.json_scan import paths
from gateway.wire.gemini_shape import GeminiReader
from gateway.wire.hollow import hollow
from gateway.wire.json_read import parse, read_fields
from gateway.wire.meter import SilentMeter, header
from gateway.wire.numbers import count, table, text
from gateway.wire.paths import plain_path
from gateway.wire.pieces import PieceMeter, PieceReader
from gateway.wire.usage import Reading, Usage

OPERATIONS = frozenset(("batchGenerateContent", "asyncBatchEmbedContent"))
ITEM_KEYS = ("response/usageMetadata", "response/modelVersion", "response/tokenCount")
WANTED = paths(("name", "done", "metadata/state", "metadata/model"))
ARRAYS = paths(
    f"{place}/{kind}/inlinedResponses"
    for place in ("response", "metadata/output")
    for kind in ("inlinedResponses", "inlinedEmbedContentResponses")
)
"""Where answers are inlined: the first that tells of any use counts, the others say the same."""
_LOOK = re.compile(r"/batches/[^/:]+$").search
_DOWNLOAD = re.compile(r"/files/(?P<name>[^/:]+):download$").search
_ENDED = ("_SUCCEEDED", "_FAILED", "_CANCELLED", "_EXPIRED")
_MEDIA = (b"video/", b"image/", b"audio/")


class Body(msgspec.Struct):
    batch: Any = None


_BODY: msgspec.json.Decoder[Body] = msgspec.json.Decoder(Body)


def begun(model: str, body: bytes) -> Facts:
    """Facts of a call that begins a batch. It is charged when its results are read, but of a model that may not be
    used none may begin."""
    fields = read_fields(_BODY, body, hollow(body))
    batch = {} if isinstance(fields, str) else table(fields.batch)
    named = [batch]
    for config in (table(batch.get("inputConfig")), table(batch.get("input_config"))):
        requests = table(config.get("requests")).get("requests")
        named += [table(table(one).get("request")) for one in requests] if isinstance(requests, list) else []
    names = {text(one["model"]).removeprefix("models/") for one in named if one.get("model") is not None}
    return Facts(api=batches.API, model=model, others=tuple(map(Other, sorted(names - {model}))))


def fetched(method: bytes, target: bytes) -> Facts | None:
    """Facts of a call that looks at a batch, or reads a file that may hold the results of one; None for any other."""
    if method != b"GET":
        return None
    path = plain_path(target)
    if _LOOK(path):
        return Facts(api=batches.API, fetches=True)
    found = _DOWNLOAD(path)
    if found is None:
        return None
    name = text(found["name"])
    batch = name.removeprefix("batch-")
    if batch == name:
        # not named as results are: what lies in it tells
        return Facts(api=batches.FILE, fetches=True, claim=f"files/{name}")
    return Facts(api=batches.RESULTS, fetches=True, claim=f"batches/{batch}")


class Sum:
    """Adds up what the requests of a batch used, by the model that answered."""

    def __init__(self) -> None:
        self.used = batches.ByModel()

    def frame(self, data: bytes) -> None:
        response = table(parse(data)).get("response")
        if not isinstance(response, dict):
            # it failed, which costs nothing
            return
        embeds = "embedding" in response
        reader = GeminiReader(Facts(api="gemini_embed" if embeds else "generate_content"))
        reader.document(response)
        reader.done()
        found = reader.reading
        usage, tokens = found.usage, count(response.get("tokenCount"))
        if usage is None and tokens is not None:
            usage = Usage(input_tokens_total=tokens)
        if usage is not None:
            self.used.take(found.model, usage)


class BatchReader(PieceReader):
    """Reads a batch: its id, by which it is charged once, and what inlined answers used once it ended."""

    def __init__(self) -> None:
        PieceReader.__init__(self, JsonItems(WANTED, ARRAYS, ITEM_KEYS, Sum), Reading(service_tier="batch"))

    def _ended(self, document: dict[str, Any], reading: Reading) -> None:
        batch = table(document.get("metadata"))
        reading.claim = text(document.get("name"))
        reading.model = text(batch.get("model")).removeprefix("models/")
        if document.get("done") is not True and not text(batch.get("state")).endswith(_ENDED):
            return
        for path in ARRAYS:
            found = self._scan.items.get(path)
            if isinstance(found, Sum) and found.used:
                found.used.tell(reading, batches.RESULTS)
                return


class ResultsReader:
    """Reads results that lie in a file, one a line. Of a file that holds none there is no report."""

    def __init__(self, facts: Facts) -> None:
        self.reading = Reading(service_tier="batch", claim=facts.claim)
        self.terminal = False
        self._sum = Sum()

    def frame(self, data: bytes) -> None:
        self._sum.frame(data)

    def done(self) -> None:
        self._sum.used.tell(self.reading, batches.RESULTS)

    def drop(self) -> None:
        self._sum = Sum()


def meter(facts: Facts, status: int, headers: Sequence[Header]) -> Meter:
    """A meter for a batch, or for a file that may hold the results of one. A part of a file (206) says nothing."""
    if facts.api == batches.API:
        return PieceMeter(BatchReader(), headers)
    reader = ResultsReader(facts)
    if status != 200 or header(headers, b"content-type").lower().startswith(_MEDIA):
        return SilentMeter(reader, headers)
    return batches.ResultsMeter(reader, headers, ITEM_KEYS, b'"response"')
