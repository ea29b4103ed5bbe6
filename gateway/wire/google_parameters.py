"""What any request to a Google API may ask of its answer, beside what the operation takes.

Source: https://cloud.google.com/apis/docs/system-parameters (``$alt``: json, media, proto or sse; ``$callback``;
``$fields``: "FieldMask used for response filtering"; each without its dollar too).
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

_TELLING = (b"", b"json", b"sse")


def hides_usage(target: bytes) -> bool:
    """Whether the answer may come without its usage, or in a form that is not read here."""
    query = target.partition(b"?")[2]
    for pair in query.split(b"&") if query else ():
        name, _, value = pair.partition(b"=")
        name = unquote_to_bytes(name).removeprefix(b"$")
        if name in (b"fields", b"callback") or (name == b"alt" and value.lower() not in _TELLING):
            return True
    return False
