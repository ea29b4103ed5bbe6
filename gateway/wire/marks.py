"""Whether JSON texts hold strings that begin in certain ways, in one pass.

``marks.pyx`` is what the compiled build has in place of this: a pattern takes seven times as long at each quote.
"""

from __future__ import annotations

import re


class Marks:
    """A test for beginnings of strings, each of which is given with its quote. A quote behind a backslash is text."""

    __slots__ = ("_search",)

    def __init__(self, marks: tuple[bytes, ...]) -> None:
        # a single byte is found much faster than a pattern
        pattern = b'"(?<!\\\\")(?:%b)' % b"|".join(re.escape(mark[1:]) for mark in marks)
        self._search = re.compile(pattern).search

    def among(self, body: bytes) -> bool:
        """One of them stands in the text."""
        return self._search(body) is not None
