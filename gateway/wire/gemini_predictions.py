"""Answers of Google's ``:predict``: embeddings state their tokens, pictures are counted by the piece.

An answer may be long (a vector takes some 15 KB, a picture some MB), so its predictions are taken one by one. Beside
pictures stand reasons for pictures that were filtered out, and what is thought of the prompt; other predictions
(pictures' and videos' vectors, captions, those of models of one's own) state nothing that is billed.

Sources: Vertex AI "Text embeddings API" (``embeddings.statistics.token_count``), "Multimodal embeddings API",
REST reference ``VisionGenerativeModelResult`` (``mimeType``, ``bytesBase64Encoded``, ``gcsUri``, ``raiFilteredReason``,
``contentType``).
"""

from __future__ import annotations

from typing import Any

from gateway.wire.framing.json_items import JsonItems
from gateway.wire.framing.json_scan import paths
from gateway.wire.json_read import parse
from gateway.wire.numbers import part, table, text, total
from gateway.wire.pieces import PieceReader
from gateway.wire.usage import Reading, Usage

ITEM_KEYS = ("embeddings/statistics", "mimeType", "gcsUri", "raiFilteredReason")
"""What is read of a prediction that is too long to be kept."""
PICTURES = ("bytesBase64Encoded", "gcsUri")
WANTED = paths(("error",))
ARRAYS = paths(("predictions",))


class Counts:
    """Counts predictions. ``tokens`` is None where none states any."""

    def __init__(self) -> None:
        self.tokens: int | None = None
        self.pictures = self.filtered = 0

    def frame(self, data: bytes) -> None:
        item = table(parse(data))
        tokens = part(item, "embeddings", "statistics", "token_count")
        if tokens is not None:
            self.tokens = total(self.tokens or 0, tokens)
        elif "raiFilteredReason" in item:
            self.filtered += 1
        elif _is_picture(item):
            self.pictures += 1

    def usage(self) -> Usage | None:
        """What was used; None where nothing says it."""
        if self.tokens is not None:
            return Usage(input_tokens_total=self.tokens)
        return Usage(output_images=self.pictures) if self.pictures or self.filtered else None


def _is_picture(item: dict[str, Any]) -> bool:
    kind = text(item.get("mimeType"))
    return kind.startswith("image/") or (not kind and any(name in item for name in PICTURES))


class PredictionReader(PieceReader):
    """Reads an answer."""

    def __init__(self) -> None:
        PieceReader.__init__(self, JsonItems(WANTED, ARRAYS, ITEM_KEYS, Counts), Reading())

    def _ended(self, document: dict[str, Any], reading: Reading) -> None:
        reading.failed = bool(document.get("error"))
        for found in self._scan.items.values():
            usage = found.usage() if isinstance(found, Counts) else None
            if usage is not None:
                reading.usage, reading.source, reading.complete = usage, "response", True
