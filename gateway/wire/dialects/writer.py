"""Writer. Chat lies at ``/v1/chat``; details are spelled in the singular. Source: https://dev.writer.com/api-reference"""

from __future__ import annotations

from typing import Any

from gateway.wire.numbers import part
from gateway.wire.openai_shape import OpenAIShape, read_usage
from gateway.wire.usage import Reading, Usage


class Writer(OpenAIShape):
    __slots__ = ()

    kind = "writer"
    price_as = "writer"
    base_url = "https://api.writer.com"
    asks = frozenset(("chat",))
    operations = {**OpenAIShape.operations, "/chat": "chat", "/v1/chat": "chat"}

    def take_usage(self, usage: dict[str, Any], document: dict[str, Any], into: Usage, reading: Reading) -> bool:
        seen = read_usage(usage, into)
        cached = part(usage, "prompt_token_details", "cached_tokens")
        if cached is not None:
            into.cache_read_tokens = cached
        reasoning = part(usage, "completion_token_details", "reasoning_tokens")
        if reasoning is not None:
            into.reasoning_tokens = reasoning
        return seen


DIALECT = Writer()
