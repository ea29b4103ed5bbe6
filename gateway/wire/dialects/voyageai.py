"""Voyage AI: embeddings and reranking, billed by total tokens. Source: https://docs.voyageai.com/reference"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.wire.dialect import Refusal, Reply
from gateway.wire.facts import Facts
from gateway.wire.numbers import count
from gateway.wire.openai_shape import OpenAIShape, retry_headers
from gateway.wire.usage import Reading, Usage


class VoyageAI(OpenAIShape):
    kind = "voyageai"
    price_as = "voyageai"
    base_url = "https://api.voyageai.com"
    operations = {
        "/embeddings": "embeddings",
        "/contextualizedembeddings": "embeddings",
        "/multimodalembeddings": "embeddings",
        "/rerank": "rerank",
    }

    def take_usage(self, usage: dict[str, Any], document: dict[str, Any], into: Usage, reading: Reading) -> bool:
        total = count(usage.get("total_tokens"))
        if total is None:
            return False
        into.input_tokens_total = total
        return True

    def refuse(self, refusal: Refusal, facts: Facts) -> Reply:
        return Reply(refusal.status, retry_headers(refusal), msgspec.json.encode({"detail": refusal.message}))


DIALECT = VoyageAI()
