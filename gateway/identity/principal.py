"""Who a call is charged to."""

from __future__ import annotations

import msgspec


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """A virtual key's owner and what it may use."""

    key_id: str
    team: str
    workflow: str
    tags: tuple[tuple[str, str], ...] = ()
    models: tuple[str, ...] = ()
    """Globs; empty: all."""
    providers: tuple[str, ...] = ()
    expires_ns: int | None = None
