"""The most that a call within given totals can cost, whatever mix of parts, tiers and regions it turns out to be.

Exact in its reasoning: on each side (input, output) the dearest rate holds for all tokens, and each line that can be
fractional may round up by half a nanodollar. So a bill is never above its ceiling, and by no more below than the mix
really costs less.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

from pricing.money import half_even
from pricing.sheet import Sheet
from pricing.units import PARTS, SEEN, UNITS

UNBOUNDED = 1 << 62
"""Answer of ``affordable_output`` where output costs nothing."""

_INPUT_ITEMS = ("input", *(part.item for part in PARTS if part.whole == "input"))
_OUTPUT_ITEMS = ("output", *(part.item for part in PARTS if part.whole == "output"))


class _Side:
    """The dearest rate of one side, and how many of its lines can round up."""

    __slots__ = ("denominator", "fractional", "half_up", "numerator", "twice", "twice_below")

    def __init__(self, rates: Iterable[Fraction], fractional: int) -> None:
        self.numerator, self.denominator = max(rates, default=Fraction(0)).as_integer_ratio()
        self.fractional = fractional
        self.twice, self.twice_below = 2 * self.numerator, 2 * self.denominator
        self.half_up = fractional * self.denominator

    def cost(self, tokens: int) -> int:
        if tokens <= 0:
            return 0
        if not self.fractional:
            return tokens * self.numerator
        half_up = self.half_up if tokens >= self.fractional else tokens * self.denominator
        return (tokens * self.twice + half_up) // self.twice_below

    def affordable(self, nanousd: int) -> int:
        """The largest number of tokens that costs at most ``nanousd`` (which is not negative)."""
        if not self.numerator:
            return UNBOUNDED
        spare = 2 * self.denominator * (nanousd + 1) - self.fractional * self.denominator - 1
        tokens = max(0, spare // (2 * self.numerator))
        while self.cost(tokens + 1) <= nanousd:
            tokens += 1
        while tokens and self.cost(tokens) > nanousd:
            tokens -= 1
        return tokens


class Ceiling:
    """Upper bounds over a set of sheets."""

    __slots__ = ("_fee", "_sides", "_single", "_thresholds", "_units")

    def __init__(self, sheets: Iterable[Sheet]) -> None:
        known = tuple(sheets)
        self._thresholds = tuple(sorted({start for sheet in known for start in sheet.thresholds}))
        sizes = (0, *(start + 1 for start in self._thresholds))
        # a call within a larger bound may also be a small one: rates accumulate over the sizes below
        self._sides = tuple(
            (_side(known, _INPUT_ITEMS, sizes[: count + 1]), _side(known, _OUTPUT_ITEMS, sizes[: count + 1]))
            for count in range(len(sizes))
        )
        self._single = self._sides[0] if len(self._sides) == 1 else None
        self._units = {
            unit.usage: (
                _unit_side(known, (unit.item, SEEN) if unit.item == "web_search" else (unit.item,), sizes),
                max((sheet.minimum_audio_ms for sheet in known), default=0) if unit.item == "audio_time" else 0,
            )
            for unit in UNITS
            if unit.usage
        }
        fees = [sheet.card["request"].at(size) for sheet in known if "request" in sheet.card for size in sizes]
        self._fee = max((half_even(*fee.as_integer_ratio()) for fee in fees), default=0)

    def cost(self, input_tokens: int, output_tokens: int, units: Mapping[str, int]) -> int:
        """At least the bill of any usage with at most these totals. ``units``: by usage field."""
        sides = self._single
        if sides is None:
            sides = self._at(input_tokens)
        of_input, of_output = sides
        total = self._fee + of_input.cost(input_tokens) + of_output.cost(output_tokens)
        return total + self._of_units(units) if units else total

    def _of_units(self, units: Mapping[str, int]) -> int:
        total = 0
        for name, quantity in units.items():
            known = self._units.get(name)
            if known is not None and quantity > 0:
                total += known[0].cost(max(quantity, known[1]))
        return total

    def affordable_output(self, nanousd: int, input_tokens: int, units: Mapping[str, int]) -> int:
        """The largest output whose ``cost`` is at most ``nanousd``; 0 where not even the input fits."""
        left = nanousd - self.cost(input_tokens, 0, units)
        return 0 if left < 0 else self._at(input_tokens)[1].affordable(left)

    def _at(self, input_tokens: int) -> tuple[_Side, _Side]:
        level = 0
        for threshold in self._thresholds:
            if input_tokens <= threshold:
                break
            level += 1
        return self._sides[level]


def _side(sheets: tuple[Sheet, ...], items: tuple[str, ...], sizes: tuple[int, ...]) -> _Side:
    rates: list[Fraction] = []
    fractional = 0
    for sheet in sheets:
        lines = 0
        for item in items:
            rate = sheet.card.get(item)
            if rate is not None:
                found = [rate.at(size) for size in sizes]
                rates += found
                lines += any(one.denominator != 1 for one in found)
        fractional = max(fractional, lines)
    return _Side(rates, fractional)


def _unit_side(sheets: tuple[Sheet, ...], items: tuple[str, ...], sizes: tuple[int, ...]) -> _Side:
    """``items``: what one unit may be billed as, each time as one of them."""
    rates = [sheet.card[item].at(size) for sheet in sheets for item in items if item in sheet.card for size in sizes]
    return _Side(rates, int(any(rate.denominator != 1 for rate in rates)))
