"""WebSockets that are metered: OpenAI's realtime API and its responses over WebSocket.

Sources: OpenAI API reference (Realtime: WebSocket; server events response.created, response.done), guide "WebSocket
mode" of the Responses API.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote_plus

from gateway.wire.dialect import Dialect, Header
from gateway.wire.meter import header
from gateway.wire.numbers import text
from gateway.wire.openai_shape import OpenAIShape
from gateway.wire.paths import plain_path, query_value

STARTS = (b'"response.created"',)
ENDS = (b'"response.done"', b'"response.completed"', b'"response.incomplete"', b'"response.failed"')
_KEPT = frozenset((b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-protocol"))


def socket_api(dialect: Dialect, target: bytes, headers: Sequence[Header]) -> str:
    """``realtime`` or ``responses`` where this upgrade is one that is metered; empty for any other."""
    if not isinstance(dialect, OpenAIShape) or header(headers, b"upgrade").lower() != b"websocket":
        return ""
    path = plain_path(target)
    if path.endswith("/realtime"):
        return "realtime"
    return "responses" if path.endswith("/responses") else ""


def socket_model(target: bytes) -> str:
    """The model that the query names (``model``, or Azure's ``deployment``)."""
    value = query_value(target, b"model") or query_value(target, b"deployment")
    return text(unquote_plus(value.decode("latin-1")))


def handshake_headers(headers: Sequence[Header]) -> list[Header]:
    """What the provider needs to answer the client's own handshake; extensions are left out, so that none is agreed."""
    kept = [item for item in headers if item[0].lower() in _KEPT]
    return [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"), *kept]
