"""DeepSeek. Cache hits are stated apart; the last chunk of a stream always reports usage, asked or not.

Source: https://api-docs.deepseek.com/api/create-chat-completion
"""

from __future__ import annotations

from typing import Any

from gateway.wire.numbers import count
from gateway.wire.openai_shape import OpenAIShape, read_usage
from gateway.wire.usage import Reading, Usage


class DeepSeek(OpenAIShape):
    __slots__ = ()

    limits = {**OpenAIShape.limits, "chat": ("max_tokens",)}
    kind = "deepseek"
    price_as = "deepseek"
    base_url = "https://api.deepseek.com"
    asks = frozenset()

    def take_usage(self, usage: dict[str, Any], document: dict[str, Any], into: Usage, reading: Reading) -> bool:
        seen = read_usage(usage, into)
        hits = count(usage.get("prompt_cache_hit_tokens"))
        if hits is not None:
            into.cache_read_tokens = hits
        return seen


DIALECT = DeepSeek()
