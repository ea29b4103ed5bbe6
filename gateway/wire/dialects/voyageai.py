"""Voyage AI: embeddings and reranking, billed by total tokens.

Sources: https://docs.voyageai.com/reference, https://docs.voyageai.com/docs/multimodal-embeddings (pictures and video
are counted as tokens by their pixels; all inputs of a request take 320,000 tokens at most).
"""

from __future__ import annotations

import msgspec

from gateway.wire.dialect import Refusal, Reply
from gateway.wire.facts import Facts
from gateway.wire.openai_shape import OpenAIShape, retry_headers
from gateway.wire.paths import plain_path

MOST_TOKENS = 320_000
"""Of all that a request embeds, where pictures are among it."""


class VoyageAI(OpenAIShape):
    __slots__ = ()

    kind = "voyageai"
    price_as = "voyageai"
    base_url = "https://api.voyageai.com"
    operations = {
        "/embeddings": "embeddings",
        "/contextualizedembeddings": "embeddings",
        "/multimodalembeddings": "embeddings",
        "/rerank": "rerank",
    }

    def read(self, method: bytes, target: bytes, content_type: bytes, body: bytes) -> Facts:
        facts = super().read(method, target, content_type, body)
        if facts.billable and plain_path(target).endswith("/multimodalembeddings"):
            facts.input_bytes = max(facts.input_bytes, MOST_TOKENS)
        return facts

    def refuse(self, refusal: Refusal, facts: Facts) -> Reply:
        return Reply(refusal.status, retry_headers(refusal), msgspec.json.encode({"detail": refusal.message}))


DIALECT = VoyageAI()
