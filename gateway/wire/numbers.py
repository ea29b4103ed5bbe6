"""Numbers as providers send them: integers, and now and then something else. Nothing here raises."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

LARGEST = 1 << 32
"""No call uses so much of anything: some hundred times the largest context. What it would cost still fits a ledger."""
EXACT = 1 << 53
"""Up to here a JSON number is exact everywhere."""
_YES = frozenset(("1", "on", "t", "true", "y", "yes"))


def count(value: object, largest: int = LARGEST) -> int | None:
    """A count of units: a non-negative integer, also as ``12.0`` or ``"12"``; anything else is as if absent."""
    if type(value) is int:
        return value if 0 <= value < largest else None
    if type(value) is float:
        return int(value) if value.is_integer() and 0 <= value < largest else None
    if type(value) is str and value.isdecimal() and value.isascii() and len(value) <= 16:
        number = int(value)
        return number if number < largest else None
    return None


def total(*counts: int) -> int:
    """The sum of counts, which is a count again."""
    return min(sum(counts), LARGEST - 1)


def part(table: object, *names: str) -> int | None:
    """The count under a path of keys; None where it is not there."""
    for name in names[:-1]:
        if not isinstance(table, Mapping):
            return None
        table = table.get(name)
    return count(table.get(names[-1])) if isinstance(table, Mapping) else None


def text(value: object, limit: int = 200) -> str:
    """A name, bounded, that every encoding and store takes; empty where it is not text."""
    if not isinstance(value, str):
        return ""
    name = value if len(value) <= limit else value[:limit]
    if not name.isascii():
        # half a surrogate pair is JSON, and no text
        name = name.encode("utf-8", "replace").decode()
    return name.replace("\0", "?") if "\0" in name else name


def yes(value: object) -> bool:
    """``true``, and what servers take for it that are written with pydantic, as vLLM and SGLang are.

    Source: pydantic, "Conversion table" (bool from 1, 1.0 and ``t``, ``y``, ``on``, ``yes``, ``true``, in any case).
    """
    return value == 1 or (isinstance(value, str) and value.lower() in _YES)


def table(value: object) -> dict[str, Any]:
    """A JSON object; empty where it is none."""
    return value if isinstance(value, dict) else {}


def nanousd(dollars: object) -> int | None:
    """Dollars as a JSON number states them, in nanodollars; None where it states none."""
    if isinstance(dollars, bool) or not isinstance(dollars, int | float | str) or len(str(dollars)) > 40:
        return None
    try:
        value = Decimal(str(dollars))
    except ArithmeticError:
        return None
    return round(value * 1_000_000_000) if value.is_finite() and 0 <= value < 1_000_000 else None
