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


def add_parser(commands: Any) -> None:
    command(
        commands, "check", "validate the configuration and the price book", "spendgate check --config config.toml"
    ).set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from gateway.assembly import AssemblyError, book_of, ledger_path, models_of, rules_of
    from gateway.config.certificates import certificate_remarks
    from gateway.config.check_priced import check_priced
    from gateway.config.check_quotas import name_remarks, quota_remarks
    from gateway.config.load import load_all
    from gateway.config.problems import ConfigErrors
    from gateway.exports.target import TargetError, target_of

    file, base = str(options.config), options.config.resolve().parent
    try:
        loaded = load_all(options.config, os.environ)
        config = loaded.config
        catalogue = catalogue_of(config, options)
        book = book_of(config, catalogue)
        check_priced(config, book, file, time.time_ns())
        ledger_path(config, base)
        models_of(config, catalogue)
        rules_of(config)
        for export in config.exports:
            target_of(export.to, base, export.options)
    except ConfigErrors as error:
        raise ConfigurationError(options.config, error.problems) from error
    except (AssemblyError, TargetError, ValueError) as error:
        raise UserError(f"{file}: {error}") from error
    for name, reason in loaded.inactive.items():
        print(f'provider "{name}" is left out: {reason}')
    remarks = [
        *quota_remarks(config.quotas),
        *name_remarks(config.quotas, config.keys),
        *certificate_remarks(config.server, time.time()),
    ]
    for remark in remarks:
        print(f"{file}: remark: {remark}")
    print(f"{file}: fine: {_counts(config)}")
    models = sum(len(one.models) for one in catalogue.lists.values())
    print(f"price book: {len(book.entries)} of your own, {models:,} models of {catalogue.version}")
    return 0


def _counts(config: Config) -> str:
    parts = []
    for what in ("providers", "keys", "quotas", "prices", "routes"):
        number = len(getattr(config, what))
        parts.append(f"{number} {what if number != 1 else what[:-1]}")
    return ", ".join(parts)
