"""Google searches that ground a Gemini answer, which are charged beside the tokens.

No report counts them, so they are counted in ``groundingMetadata``: Gemini 3 and later are charged by the query (equal
ones once, empty ones not at all), earlier models once a grounded prompt. What is free of charge up to an allowance
counts as the rest does: an answer doesn't say.

Sources: https://ai.google.dev/gemini-api/docs/google-search ("Pricing"), https://ai.google.dev/gemini-api/docs/pricing;
recorded answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from gateway.wire.facts import SEARCHES
from gateway.wire.json_read import mentions
from gateway.wire.numbers import table

NEEDLE = b'"groundingMetadata"'
BOUND = "web_search_requests"
MAX_QUERIES = 256
"""Queries of one answer that are told apart."""
searches_web = mentions(b'"googleSearch', b'"google_search')
_by_prompt = re.compile(r"(^|/)gemini-(?:[a-z-]*-)?[12](?:\.\d+)?(-|$)").search


def by_prompt(model: str) -> bool:
    """True where a grounded prompt is charged once, however many queries it took."""
    return _by_prompt(model) is not None


def searches_bound(model: str, body: bytes) -> int:
    """How many searches the call can be charged for; 0: it has no means to search."""
    if not searches_web(body):
        return 0
    return 1 if by_prompt(model) else SEARCHES


def queries_of(grounded: Any) -> Iterator[str]:
    """The queries among members of ``groundingMetadata``."""
    queries = table(grounded).get("webSearchQueries")
    for query in queries if isinstance(queries, list) else ():
        if isinstance(query, str) and query:
            yield query


class Searches:
    """Counts the queries of one answer, whichever of its chunks they come in."""

    def __init__(self) -> None:
        self._queries: set[int] = set()

    def take(self, grounded: Any) -> None:
        """Take ``groundingMetadata`` of a candidate or of a message."""
        for query in queries_of(grounded):
            if len(self._queries) < MAX_QUERIES:
                self._queries.add(hash(query))

    def charged(self, model: str) -> int:
        """How many are charged where ``model`` answered."""
        found = len(self._queries)
        return min(found, 1) if by_prompt(model) else found
