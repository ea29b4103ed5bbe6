"""One request as it arrives, and the framing of its answer."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.ports import Header, RequestHead
from gateway.wire.http_heads import Lines

MANY_PARTS = 8
_SEPARATOR = b": "
_LINE_END = b"\r\n"
_OK = b"HTTP/1.1 200 OK\r\n"
NO_HEAD = RequestHead(method=b"", target=b"", version=b"1.1", headers=[])


class Incoming:
    """What is known of one request and of its answer."""

    __slots__ = (
        "answered", "began", "began_at", "body_at", "chunked", "complete", "discard", "dry", "expects", "gathered",
        "head", "keep_alive", "left", "overhead", "parts", "raw", "seen", "seen_head", "size", "too_large",
    )  # fmt: skip

    def __init__(self, began_at: float) -> None:
        self.began_at = began_at
        self.head = NO_HEAD
        self.parts: list[bytes] = []
        self.size = 0
        """Body bytes so far."""
        self.complete = False
        self.seen_head = False
        self.too_large = False
        self.discard = False
        """The rest of the body interests nobody."""
        self.expects = False
        """The client waits for a 100 before it sends its body."""
        self.keep_alive = False
        self.began = False
        """A part of the answer was written."""
        self.answered = False
        self.chunked = False
        self.left: int | None = None
        """Bytes of the answer's declared length still to write; None: not declared."""
        self.body_at = 0.0
        self.raw = -1
        """Bytes of an unfinished head, from its second read on."""
        self.gathered = 0
        """Parts that are long enough to stay as they are."""
        self.seen = 0
        self.overhead = 0
        self.dry = 0

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
    incoming: Incoming, status: int, reason: bytes, headers: Sequence[Header], length: int | None, draining: bool
) -> list[bytes]:
    """An answer's head in pieces, framing and blank line included: to be joined, and with the body. Decides how the
    body is framed and whether the connection goes on."""
    head = incoming.head
    if status == 200 and reason == b"OK":
        out = [_OK]
    else:
        out = [b"HTTP/1.1 %d %b\r\n" % (status, reason)]
    if type(headers) is Lines:
        out.append(headers.block)
        headers = headers[headers.known :]
    # one join of all pieces costs a third of a join of each line
    for header in headers:
        name, value = header
        out.append(name)
        out.append(_SEPARATOR)
        out.append(value)
        out.append(_LINE_END)
    bodiless = status == 204 or status == 304 or head.method == b"HEAD"
    if length is not None:
        if status != 204:
            out.append(b"Content-Length: ")
            out.append(str(length).encode())
            out.append(_LINE_END)
        incoming.left = 0 if bodiless else length
    elif not bodiless:
        if head.version == b"1.0":
            incoming.keep_alive = False
        else:
            incoming.chunked = True
            out.append(b"Transfer-Encoding: chunked\r\n")
    if draining or head.upgrade or (not incoming.complete and (incoming.expects or incoming.too_large)):
        incoming.keep_alive = False
    if not incoming.keep_alive:
        out.append(b"Connection: close\r\n")
    elif head.version == b"1.0":
        out.append(b"Connection: keep-alive\r\n")
    out.append(_LINE_END)
    return out
