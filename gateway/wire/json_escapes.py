"""Escapes in the bytes of a JSON text. Source: RFC 8259, section 7."""

from __future__ import annotations

import re

_BACKSLASH = 0x5C
_letter = re.compile(rb"\\u00[4-7]").search


def is_escaped(body: bytes, quote: int) -> bool:
    """An odd number of backslashes stands before the quote at this position. One does at least."""
    if body[quote - 2] != _BACKSLASH:
        return True
    size = 16
    while True:
        before = body[max(0, quote - size) : quote]
        run = len(before) - len(before.rstrip(b"\\"))
        if run < size:
            return run % 2 == 1
        # so that a run of any length is passed in time
        size *= 8


def has_escaped_letters(body: bytes) -> bool:
    """Some letter may be written as an escape (``\\u0061``), as no encoder does: a name need not look as usual."""
    # a single byte is found much faster than a pattern
    return b"\\" in body and _letter(body) is not None
