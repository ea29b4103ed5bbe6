"""OpenRouter. It reports what the call cost, in messages too; the last chunk of a stream reports usage, asked or not.

Sources: https://openrouter.ai/docs/use-cases/usage-accounting, https://openrouter.ai/docs/features/web-search;
recorded answers of ``/api/v1/messages``.
"""

from __future__ import annotations

from typing import Any

from gateway.wire.facts import Facts
from gateway.wire.numbers import nanousd, part, table
from gateway.wire.openai_shape import OpenAIShape, read_usage
from gateway.wire.usage import Reading, Usage


class OpenRouter(OpenAIShape):
    __slots__ = ()

    kind = "openrouter"
    price_as = "openrouter"
    base_url = "https://openrouter.ai"
    asks = frozenset()
    operations = {**OpenAIShape.operations, "/v1/images": "images"}

    def read(self, method: bytes, target: bytes, content_type: bytes, body: bytes) -> Facts:
        facts = super().read(method, target, content_type, body)
        if facts.model.endswith(":online"):
            facts.input_open = True
        return facts

    def cost_of(self, usage: dict[str, Any]) -> int | None:
        cost = nanousd(usage.get("cost"))
        if cost is not None and usage.get("is_byok") is True:
            # OpenRouter's fee alone: the provider behind bills the rest to the caller's own key
            cost += nanousd(table(usage.get("cost_details")).get("upstream_inference_cost")) or 0
        return cost

    def take_usage(self, usage: dict[str, Any], document: dict[str, Any], into: Usage, reading: Reading) -> bool:
        cost = self.cost_of(usage)
        if cost is not None:
            reading.reported_cost_nanousd = cost
        searches = part(usage, "server_tool_use_details", "web_search_requests")
        if searches is not None:
            into.web_searches_seen = searches
        return read_usage(usage, into)


DIALECT = OpenRouter()
