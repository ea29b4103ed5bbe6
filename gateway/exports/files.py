"""Rows into a file, as they come: CSV or Parquet. Memory does not grow with the number of rows."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from itertools import islice
from typing import IO, Any, Literal

from gateway.exports.columns import COLUMNS, PLACES, TEXTS, Kind, Row

Format = Literal["csv", "parquet"]
BATCH = 5000
DIGITS = 38
"""What Parquet's widest decimal holds."""


def write(rows: Iterable[Row], out: IO[bytes], form: Format) -> None:
    """Write rows to a file that is open for bytes. Raises ``ModuleNotFoundError`` where Parquet lacks pyarrow."""
    if form == "parquet":
        _parquet(rows, out)
    else:
        _csv(rows, out)


class _Text:
    """What ``csv`` writes text to."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out

    def write(self, text: str) -> int:
        return self._out.write(text.encode())


def _csv(rows: Iterable[Row], out: IO[bytes]) -> None:
    writer = csv.writer(_Text(out))
    writer.writerow(COLUMNS)
    shown = [(name, TEXTS[kind]) for name, kind in COLUMNS.items()]
    for row in rows:
        writer.writerow([show(row[name]) for name, show in shown])


def _parquet(rows: Iterable[Row], out: IO[bytes]) -> None:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
    import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

    kinds: dict[Kind, Any] = {
        "text": pa.string(),
        "number": pa.decimal128(DIGITS, PLACES),
        "time": pa.timestamp("ms", tz="UTC"),
    }
    schema = pa.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        rest = iter(rows)
        while batch := list(islice(rest, BATCH)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
