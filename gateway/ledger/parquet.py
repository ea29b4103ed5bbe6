"""Records as a Parquet file, written in batches: constant memory."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import IO, Any

import msgspec

from gateway.ledger.rows import CONTRACT

BATCH = 10_000


def write_parquet(records: Iterable[dict[str, Any]], out: IO[bytes]) -> None:
    """One row a record; objects and lists as JSON text. Raises ``ModuleNotFoundError`` without pyarrow."""
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
    import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

    kinds = {int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(name, kinds.get(kind, pa.string())) for name, kind in CONTRACT.items()])
    rows = iter(records)
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        while batch := [_flat(record) for record in islice(rows, BATCH)]:
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    return {
        key: msgspec.json.encode(value).decode() if isinstance(value, dict | list) else value
        for key, value in record.items()
    }
