"""docs/admin-api.md lists every path of the API."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.admin.openapi import describe

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "admin-api.md").read_text()


def test_every_path_of_the_api_is_in_the_table() -> None:
    told = set(re.findall(r"`((?:GET|POST|DELETE) /api/[^`]+)`", TEXT))
    known = {
        f"{method.upper()} {path}" for path, operations in describe()["paths"].items() for method in operations
    }  # fmt: skip
    assert told == known
