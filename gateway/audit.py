"""Who changed what, and when: one line of the log for each change, with names of what changed and no value of it.

Values are left out by construction, because a configuration holds credentials.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from gateway.config.schema import Config

NEEDS_RESTART = ("server", "ledger", "quota_store", "metrics", "logging", "tracing")
AT_ONCE = (
    "server.admin_token",
    "server.admin_tokens",
    "server.admin_tls",
    "server.tls",
    "server.limits",
    "server.max_body_bytes",
    "server.drain_seconds",
    "ledger.keep_days",
    "ledger.replica",
)
"""What of these a reload takes up."""
MAX_TOLD = 100


class Audit:
    """Writes the lines. They are never filtered by ``logging.level``."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log.getChild("audit")
        self._log.setLevel(logging.INFO)

    def __call__(self, who: str, what: str, **fields: Any) -> None:
        """One change. ``who``: the token's name, or how it was asked for; ``what``: a word or two."""
        self._log.info(what, extra={"fields": {"audit": True, "by": who, **fields}})


def changes(old: Config, new: Config) -> list[str]:
    """The keys that differ: ``providers.openai.base_url``, ``+keys.search``, ``-quotas.search-month``; at most
    ``MAX_TOLD``, then how many more."""
    found = list(_differences("", old, new))
    return found if len(found) <= MAX_TOLD else [*found[:MAX_TOLD], f"and {len(found) - MAX_TOLD} more"]


def needs_restart(changed: Sequence[str]) -> bool:
    """True where something changed that only a new process takes up."""
    names = [key.lstrip("+-").split(".") for key in changed]
    return any(name[0] in NEEDS_RESTART and ".".join(name[:2]) not in AT_ONCE for name in names)


def _differences(path: str, old: Any, new: Any) -> list[str]:
    if old == new:
        return []
    if isinstance(old, BaseModel) and type(old) is type(new):
        names = [(name, getattr(old, name), getattr(new, name)) for name in type(old).model_fields]
        return [line for name, was, is_ in names for line in _differences(_below(path, name), was, is_)]
    before, after = _named(old), _named(new)
    if before is None or after is None:
        return [path]
    gone = [f"-{_below(path, name)}" for name in before if name not in after]
    come = [f"+{_below(path, name)}" for name in after if name not in before]
    both = [
        line for name in before if name in after for line in _differences(f"{path}.{name}", before[name], after[name])
    ]
    return [*gone, *come, *both] or [path]


def _named(value: Any) -> Mapping[str, Any] | None:
    """Tables by name: as they are named, else by their own name, else by place."""
    if isinstance(value, dict) and all(isinstance(table, BaseModel) for table in value.values()):
        return value
    if isinstance(value, tuple) and all(isinstance(table, BaseModel) for table in value):
        return {_name_of(table, place): table for place, table in enumerate(value)}
    return None


def _name_of(table: BaseModel, place: int) -> str:
    kind = type(table).model_fields
    return next((str(getattr(table, name)) for name in ("id", "name") if name in kind), str(place))


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
