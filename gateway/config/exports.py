"""``[[exports]]``: files that are written by themselves, one a period."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gateway.config.values import Moment, Name, Number, Table


class ExportConfig(Table):
    """FOCUS files of every day, week or month, each written once, when its period is over."""

    name: Name
    to: str = Field(min_length=1)
    """A directory, from the configuration's own; or an address that fsspec knows, like ``s3://bucket/folder``."""
    period: Literal["day", "week", "month"] = "month"
    format: Literal["csv", "parquet"] = "csv"
    grain: Literal["day", "hour"] = "day"
    after_hours: Number = 3
    """How long after its end a period is closed. What is settled or corrected later stands in the next file."""
    from_: Moment | None = Field(default=None, alias="from")
    """The first period is the one that this moment is in. None: that of the ledger's first call."""
    options: dict[str, str] = {}
    """What fsspec's file system is made with: keys, an endpoint."""
