"""The unit price behind a bill's line: the one that the call was billed at, and the public one beside it."""

from __future__ import annotations

from collections.abc import Callable

from pricing.book import REPORTED, Price, PriceBook
from pricing.money import half_even
from pricing.sheet import Sheet
from pricing.units import PARTS

Rate = tuple[int, int]
"""Nanodollars for one unit, as numerator and denominator."""
FREE: Rate = (0, 1)
MAX_KNOWN = 4096
_Key = tuple[str, tuple[str, str], str, str]
_Sheets = tuple[Sheet | None, Sheet | None]
_BILLED_AS = {part.item: (part.item, *part.within, part.whole) for part in PARTS}
"""What a part is billed as: the first of these that has a price."""


class Rates:
    """Looks unit prices up in a price book and in the same book without the configuration's prices."""

    def __init__(self, book: PriceBook, price_list: Callable[[str], str]) -> None:
        self._contract = book
        self._public = PriceBook((), book.catalogue)
        self._price_list = price_list
        self._known: dict[_Key, tuple[int, int, _Sheets]] = {}
        """What was found last, and from when until when it holds."""

    def billed(self, sheet: Sheet | None, item: str, quantity: int, nanousd: int, input_tokens: int) -> Rate | None:
        """Nanodollars a unit that make this line to the nanodollar; None where the book of now does not explain it."""
        rate = sheet.card.get(item) if sheet is not None else None
        if rate is None:
            return None
        numerator, denominator = rate.at(input_tokens).as_integer_ratio()
        return (numerator, denominator) if half_even(quantity * numerator, denominator) == nanousd else None

    def public(self, sheet: Sheet | None, item: str, input_tokens: int) -> Rate | None:
        """What the public list says for a unit; a part without a price of its own is billed as what it is a part of.
        None where the list does not know the model, or can't say: of a call at the cost that its provider reported."""
        if sheet is None or item == REPORTED:
            return None
        found = (sheet.card[name] for name in _BILLED_AS.get(item, (item,)) if name in sheet.card)
        rate = next(found, None)
        return rate.at(input_tokens).as_integer_ratio() if rate is not None else FREE

    def sheets(
        self, provider: str, models: tuple[str, str], service_tier: str, region: str, at_ns: int
    ) -> tuple[Sheet | None, Sheet | None]:
        """The contract's rates and the public ones, for a model or, where it has no price, the one asked for."""
        key = (provider, models, service_tier, region)
        known = self._known.get(key)
        if known is not None and known[0] <= at_ns < known[1]:
            return known[2]
        contract, public = (self._price(book, provider, models, at_ns) for book in (self._contract, self._public))
        found = (
            contract.sheet(service_tier, region) if contract is not None else None,
            public.sheet(service_tier, region) if public is not None else None,
        )
        if contract is not None and public is not None:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            since, until = max(contract.since_ns, public.since_ns), min(contract.until_ns, public.until_ns)
            self._known[key] = (since, until, found)
        return found

    def _price(self, book: PriceBook, provider: str, models: tuple[str, str], at_ns: int) -> Price | None:
        name = self._price_list(provider)
        for model in models:
            price = book.find(name, model, at_ns)
            if price is not None:
                return price.at(at_ns)
        return None
