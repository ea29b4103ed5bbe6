"""Exact counts of a request's input, where a quota has no room for its byte bound. Blocking: run off the event loop."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.tokens.text import request_text
from gateway.tokens.vocabulary import Vocabularies, encoding_name
from gateway.wire.facts import Facts
from gateway.wire.json_read import parse

MAX_BYTES = 2 * 1024 * 1024
"""A longer request keeps its byte bound: counting it would take too long."""
PER_MESSAGE = 8
"""Tokens around one message, at most: role, name and separators. OpenAI states 3, and 1 more for a name."""
PER_TOOL = 48
"""Tokens around one tool's definition, at most, beside those of its JSON."""
PRIMING = 16


class Counter:
    """Counts, or answers None where it can't count safely."""

    def __init__(self, vocabularies: Vocabularies) -> None:
        self._vocabularies = vocabularies

    def count(self, model: str, facts: Facts, body: bytes) -> int | None:
        """Input tokens of a request, never fewer than the provider counts; None where the model's vocabulary is not
        known, or input lies outside the text."""
        name = encoding_name(model)
        if name is None or facts.input_open or len(body) > MAX_BYTES:
            return None
        document = parse(body)
        if not isinstance(document, dict):
            return None
        total = PRIMING + self._vocabularies.count(name, request_text(body))
        messages = document.get("messages", document.get("input"))
        if isinstance(messages, list):
            total += PER_MESSAGE * len(messages)
        for key in ("tools", "functions", "response_format", "text"):
            total += self._schema(name, document.get(key))
        return min(total, facts.input_bytes + facts.input_overhead)

    def text_tokens(self, model: str, text: str) -> int:
        """Tokens of a piece of an answer, never fewer than the provider counts: a token a byte where the model's
        vocabulary is not known."""
        name = encoding_name(model)
        return len(text.encode("utf-8", "replace")) if name is None else self._vocabularies.count(name, text)

    def prepare(self, model: str) -> None:
        """Load what ``text_tokens`` needs for a model. Blocking."""
        self.text_tokens(model, "")

    def _schema(self, name: str, value: Any) -> int:
        """Tools and schemas, counted as the JSON they are: the provider's own notation is shorter."""
        if not value or isinstance(value, str):
            return 0
        count = len(value) if isinstance(value, list) else 1
        return self._vocabularies.count(name, msgspec.json.encode(value).decode()) + PER_TOOL * count
