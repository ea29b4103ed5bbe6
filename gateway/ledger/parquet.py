"""Records as a Parquet file, written in batches: constant memory."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import IO, Any

import msgspec

from gateway.ledger.rows import CONTRACT_NAMES

BATCH = 10_000
_INTEGERS = ("cost_nanousd", "reported_cost_nanousd", "reserved_nanousd", "reserved_input_tokens",
             "reserved_output_tokens", "status", "request_bytes", "response_bytes")  # fmt: skip
_FLOATS = ("latency_ms", "ttft_ms", "gateway_ms")
_FLAGS = ("stream", "priced")


def write_parquet(records: Iterable[dict[str, Any]], out: IO[bytes]) -> None:
    """One row a record; objects and lists as JSON text. Raises ``ModuleNotFoundError`` without pyarrow."""
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
    import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

    def kind(name: str) -> Any:
        if name in _INTEGERS:
            return pa.int64()
        if name in _FLOATS:
            return pa.float64()
        return pa.bool_() if name in _FLAGS else pa.string()

    schema = pa.schema([(name, kind(name)) for name in CONTRACT_NAMES])
    rows = iter(records)
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        while batch := [_flat(record) for record in islice(rows, BATCH)]:
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    return {
        key: msgspec.json.encode(value).decode() if isinstance(value, dict | list) else value
        for key, value in record.items()
    }
