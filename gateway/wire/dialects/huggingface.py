"""Hugging Face Inference Providers: a router before other providers, which a path or the model's suffix may name.

Sources: https://huggingface.co/docs/inference-providers/tasks/chat-completion, https://huggingface.co/docs/inference-providers
(the provider as a suffix of the model); recorded streams of Together and Novita behind the router; the documentation of
Groq and Fireworks for theirs.
"""

from __future__ import annotations

from gateway.wire.facts import Facts
from gateway.wire.openai_shape import OpenAIShape
from gateway.wire.paths import plain_path

UNASKED = frozenset(("together", "novita", "groq", "fireworks-ai"))
"""Providers behind the router whose streams report usage unasked: nothing is to be added there, nor taken out."""


class HuggingFace(OpenAIShape):
    __slots__ = ()

    kind = "huggingface"
    price_as = "huggingface"
    base_url = "https://router.huggingface.co"
    vocabularies = ("o200k_base",)

    def read(self, method: bytes, target: bytes, content_type: bytes, body: bytes) -> Facts:
        facts = super().read(method, target, content_type, body)
        if not facts.asks_usage and (
            plain_path(target).split("/", 2)[1] in UNASKED or facts.model.rpartition(":")[2] in UNASKED
        ):
            facts.asks_usage = True
        return facts


DIALECT = HuggingFace()
