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
RESPONSE_DROP = HOP_BY_HOP | {b"content-length"}
USUAL_CONNECTION = frozenset((b"close", b"keep-alive"))
"""What the Connection field says where it names no other field."""
REASONS = {
    200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found",
    408: b"Request Timeout", 413: b"Content Too Large", 414: b"URI Too Long", 417: b"Expectation Failed",
    429: b"Too Many Requests", 431: b"Request Header Fields Too Large", 500: b"Internal Server Error",
    501: b"Not Implemented", 502: b"Bad Gateway", 503: b"Service Unavailable", 504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}  # fmt: skip
"""What the gateway calls its own answers; a provider's keep what the provider said, also where that is nothing."""
_BODILESS_METHODS = frozenset((b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE"))


def named_in_connection(headers: Sequence[Header]) -> frozenset[bytes]:
    """Field names that the Connection field declares to be for this hop only."""
    names: set[bytes] = set()
    for name, value in headers:
        if len(name) == 10 and name.lower() == b"connection":
            names.update(token.strip().lower() for token in value.split(b","))
    return frozenset(names - {b"close", b"keep-alive", b""})


class Lines(list[Header]):
    """Fields for the next hop. ``block`` holds the lines of the first ``known`` of them as they came, each with its
    end: who writes them need not put them together again."""

    __slots__ = ("block", "known")

    def __init__(self, headers: list[Header], block: bytes) -> None:
        self.extend(headers)
        self.block = block
        self.known = len(headers)


class Fields(list[Header]):
    """A response's fields in order, and once more by name, so that whoever looks for one needs no pass of its own."""

    __slots__ = ("_named", "onward")

    def __init__(self, headers: Sequence[Header]) -> None:
        self.extend(headers)
        self._named: dict[bytes, bytes] = {}
        self.onward: list[Header] = self._take(headers)
        """Those for the next hop, without the framing."""

    def get(self, name: bytes) -> bytes | None:
        """The value of a field, those of several joined. ``name`` in lower case."""
        return self._named.get(name)

    def _take(self, headers: Sequence[Header]) -> list[Header]:
        """Put values under their names; answers the fields that go on to the next hop."""
        named, onward = self._named, []
        for header in headers:
            name, value = header
            lower = name.lower()
            count = len(named)
            first = named.setdefault(lower, value)
            if len(named) == count:
                named[lower] = first + b", " + value
            if lower not in RESPONSE_DROP:
                onward.append(header)
        if named.get(b"connection", b"close").lower() not in USUAL_CONNECTION:
            dropped = named_in_connection(headers)
            onward = [header for header in onward if header[0].lower() not in dropped]
        return onward

    @property
    def content_length(self) -> int | None:
        """The declared body length; None where none is declared or a transfer coding frames the body."""
        length = self.get(b"content-length")
        return int(length) if length is not None and length.isdigit() and not self.get(b"transfer-encoding") else None


class KnownFields(Fields):
    """Fields of which is known where each name stands."""

    __slots__ = ("_at",)

    def __init__(self, headers: list[Header], at: dict[bytes, tuple[int, ...]], onward: Lines) -> None:
        self.extend(headers)
        self._at = at
        self.onward = onward

    def get(self, name: bytes) -> bytes | None:
        found = self._at.get(name)
        if found is None:
            return None
        return self[found[0]][1] if len(found) == 1 else b", ".join([self[place][1] for place in found])


def fields_of(headers: Sequence[Header]) -> Fields:
    """``headers`` with their names; themselves where they have them."""
    return headers if isinstance(headers, Fields) else Fields(headers)


def request_head_bytes(
    method: bytes, target: bytes, headers: Sequence[Header], host: bytes, length: int, *, plain: bool = False
) -> bytes:
    """A request's head for the provider, with its blank line. See ``request_fields``."""
    return request_fields(method, target, headers, host, plain=plain) + body_length(method, length)


def body_length(method: bytes, length: int) -> bytes:
    """The end of a request's head: how long its body is, and the blank line."""
    if not length and method in _BODILESS_METHODS:
        return b"\r\n"
    return f"Content-Length: {length}\r\n\r\n".encode()


def request_fields(
    method: bytes, target: bytes, headers: Sequence[Header], host: bytes, *, plain: bool = False
) -> bytes:
    """A request's head for the provider up to its body's length. ``plain`` asks for an answer without content coding.

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
    if drop is not _REQUEST_DROP:
        named = drop - _REQUEST_DROP
        out[1:] = [line for line in out[1:] if line.split(b":", 1)[0].lower() not in named]
    return b"".join(out)
