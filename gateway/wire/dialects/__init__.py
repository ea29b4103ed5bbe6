"""One file a provider. A module here that holds ``DIALECT`` is a provider; nothing else names it."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from gateway.wire.dialect import Dialect


@cache
def _all() -> dict[str, Dialect]:
    found: dict[str, Dialect] = {}
    for module in pkgutil.iter_modules(__path__):
        dialect: Dialect = importlib.import_module(f"{__name__}.{module.name}").DIALECT
        found[dialect.kind] = dialect
    return found


def kinds() -> list[str]:
    """The kinds that a provider of the configuration may have."""
    return sorted(_all())


def get(kind: str) -> Dialect:
    """The dialect of a kind. Raises ``KeyError`` for an unknown one."""
    return _all()[kind]
