"""Bounds on what one client may ask of the transport."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    max_head_bytes: int = 65_536
    max_headers: int = 200
    max_body_bytes: int = 33_554_432
    head_seconds: float = 30.0
    """From a request's first byte to the end of its head."""
    body_seconds: float = 60.0
    """Between two pieces of a request's body."""
    body_bytes_per_second: int = 500
    """A body slower than this, past its first ``body_seconds``, has timed out too; 0: no such bound."""
    idle_seconds: float = 75.0
    """Between two requests on one connection."""
    write_seconds: float = 120.0
    """A client that takes nothing of a waiting answer for so long is cut off."""
    max_connections: int = 20_000
    max_connections_per_peer: int = 10_000
    told_connections: int = 1000
    """So many connections beyond the limit are told why before they are closed; the others are closed at once."""
    write_buffer_bytes: int = 262_144
    """A client that has not taken this much pauses its provider."""
