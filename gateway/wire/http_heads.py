"""HTTP/1.1 heads as they pass through: what is dropped, what is replaced, and the bytes of a request's head.

Hop-by-hop fields end here (RFC 9110 section 7.6.1); everything else keeps its order, its case and its bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

Header = tuple[bytes, bytes]

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
_REQUEST_DROP = HOP_BY_HOP | {b"host", b"content-length", b"expect"}
_RESPONSE_DROP = HOP_BY_HOP | {b"content-length"}
_BODILESS_METHODS = frozenset((b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE"))


def named_in_connection(headers: Sequence[Header]) -> frozenset[bytes]:
    """Field names that the Connection field declares to be for this hop only."""
    names: set[bytes] = set()
    for name, value in headers:
        if len(name) == 10 and name.lower() == b"connection":
            names.update(token.strip().lower() for token in value.split(b","))
    return frozenset(names - {b"close", b"keep-alive", b""})


def forward_response_headers(headers: Sequence[Header], *, keep_encoding: bool = True) -> list[Header]:
    """A response's fields for the next hop, without its framing."""
    drop: frozenset[bytes] = _RESPONSE_DROP
    for name, _ in headers:
        if len(name) == 10 and name.lower() == b"connection":
            drop = drop | named_in_connection(headers)
            break
    if not keep_encoding:
        drop = drop | {b"content-encoding"}
    return [header for header in headers if header[0].lower() not in drop]


def content_length(headers: Sequence[Header]) -> int | None:
    """The declared body length; None where none is declared or a transfer coding frames the body."""
    length = None
    for name, value in headers:
        size = len(name)
        if size == 14 and name.lower() == b"content-length":
            length = int(value) if value.isdigit() else None
        elif size == 17 and name.lower() == b"transfer-encoding":
            return None
    return length


def request_head_bytes(
    method: bytes, target: bytes, headers: Sequence[Header], host: bytes, length: int, *, plain: bool = False
) -> bytes:
    """A request's head for the provider, with its blank line. ``plain`` asks for an answer without content coding.

    The caller has taken out its own credential; header values hold no CR, LF or NUL (the parser refused them).
    """
    drop: frozenset[bytes] = _REQUEST_DROP
    out = [b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (method, target, host)]
    append = out.append
    for name, value in headers:
        lower = name.lower()
        if lower in drop:
            if lower == b"connection":
                drop = drop | named_in_connection(headers)
            continue
        if plain and lower == b"accept-encoding":
            value = b"identity"
        append(b"%b: %b\r\n" % (name, value))
    if length or method not in _BODILESS_METHODS:
        append(b"Content-Length: %d\r\n\r\n" % length)
    else:
        append(b"\r\n")
    if drop is not _REQUEST_DROP:
        named = drop - _REQUEST_DROP
        out[1:-1] = [line for line in out[1:-1] if line.split(b":", 1)[0].lower() not in named]
    return b"".join(out)
