"""Z.ai. Documents that GLM-OCR reads are billed by the token, as its answer reports.

Sources: https://docs.z.ai/api-reference/llm/chat-completion, https://docs.z.ai/guides/vlm/glm-ocr (``layout_parsing``).
"""

from __future__ import annotations

from gateway.wire.facts import Facts
from gateway.wire.openai_shape import OpenAIShape


class Zai(OpenAIShape):
    __slots__ = ()

    limits = {**OpenAIShape.limits, "chat": ("max_tokens",)}
    kind = "zai"
    price_as = "zai"
    base_url = "https://api.z.ai"
    asks = frozenset()
    operations = {**OpenAIShape.operations, "/layout_parsing": "ocr"}

    def read(self, method: bytes, target: bytes, content_type: bytes, body: bytes) -> Facts:
        facts = super().read(method, target, content_type, body)
        if facts.api == "ocr":
            facts.input_open = True
            facts.unbounded = "a document's pages are not bounded by its bytes"
        return facts


DIALECT = Zai()
