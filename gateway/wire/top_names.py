"""The names of a JSON object's own members, as far as it has to be looked at what they are.

``top_names.pyx`` is what the compiled build has in place of this: it reads the text in one pass, however it is set.
"""

from __future__ import annotations

import msgspec

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def odd_names(body: bytes) -> list[str] | None:
    """Those of a JSON object's names that are not all in small letters. None: two of them are the same but for their
    case, or one holds what only a look at each member tells (an escape, a letter that is not ASCII), or it is no
    object."""
    try:
        found = _members(body)
    except (ValueError, RecursionError):
        return None
    if len(body) != 4 * len(found) + 1 + sum(map(len, found)) + sum(map(len, found.values())) and body != _spaced(
        found
    ):
        # more than these members and their punctuation
        return None if body != b"{}" else []
    odd = [name for name in found if name != name.lower()]
    if odd and (not "".join(odd).isascii() or len({name.lower() for name in found}) < len(found)):
        return None
    return odd


def _spaced(found: dict[str, msgspec.Raw]) -> bytes:
    """The object as Python writes it unasked."""
    return b"{%b}" % b", ".join([b'"%b": %b' % (name.encode(), value) for name, value in found.items()])
