"""``spendgate serve``: run the gateway in the foreground."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from typing import Any

from gateway.cli.common import ConfigurationError, UserError, command


def add_parser(commands: Any) -> None:
    command(
        commands, "serve", "run the gateway in the foreground", "spendgate serve --config config.toml"
    ).set_defaults(run=run)


def _ready(where: str, inactive: Mapping[str, str]) -> None:
    """Say that calls may come; who calls an optional provider that lacks its key is told of no such provider."""
    left_out = [f'spendgate leaves out provider "{name}": {reason}' for name, reason in inactive.items()]
    print(f"spendgate listens on {where}", *left_out, sep="\n", flush=True)


def run(options: argparse.Namespace) -> int:
    import os

    from gateway import descriptors, hangup

    hangup.hold()
    descriptors.take_all()
    from gateway import app
    from gateway.assembly import AssemblyError
    from gateway.config.catalogue import CatalogueUnusable
    from gateway.config.load import load_all
    from gateway.config.problems import ConfigErrors
    from gateway.ledger.faults import LedgerCorrupt
    from gateway.ledger.single import AlreadyRunning
    from gateway.sharing.store import StoreUnavailable
    from gateway.workers.crew import CannotStart

    try:
        loaded = load_all(options.config, os.environ)
        config, ready = loaded.config, partial(_ready, inactive=loaded.inactive)
        if config.server.workers == 1 and config.quota_store is None:
            app.run(options.config, config, ready)
        else:
            from gateway.workers import supervisor

            supervisor.run(options.config, loaded, ready)
    except ConfigErrors as error:
        raise ConfigurationError(options.config, error.problems) from error
    except (AssemblyError, CatalogueUnusable, LedgerCorrupt, AlreadyRunning, CannotStart) as error:
        raise UserError(str(error)) from error
    except StoreUnavailable as error:
        raise UserError(f"can't start: the store of shared quotas can't be used: {error}") from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise UserError(f"can't start: {where}{error.strerror or error}") from error
    return 0
