"""The unit price behind a bill's line: the one that the call was billed at, and the public one beside it."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from pricing.book import PriceBook
from pricing.money import half_even
from pricing.sheet import Sheet
from pricing.units import PARTS

_WHOLE = {part.item: part.whole for part in PARTS}


class Rates:
    """Looks unit prices up in a price book and in the same book without the configuration's prices."""

    def __init__(self, book: PriceBook, price_list: Callable[[str], str]) -> None:
        self._contract = book
        self._public = PriceBook((), book.catalogue)
        self._price_list = price_list

    def billed(self, sheet: Sheet | None, item: str, quantity: int, nanousd: int, input_tokens: int) -> Fraction | None:
        """Nanodollars a unit that make this line to the nanodollar; None where the book of now does not explain it."""
        rate = sheet.card.get(item) if sheet is not None else None
        if rate is None:
            return None
        price = rate.at(input_tokens)
        return price if half_even(quantity * price.numerator, price.denominator) == nanousd else None

    def public(self, sheet: Sheet | None, item: str, input_tokens: int) -> Fraction | None:
        """What the public list says for a unit; a part without a price of its own is billed in its whole. None where
        the list does not know the model."""
        if sheet is None:
            return None
        rate = sheet.card.get(item) or sheet.card.get(_WHOLE.get(item, ""))
        return rate.at(input_tokens) if rate is not None else Fraction()

    def sheets(
        self, provider: str, models: tuple[str, str], service_tier: str, region: str, at_ns: int
    ) -> tuple[Sheet | None, Sheet | None]:
        """The contract's rates and the public ones, for a model or, where it has no price, the one asked for."""
        return (
            self._sheet(self._contract, provider, models, service_tier, region, at_ns),
            self._sheet(self._public, provider, models, service_tier, region, at_ns),
        )

    def _sheet(
        self, book: PriceBook, provider: str, models: tuple[str, str], service_tier: str, region: str, at_ns: int
    ) -> Sheet | None:
        name = self._price_list(provider)
        for model in models:
            price = book.find(name, model, at_ns)
            if price is not None:
                return price.at(at_ns).sheet(service_tier, region)
        return None
