"""Long documents that are read as they come: the objects in their arrays one by one, of which none is kept."""

from __future__ import annotations

from typing import Any

from gateway.wire.framing.json_items import JsonItems
from gateway.wire.framing.json_scan import document_of
from gateway.wire.json_read import parse
from gateway.wire.meter import Base
from gateway.wire.numbers import table
from gateway.wire.usage import Reading


class PieceMeter(Base):
    """One document, which its reader sees as it comes."""

    def _take(self, data: bytes) -> None:
        self._reader.frame(data)

    def _end(self) -> None:
        return


class PieceReader:
    """Reads a document, piece by piece. One that is not whole says nothing."""

    def __init__(self, scan: JsonItems, reading: Reading) -> None:
        self.reading = reading
        self.terminal = False
        self._scan = scan

    def frame(self, data: bytes) -> None:
        self._scan.feed(data)

    def done(self) -> None:
        if self._scan.closed:
            self._ended(table(parse(document_of(self._scan.found))), self.reading)

    def _ended(self, document: dict[str, Any], reading: Reading) -> None:
        """Tell ``reading`` what the wanted members of the whole document say, and what took its items."""
        raise NotImplementedError
