"""Files of one statement that hold the same charges: read together, these would count twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date

from msgspec.structs import astuple

from gateway.statements.charge import Charge

Day = Counter[tuple[object, ...]]


def by_day(charges: Iterable[Charge]) -> dict[date, Day]:
    """The lines of a file that charge or measure something, of each day."""
    found: dict[date, Day] = {}
    for one in charges:
        if one.nanousd or one.input_tokens or one.output_tokens or one.requests:
            found.setdefault(one.day, Counter())[astuple(one)] += 1
    return found


def same_day(one: dict[date, Day], other: dict[date, Day]) -> date | None:
    """The first day of which both hold the same lines; None: there is none."""
    return min((day for day, lines in one.items() if other.get(day) == lines), default=None)
