"""Files as providers give them: pages of JSON, or CSV."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from gateway.statements.charge import StatementError

MAX_BYTES = 512 * 1024 * 1024
Page = dict[str, Any]


class Content:
    """What one file holds: ``pages`` of JSON, or ``rows`` of CSV with ``columns``."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.pages: list[Page] = []
        self.rows: list[dict[str, str]] = []
        self.columns: tuple[str, ...] = ()
        if path.stat().st_size > MAX_BYTES:
            raise StatementError(f"{path}: is larger than a statement should be")
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise StatementError(f"{path}: is no text") from error
        if text.lstrip()[:1] in ("{", "["):
            self._json(text, path)
        else:
            self._csv(text, path)

    def _json(self, text: str, path: Path) -> None:
        """One page, a list of pages, or a page a line."""
        try:
            found = json.loads(text, parse_float=Decimal)
        except RecursionError as error:
            raise StatementError(f"{path}: is no answer of a usage or cost API: it is nested without end") from error
        except json.JSONDecodeError:
            try:
                found = [json.loads(line, parse_float=Decimal) for line in text.splitlines() if line.strip()]
            except json.JSONDecodeError as error:
                raise StatementError(f"{path}: is no JSON: {error}") from error
        self.pages = found if isinstance(found, list) else [found]
        if not all(isinstance(page, dict) and isinstance(page.get("data"), list) for page in self.pages):
            raise StatementError(f'{path}: is no answer of a usage or cost API: it has no list "data"')
        if self.pages and self.pages[-1].get("has_more"):
            raise StatementError(f"{path}: more pages follow the last one (has_more): fetch them all into the file")

    def _csv(self, text: str, path: Path) -> None:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        self.columns = tuple(name.strip() for name in reader.fieldnames or ())
        if len(self.columns) < 2:
            raise StatementError(f"{path}: is neither JSON nor CSV with a line of names")
        for row in reader:
            if any(row.get(None) or ()):
                raise StatementError(
                    f"{path}: line {reader.line_num} has more values than columns: an amount with commas needs quotes"
                )
            self.rows.append({(name or "").strip(): (value or "") for name, value in row.items() if name is not None})
