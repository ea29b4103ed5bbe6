"""OpenAI. Decisions are answered like responses: they report tokens, and stream not.

Sources: https://platform.openai.com/docs/api-reference; openai-python (``decision_create_params``, ``Decision``);
https://developers.openai.com/api/docs/guides/data-residency (hosts).
"""

from __future__ import annotations

from typing import ClassVar

from gateway.wire.facts import Facts
from gateway.wire.openai_shape import OpenAIShape


class OpenAI(OpenAIShape):
    __slots__ = ()

    kind = "openai"
    price_as = "openai"
    base_url = "https://api.openai.com"
    regional_host = r"([a-z]+)\.api\.openai\.com"
    vocabularies: ClassVar[tuple[str, ...]] = ("o200k_base", "cl100k_base")
    limit_key = b"max_completion_tokens"
    counts_searches = True
    limits_tools = True
    keeps_answers = True
    operations = {**OpenAIShape.operations, "/decisions": "decisions"}
    document_keys = ("svg_usage",)

    def read(self, method: bytes, target: bytes, content_type: bytes, body: bytes) -> Facts:
        facts = super().read(method, target, content_type, body)
        if facts.api == "decisions":
            # up to 400 questions may each read the input
            facts.input_open = True
        return facts


DIALECT = OpenAI()
