"""Text for CSV files that people open in a spreadsheet."""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula: what could be one begins with an apostrophe."""
    return "'" + text if text.startswith(_FORMULA) else text
