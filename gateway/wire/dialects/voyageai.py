"""Voyage AI: embeddings and reranking, billed by total tokens. Source: https://docs.voyageai.com/reference"""

from __future__ import annotations

import msgspec

from gateway.wire.dialect import Refusal, Reply
from gateway.wire.facts import Facts
from gateway.wire.openai_shape import OpenAIShape, retry_headers


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

    def refuse(self, refusal: Refusal, facts: Facts) -> Reply:
        return Reply(refusal.status, retry_headers(refusal), msgspec.json.encode({"detail": refusal.message}))


DIALECT = VoyageAI()
