"""``spendgate check``: validate the configuration and the price book."""

from __future__ import annotations

import argparse
import os
import time
from typing import TYPE_CHECKING, Any

from gateway.cli.common import ConfigurationError, UserError, command
from gateway.cli.common import catalogue as catalogue_of

if TYPE_CHECKING:
    from gateway.config.schema import Config
    from pricing.book import PriceBook


def add_parser(commands: Any) -> None:
    command(
        commands, "check", "validate the configuration and the price book", "spendgate check --config config.toml"
    ).set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from gateway.assembly import AssemblyError, book_of, ledger_path, models_of, rules_of
    from gateway.config.certificates import certificate_remarks
    from gateway.config.check_quotas import quota_remarks
    from gateway.config.load import load_all
    from gateway.config.problems import ConfigErrors, Problem

    file = str(options.config)
    try:
        loaded = load_all(options.config, os.environ)
        config = loaded.config
        catalogue = catalogue_of(config, options)
        book = book_of(config, catalogue)
        problems = [Problem(file=file, key=key, message=message) for key, message in _without_price(config, book)]
        if problems:
            raise ConfigErrors(problems)
        ledger_path(config, options.config.resolve().parent)
        models_of(config, catalogue)
        rules_of(config)
    except ConfigErrors as error:
        raise ConfigurationError(options.config, error.problems) from error
    except (AssemblyError, ValueError) as error:
        raise UserError(f"{file}: {error}") from error
    for name, reason in loaded.inactive.items():
        print(f'provider "{name}" is left out: {reason}')
    for remark in [*quota_remarks(config.quotas), *certificate_remarks(config.server, time.time())]:
        print(f"{file}: remark: {remark}")
    print(f"{file}: fine: {_counts(config)}")
    models = sum(len(one.models) for one in catalogue.lists.values())
    print(f"price book: {len(book.entries)} of your own, {models:,} models of {catalogue.version}")
    return 0


def _without_price(config: Config, book: PriceBook) -> list[tuple[str, str]]:
    """Entries that change prices which do not exist, as a discount on a model that is in no list; stand-ins too."""
    from gateway.config.price_lists import price_lists
    from gateway.config.values import moment_ns
    from pricing.matching import is_glob

    now_ns = time.time_ns()
    found = []
    lists = price_lists(config)
    for name, provider in config.providers.items():
        policy = provider.unpriced_models
        if not isinstance(policy, str) and book.find(lists[name], policy.price_as, now_ns) is None:
            message = f'"{policy.price_as}" has no price itself'
            found.append((f"providers.{name}.unpriced_models.price_as", message))
    own = {name.lower(): listed for name, listed in lists.items()}
    for index, price in enumerate(config.prices):
        over = price.until is not None and moment_ns(price.until) <= now_ns
        if over or is_glob(price.model) or is_glob(price.provider):
            continue
        at_ns = max(now_ns, moment_ns(price.from_)) if price.from_ is not None else now_ns
        if book.find(own.get(price.provider.lower(), price.provider), price.model, at_ns) is None:
            message = f'leaves "{price.model}" without a price: the catalogue has none to take it from'
            found.append((f"prices[{index}]", message))
    return found


def _counts(config: Config) -> str:
    parts = []
    for what in ("providers", "keys", "quotas", "prices", "routes"):
        number = len(getattr(config, what))
        parts.append(f"{number} {what if number != 1 else what[:-1]}")
    return ", ".join(parts)
