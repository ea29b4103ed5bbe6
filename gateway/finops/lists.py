"""Which price list a provider has, and what the public list says without a contract."""

from __future__ import annotations

from gateway.config.price_lists import price_lists as config_lists
from gateway.config.schema import Config
from pricing.book import PriceBook


def price_lists(config: Config) -> dict[str, str]:
    """Name of a provider → name of its price list."""
    return config_lists(config)


def list_book(book: PriceBook) -> PriceBook:
    """The same catalogue without the configuration's entries."""
    return PriceBook((), book.catalogue)
