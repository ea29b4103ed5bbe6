"""Which price list a provider has, and what the public list says without a contract."""

from __future__ import annotations

from gateway.config.schema import Config
from gateway.wire import dialects
from pricing.book import PriceBook


def price_lists(config: Config) -> dict[str, str]:
    """Name of a provider → name of its price list."""
    return {name: one.price_as or dialects.get(one.kind).price_as for name, one in config.providers.items()}


def list_book(book: PriceBook) -> PriceBook:
    """The same catalogue without the configuration's entries."""
    return PriceBook((), book.catalogue)
