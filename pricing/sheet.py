"""A rate card, compiled: from usage to a bill in a few microseconds, in exact integer arithmetic.

Each line is ``quantity x rate``, rounded once, half to even; the total is the sum of the lines. Quantities of lines
never overlap: a part with a rate of its own is taken out of what contains it. A part larger than its whole (which no
provider should report) leaves nothing of the whole and counts in full itself; the bill says so in ``irregular``.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import NamedTuple

from pricing.money import Bill, Line, half_even
from pricing.units import PARTS, UNITS, Card, Rate, UsageLike

_UNIT_FIELDS = tuple(unit.usage for unit in UNITS if unit.usage)
_units_of: Callable[[UsageLike], tuple[int, ...]] = attrgetter(*_UNIT_FIELDS)
_NO_UNITS = (0,) * len(_UNIT_FIELDS)


class _Leaf(NamedTuple):
    """One priced part of a whole."""

    at: int
    """Where its quantity stands among the values read."""
    minus: tuple[int, ...]
    """Parts of it that are billed apart."""
    of_input: bool
    item: str
    numerator: int
    denominator: int


class _Band:
    """All token rates of a card for inputs of one size."""

    __slots__ = ("_leaves", "_none", "_read", "input", "output")

    def __init__(self, card: Card, input_tokens: int) -> None:
        parts = [part for part in PARTS if part.item in card]
        items = [part.item for part in parts]
        fields = [part.usage for part in parts]
        overlap = "cache_read" in items and "input_audio" in items and "cache_read_audio" not in items
        if overlap:
            fields.append("cache_read_audio_tokens")
        self._read: Callable[[UsageLike], tuple[int, ...]] = attrgetter(
            "input_tokens_total", "output_tokens_total", *fields
        )
        self._none = (0,) * len(fields)
        self.input = _ratio(card.get("input"), input_tokens)
        self.output = _ratio(card.get("output"), input_tokens)
        leaves = []
        for at, part in enumerate(parts):
            minus = [2 + other for other, inner in enumerate(parts) if part.item in inner.within]
            if overlap and part.item == "input_audio":
                # cached audio without a rate of its own is billed as cached
                minus.append(1 + len(fields))
            rate = card[part.item].at(input_tokens)
            leaves.append(
                _Leaf(2 + at, tuple(minus), part.whole == "input", part.item, rate.numerator, rate.denominator)
            )
        self._leaves = tuple(leaves)

    def bill(self, usage: UsageLike, lines: list[Line]) -> str:
        """Appends the token lines; returns what is irregular."""
        values = self._read(usage)
        rest_in, rest_out = values[0], values[1]
        irregular = ""
        parts: list[Line] = []
        if values[2:] != self._none:
            for at, minus, of_input, item, numerator, denominator in self._leaves:
                quantity = values[at]
                if quantity == 0:
                    continue
                for other in minus:
                    quantity -= values[other]
                if quantity <= 0:
                    if quantity < 0:
                        irregular = f"parts of {item} exceed it by {-quantity}"
                    continue
                if of_input:
                    rest_in -= quantity
                else:
                    rest_out -= quantity
                amount = quantity * numerator
                parts.append(
                    Line(item, quantity, "token", amount if denominator == 1 else half_even(amount, denominator))
                )
        if rest_in > 0:
            if self.input is not None:
                numerator, denominator = self.input
                amount = rest_in * numerator
                lines.append(
                    Line("input", rest_in, "token", amount if denominator == 1 else half_even(amount, denominator))
                )
        elif rest_in < 0:
            irregular = f"parts of input exceed it by {-rest_in}"
        if rest_out > 0:
            if self.output is not None:
                numerator, denominator = self.output
                amount = rest_out * numerator
                parts.append(
                    Line("output", rest_out, "token", amount if denominator == 1 else half_even(amount, denominator))
                )
        elif rest_out < 0:
            irregular = f"parts of output exceed it by {-rest_out}"
        lines += parts
        return irregular


class Sheet:
    """What one price charges under one set of conditions (tier, region). Immutable once made."""

    __slots__ = (
        "_bands",
        "_fee",
        "_none",
        "_plain",
        "_rare",
        "_single",
        "_thresholds",
        "_units",
        "card",
        "minimum_audio_ms",
        "source",
    )

    def __init__(self, card: Card, source: str, minimum_audio_ms: int = 0) -> None:
        self.card = card
        self.source = source
        self.minimum_audio_ms = minimum_audio_ms
        """A recording shorter than this is billed as this long."""
        self._thresholds = tuple(sorted({start for rate in card.values() for start, _ in rate.steps}))
        self._bands = tuple(_Band(card, size) for size in (0, *(start + 1 for start in self._thresholds)))
        self._single = self._bands[0] if len(self._bands) == 1 else None
        self._units = tuple(
            (at, unit.item, unit.unit, card.get(unit.item)) for at, unit in enumerate(u for u in UNITS if u.usage)
        )
        self._fee = card.get("request")
        rare = [*_UNIT_FIELDS, *(part.usage for part in PARTS if part.item in card)]
        self._rare: Callable[[UsageLike], tuple[int, ...]] = attrgetter(*rare)
        """What is billed beside input and output that are one whole each."""
        self._none = (0,) * len(rare)
        band = self._bands[0]
        self._plain = (
            (*band.input, *band.output)
            if self._single is not None and self._fee is None and band.input is not None and band.output is not None
            else None
        )
        """The two rates where most calls need no more."""

    @property
    def thresholds(self) -> tuple[int, ...]:
        """Input sizes above which other rates hold."""
        return self._thresholds

    def bill(self, usage: UsageLike) -> Bill:
        """The bill for ``usage``. Never raises, whatever integers it holds."""
        plain = self._plain
        if plain is not None and self._rare(usage) == self._none:
            tokens_in, tokens_out = usage.input_tokens_total, usage.output_tokens_total
            if tokens_in > 0 and tokens_out > 0:
                return self._bill_plain(plain, tokens_in, tokens_out)
        lines: list[Line] = []
        band = self._single
        irregular = (band if band is not None else self._band(usage.input_tokens_total)).bill(usage, lines)
        unpriced: tuple[str, ...] = ()
        if self._fee is not None or _units_of(usage) != _NO_UNITS:
            unpriced = self._bill_units(usage, lines)
        total = 0
        for line in lines:
            total += line.nanousd
        return Bill(tuple(lines), total, self.source, irregular, unpriced)

    def _bill_plain(self, rates: tuple[int, int, int, int], tokens_in: int, tokens_out: int) -> Bill:
        """As ``_Band.bill`` would, for a usage that is nothing but input and output."""
        numerator, below, numerator_out, below_out = rates
        of_input, of_output = tokens_in * numerator, tokens_out * numerator_out
        if below != 1:
            of_input = half_even(of_input, below)
        if below_out != 1:
            of_output = half_even(of_output, below_out)
        lines = (Line("input", tokens_in, "token", of_input), Line("output", tokens_out, "token", of_output))
        return Bill(lines, of_input + of_output, self.source)

    def _band(self, input_tokens: int) -> _Band:
        at = 0
        for threshold in self._thresholds:
            if input_tokens <= threshold:
                break
            at += 1
        return self._bands[at]

    def _bill_units(self, usage: UsageLike, lines: list[Line]) -> tuple[str, ...]:
        unpriced: list[str] = []
        values = _units_of(usage)
        for at, item, unit, rate in self._units:
            quantity = values[at]
            if quantity <= 0:
                continue
            if rate is None:
                unpriced.append(item)
                continue
            if item == "audio_time":
                quantity = max(quantity, self.minimum_audio_ms)
            lines.append(_line(item, quantity, unit, rate, usage.input_tokens_total))
        if self._fee is not None:
            lines.append(_line("request", 1, "request", self._fee, usage.input_tokens_total))
        return tuple(unpriced)


def _line(item: str, quantity: int, unit: str, rate: Rate, input_tokens: int) -> Line:
    price = rate.at(input_tokens)
    return Line(item, quantity, unit, half_even(quantity * price.numerator, price.denominator))


def _ratio(rate: Rate | None, input_tokens: int) -> tuple[int, int] | None:
    return None if rate is None else rate.at(input_tokens).as_integer_ratio()
