"""A rate card, compiled: from usage to a bill in a few microseconds, in exact integer arithmetic.

Each line is ``quantity x rate``, rounded once, half to even; the total is the sum of the lines. Quantities of lines
never overlap: a part with a rate of its own is taken out of what contains it. A part larger than its whole (which no
provider should report) leaves nothing of the whole and counts in full itself; the bill says so in ``irregular``.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

from pricing.money import Bill, Line, half_even
from pricing.units import PARTS, UNITS, Card, Rate, UsageLike

_CACHED_PARTS = (
    ("input_audio", "cache_read_audio", "cache_read_audio_tokens"),
    ("input_image", "cache_read_image", "cache_read_image_tokens"),
)
"""Parts of the input that may be cached: the part, what is cached of it, and its field of the usage."""
_UNIT_FIELDS = tuple(unit.usage for unit in UNITS if unit.usage)


_Leaf = tuple[int, tuple[int, ...], bool, str, int, int]
"""One priced part of a whole: where its quantity stands among the values read, where the parts of it that are billed
apart do, whether it is input, its name on the bill, its rate as a fraction. No class: a plain tuple is taken apart in
a tenth of the time."""


class _Read:
    """Reads a usage at once: input, output, the parts that a card has rates for, cached audio and pictures where they
    are needed, and all units that are no tokens."""

    __slots__ = ("cached", "parts", "units", "values")

    def __init__(self, card: Card) -> None:
        self.parts = [part for part in PARTS if part.item in card]
        items = [part.item for part in self.parts]
        fields = ["input_tokens_total", "output_tokens_total", *(part.usage for part in self.parts)]
        self.cached: dict[str, int] = {}
        """By part: where what was cached of it stands, which is billed as cached for want of a rate of its own."""
        for item, own, field in _CACHED_PARTS:
            if "cache_read" in items and item in items and own not in items:
                self.cached[item] = len(fields)
                fields.append(field)
        self.units = len(fields)
        """Where the units begin."""
        self.values: Callable[[UsageLike], tuple[int, ...]] = attrgetter(*fields, *_UNIT_FIELDS)


class _Band:
    """All token rates of a card for inputs of one size."""

    __slots__ = ("_leaves", "input", "output")

    def __init__(self, card: Card, input_tokens: int, read: _Read) -> None:
        self.input = _ratio(card.get("input"), input_tokens)
        self.output = _ratio(card.get("output"), input_tokens)
        leaves: list[_Leaf] = []
        for at, part in enumerate(read.parts, 2):
            minus = [other for other, inner in enumerate(read.parts, 2) if part.item in inner.within]
            if part.item in read.cached:
                minus.append(read.cached[part.item])
            rate = card[part.item].at(input_tokens)
            leaves.append((at, tuple(minus), part.whole == "input", part.item, rate.numerator, rate.denominator))
        self._leaves = tuple(leaves)

    def bill(self, values: tuple[int, ...], lines: list[Line]) -> str:
        """Appends the token lines; returns what is irregular. ``values``: as ``_Read`` reads them."""
        rest_in, rest_out = values[0], values[1]
        irregular = ""
        parts: list[Line] = []
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
            parts.append(Line(item, quantity, "token", amount if denominator == 1 else half_even(amount, denominator)))
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
        "_first_unit",
        "_no_units",
        "_nothing",
        "_plain",
        "_read",
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
        read = _Read(card)
        self._bands = tuple(_Band(card, size, read) for size in (0, *(start + 1 for start in self._thresholds)))
        self._single = self._bands[0] if len(self._bands) == 1 else None
        self._units = tuple(
            (at, unit.item, unit.unit, card.get(unit.item))
            for at, unit in enumerate((u for u in UNITS if u.usage), read.units)
        )
        self._fee = card.get("request")
        self._read = read.values
        self._first_unit = read.units
        self._nothing = (0,) * (read.units + len(_UNIT_FIELDS) - 2)
        """All that is read, but for input and output, of a usage that is these two alone."""
        self._no_units = (0,) * len(_UNIT_FIELDS)
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
        values = self._read(usage)
        plain = self._plain
        if plain is not None and values[2:] == self._nothing and values[0] > 0 and values[1] > 0:
            return self._bill_plain(plain, values[0], values[1])
        return self._bill_at(values, values[0])

    def bill_sum(self, usage: UsageLike) -> Bill:
        """As ``bill``, for the sum of many calls: how large each was is not known, so the lowest size's rates hold."""
        return self._bill_at(self._read(usage), 0)

    def _bill_at(self, values: tuple[int, ...], size: int) -> Bill:
        lines: list[Line] = []
        band = self._single
        irregular = (band if band is not None else self._band(size)).bill(values, lines)
        unpriced: tuple[str, ...] = ()
        if self._fee is not None or values[self._first_unit :] != self._no_units:
            unpriced = self._bill_units(values, lines, size)
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

    def _bill_units(self, values: tuple[int, ...], lines: list[Line], size: int) -> tuple[str, ...]:
        unpriced: list[str] = []
        for at, item, unit, rate in self._units:
            quantity = values[at]
            if quantity <= 0:
                continue
            if rate is None:
                unpriced.append(item)
                continue
            if item == "audio_time":
                quantity = max(quantity, self.minimum_audio_ms)
            lines.append(_line(item, quantity, unit, rate, size))
        if self._fee is not None:
            lines.append(_line("request", 1, "request", self._fee, size))
        return tuple(unpriced)


def _line(item: str, quantity: int, unit: str, rate: Rate, input_tokens: int) -> Line:
    price = rate.at(input_tokens)
    return Line(item, quantity, unit, half_even(quantity * price.numerator, price.denominator))


def _ratio(rate: Rate | None, input_tokens: int) -> tuple[int, int] | None:
    return None if rate is None else rate.at(input_tokens).as_integer_ratio()
