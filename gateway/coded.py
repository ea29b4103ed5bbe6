"""Request bodies that come with a content coding (gzip, deflate, br, zstd).

What is metered is read without its coding, and goes on without it: two readers of the same coded bytes may disagree on
what they say, and what the provider answers must be what was held. Any other body goes on as it came.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.parts import Parts
from gateway.wire.dialect import Refusal
from gateway.wire.framing.content_encoding import decoder_for


class _TooLargeError(Exception):
    pass


def undo(parts: Parts, coding: bytes, body: bytes, then: Callable[[bytes | None], None]) -> None:
    """``then`` hears the body as ``undone`` answers it. A few bytes may hold many: that is no work for the event
    loop."""
    most = parts.max_body_bytes
    parts.offload(lambda: undone(coding, body, most), None, then)


def undone(coding: bytes, body: bytes, most: int) -> bytes | None:
    """The body without its coding, ``body`` itself where there is none; None where it can't be read, or is longer than
    ``most``."""
    decoder = decoder_for(coding)
    if decoder is None:
        return body
    parts: list[bytes] = []
    left = most

    def take(piece: bytes) -> None:
        nonlocal left
        left -= len(piece)
        if left < 0:
            raise _TooLargeError
        parts.append(piece)

    try:
        decoder.feed(body, take)
    except _TooLargeError:
        return None
    return None if decoder.broken else b"".join(parts)


def unreadable(coding: bytes, most: int) -> Refusal:
    """The refusal of a body that had to be read and could not be."""
    name = coding[:40].decode("latin-1")
    return Refusal(
        status=400,
        code="invalid_request",
        message=f'The request body can\'t be read: its Content-Encoding is "{name}". gzip, deflate, br and zstd are '
        f"taken, up to {most} bytes without them.",
    )
