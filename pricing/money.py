"""Money is integer nanodollars: a billionth of a US dollar, so that the price of one token is seldom a fraction."""

from __future__ import annotations

import msgspec

NANO = 1_000_000_000
"""Nanodollars in a dollar."""


class Line(msgspec.Struct, frozen=True, gc=False):
    """One line of a bill. The lines of a bill sum to its total."""

    item: str
    """``input``, ``cache_read``, ``output``, ``web_search``…"""
    quantity: int
    unit: str
    """``token``, ``request``, ``image``…"""
    nanousd: int


class Bill(msgspec.Struct, frozen=True, gc=False):
    """What one call costs. ``nanousd`` is the sum of ``lines``, whose quantities never overlap."""

    lines: tuple[Line, ...]
    nanousd: int
    source: str = ""
    """Which price made it: enough to explain it and to price it again."""
    irregular: str = ""
    """Not empty: the usage contradicts itself (a part larger than its whole), and how; the part counts in full."""
    unpriced: tuple[str, ...] = ()
    """Units that were used and have no rate: they are on no line."""


def half_even(numerator: int, denominator: int) -> int:
    """``numerator / denominator`` to the nearest integer, a half to the even one. The denominator is positive."""
    whole, rest = divmod(numerator, denominator)
    rest *= 2
    if rest > denominator or (rest == denominator and whole & 1):
        whole += 1
    return whole


def reported_bill(nanousd: int) -> Bill:
    """A bill of what the provider itself says a call cost."""
    return Bill((Line("reported", 1, "request", nanousd),), nanousd, "reported by the provider")


def dollars(nanousd: int) -> str:
    """``nanousd`` in dollars, exact, without trailing zeros: ``0.0000025``."""
    if 0 < nanousd < NANO:
        # less than a dollar, as most calls cost
        return "0." + str(nanousd).zfill(9).rstrip("0")
    whole, rest = divmod(abs(nanousd), NANO)
    text = f"{whole}.{rest:09d}".rstrip("0").rstrip(".")
    return f"-{text}" if nanousd < 0 else text
