"""Groq. The last chunk of a stream reports usage in ``x_groq``, asked or not; ``usage`` comes beside it when asked.

Compound systems run tools of their own, whose results become input.
Sources: https://console.groq.com/docs/api-reference, https://console.groq.com/docs/compound
"""

from __future__ import annotations

from typing import Any

from gateway.wire.facts import Facts
from gateway.wire.numbers import table
from gateway.wire.openai_shape import OpenAIShape


class Groq(OpenAIShape):
    __slots__ = ()

    kind = "groq"
    price_as = "groq"
    base_url = "https://api.groq.com"
    vocabularies = ("o200k_base",)
    asks = frozenset()
    jobs = "/batches"

    def read(self, method: bytes, target: bytes, content_type: bytes, body: bytes) -> Facts:
        facts = super().read(method, target, content_type, body)
        if "compound" in facts.model:
            facts.input_open = True
            facts.unbounded = "a compound system may call its tools without end"
        return facts

    def usage_of(self, document: dict[str, Any]) -> Any:
        return super().usage_of(document) or table(document.get("x_groq")).get("usage")


DIALECT = Groq()
