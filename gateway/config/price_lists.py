"""Which price list each provider has."""

from __future__ import annotations

from gateway.config.schema import Config
from gateway.wire import dialects


def price_lists(config: Config) -> dict[str, str]:
    """Price list by provider's name: its ``price_as`` or its kind's; ``NAME:LIST`` where ``[[prices]]`` name the
    provider itself, so that they come on top of the list for this provider alone."""
    named = {price.provider.lower() for price in config.prices}
    lists = {}
    for name, provider in config.providers.items():
        base = provider.price_as or dialects.get(provider.kind).price_as
        own = name.lower() in named and name.lower() not in dialects.kinds() and name.lower() != base.lower()
        lists[name] = f"{name.lower()}:{base}" if own else base
    return lists
