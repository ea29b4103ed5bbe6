"""Large JSON texts without what their long strings say: who reads a request's shape need not pass prompts and pictures.

``hollow.pyx`` is what the compiled build has in place of this: it looks at each quote, which is too slow here.
"""

from __future__ import annotations

from gateway.wire.json_escapes import is_escaped

LEAST_BYTES = 2048
"""A shorter text is left as it is."""
LONG_BYTES = 256
HOLLOW = "..."
"""What a long string says then."""
WORTH_BYTES = 1024
"""A quote must come with so many bytes on average; the rest is left as it is."""
_MARK = HOLLOW.encode()
_BACKSLASH = 0x5C


def hollow(body: bytes) -> bytes:
    """The text with ``HOLLOW`` in place of what strings of more than ``LONG_BYTES`` say, of as many as pays; all else
    stays as it is. Of what is no JSON anything may be left."""
    if len(body) < LEAST_BYTES:
        return body
    find, looks = body.find, len(body) // WORTH_BYTES + 16
    kept, parts = 0, []
    begin = find(b'"')
    while begin >= 0:
        end = find(b'"', begin + 1)
        while end >= 0 and looks > 0 and body[end - 1] == _BACKSLASH and is_escaped(body, end):
            looks -= 1
            end = find(b'"', end + 1)
        looks -= 1
        if end < 0 or looks <= 0:
            break
        if end - begin > LONG_BYTES:
            parts.append(body[kept : begin + 1])
            kept = end
        begin = find(b'"', end + 1)
    if not parts:
        return body
    parts.append(body[kept:])
    return _MARK.join(parts)
