"""Members of a request that two readers may understand differently: named twice, or in letters of another case.

Which of two equal names counts is each reader's own choice (RFC 8259, section 4: what software does then is
"unpredictable"), and a reader in Go takes a name in any case (its package encoding/json, ``Unmarshal``: "preferring
exact matches but also accepting case-insensitive matches"). So what such a request asks for is not known.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from gateway.wire.json_edit import members
from gateway.wire.json_escapes import has_escaped_letters
from gateway.wire.top_names import odd_names

TWICE = 'The request body names "{}" more than once, or in letters of another case: name it once, as the API spells it.'


class Names:
    """The names of the members that matter."""

    __slots__ = ("_exact", "_folded")

    def __init__(self, names: Iterable[str]) -> None:
        self._exact = frozenset(names)
        self._folded = {name.casefold(): name for name in self._exact}

    def doubtful(self, body: bytes) -> str:
        """One that ``body`` names in a way that is not the same to all; empty where there is none. ``body``: a JSON
        object."""
        odd = odd_names(body)
        if odd is None:
            return self._look(body)
        for name in odd:
            meant = self._folded.get(name.casefold()) if name not in self._exact else None
            if meant is not None:
                return meant
        return ""

    def _look(self, body: bytes) -> str:
        seen: set[bytes] = set()
        for member in members(body):
            key = member.key
            meant = self._folded.get(key.decode("utf-8", "replace").casefold())
            if meant is not None and (key in seen or meant.encode() != key):
                return meant
            seen.add(key)
        return ""


class Inner:
    """Names of members that matter wherever in a body they stand. Their letters have the case that the API gives them:
    those who take others as well take them at a body's own members alone."""

    __slots__ = ("_marks", "_names")

    def __init__(self, *names: str) -> None:
        self._names = names
        self._marks = tuple(b'"%b"' % name.encode() for name in names)

    def doubtful(self, body: bytes) -> str:
        """One that an object in ``body`` has more than once; empty where there is none. ``body``: JSON that can be
        read."""
        if all(body.count(mark) < 2 for mark in self._marks) and not has_escaped_letters(body):
            return ""
        found: list[str] = []

        def look(pairs: list[tuple[str, Any]]) -> None:
            keys = [key for key, _ in pairs]
            found.extend(name for name in self._names if keys.count(name) > 1)

        try:
            json.loads(body.decode("utf-8", "replace"), object_pairs_hook=look)
        except (ValueError, RecursionError):
            return ""
        return found[0] if found else ""
