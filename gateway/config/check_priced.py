"""Entries and stand-ins of a configuration that have no price in the catalogue they rest on."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.config.price_lists import price_lists
from gateway.config.problems import ConfigErrors, Problem
from gateway.config.schema import Config
from gateway.config.values import moment_ns
from pricing.book import PriceBook
from pricing.matching import is_glob


def check_priced(config: Config, book: PriceBook, file: str, now_ns: int) -> None:
    """Raises ``ConfigErrors`` where calls would have no price in spite of what the configuration says."""
    problems = [Problem(file=file, key=key, message=message) for key, message in _without_price(config, book, now_ns)]
    if problems:
        raise ConfigErrors(problems)


def _without_price(config: Config, book: PriceBook, now_ns: int) -> Iterator[tuple[str, str]]:
    """Entries that change prices which do not exist, as a discount on a model that is in no list; stand-ins too."""
    lists = price_lists(config)
    for name, provider in config.providers.items():
        policy = provider.unpriced_models
        if not isinstance(policy, str) and book.find(lists[name], policy.price_as, now_ns) is None:
            yield f"providers.{name}.unpriced_models.price_as", f'"{policy.price_as}" has no price itself'
    own = {name.lower(): listed for name, listed in lists.items()}
    for index, price in enumerate(config.prices):
        over = price.until is not None and moment_ns(price.until) <= now_ns
        if over or is_glob(price.model) or is_glob(price.provider):
            continue
        at_ns = max(now_ns, moment_ns(price.from_)) if price.from_ is not None else now_ns
        if book.find(own.get(price.provider.lower(), price.provider), price.model, at_ns) is None:
            yield f"prices[{index}]", f'leaves "{price.model}" without a price: the catalogue has none to take it from'
