"""One request as it arrives, and the framing of its answer."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.ports import Header, RequestHead

REASONS = {
    102: b"Processing", 103: b"Early Hints", 200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden",
    404: b"Not Found", 408: b"Request Timeout", 413: b"Content Too Large", 414: b"URI Too Long",
    417: b"Expectation Failed", 429: b"Too Many Requests", 431: b"Request Header Fields Too Large",
    500: b"Internal Server Error", 501: b"Not Implemented", 502: b"Bad Gateway", 503: b"Service Unavailable",
    504: b"Gateway Timeout", 505: b"HTTP Version Not Supported",
}  # fmt: skip
MANY_PARTS = 8
NO_HEAD = RequestHead(method=b"", target=b"", version=b"1.1", headers=[])


class Incoming:
    """What is known of one request and of its answer. The class holds what is so until something else is known."""

    head = NO_HEAD
    size = 0
    """Body bytes so far."""
    complete = False
    seen_head = False
    too_large = False
    discard = False
    """The rest of the body interests nobody."""
    expects = False
    """The client waits for a 100 before it sends its body."""
    keep_alive = False
    began = False
    """A part of the answer was written."""
    answered = False
    chunked = False
    left: int | None = None
    """Bytes of the answer's declared length still to write; None: not declared."""
    body_at = 0.0
    raw = -1
    """Bytes of an unfinished head, from its second read on."""
    gathered = 0
    """Parts that are long enough to stay as they are."""
    seen = 0
    overhead = 0
    dry = 0

    def __init__(self, began_at: float) -> None:
        self.began_at = began_at
        self.parts: list[bytes] = []

    def body(self) -> bytes:
        parts = self.parts
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def gather(self) -> None:
        """Join the many small parts of one read: a body in tiny chunks takes no more room than in large ones."""
        parts = self.parts
        if len(parts) - self.gathered > MANY_PARTS:
            parts[self.gathered :] = [b"".join(parts[self.gathered :])]
        self.gathered = len(parts)

    def framing_read(self, read: int) -> int:
        """Note a read of an unfinished chunked body; answers how many bytes came since the last of the body."""
        fresh = self.size - self.seen
        self.seen = self.size
        self.overhead += read - fresh if read > fresh else 0
        self.dry = 0 if fresh else self.dry + read
        return self.dry


def fields(headers: Sequence[Header]) -> bytes:
    """Header fields as lines."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def answer_head(
    incoming: Incoming, status: int, reason: bytes, headers: Sequence[Header], length: int | None, *, draining: bool
) -> bytes:
    """The head of an answer, framing included. Decides how its body is framed and whether the connection goes on."""
    head = incoming.head
    out = [b"HTTP/1.1 %d %b\r\n" % (status, reason or REASONS.get(status, b""))]
    out += [b"%b: %b\r\n" % header for header in headers]
    bodiless = status == 204 or status == 304 or head.method == b"HEAD"
    if length is not None:
        if status != 204:
            out.append(b"Content-Length: %d\r\n" % length)
        incoming.left = 0 if bodiless else length
    elif not bodiless:
        if head.version == b"1.0":
            incoming.keep_alive = False
        else:
            incoming.chunked = True
            out.append(b"Transfer-Encoding: chunked\r\n")
    if not incoming.complete and (incoming.expects or incoming.too_large):
        incoming.keep_alive = False
    if draining or head.upgrade:
        incoming.keep_alive = False
    if not incoming.keep_alive:
        out.append(b"Connection: close\r\n\r\n")
    elif head.version == b"1.0":
        out.append(b"Connection: keep-alive\r\n\r\n")
    else:
        out.append(b"\r\n")
    return b"".join(out)
