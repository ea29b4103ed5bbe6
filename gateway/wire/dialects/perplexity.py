"""Perplexity. Every chunk carries the usage so far, and what the call cost; deep research reads what it cites.

Sources: https://docs.perplexity.ai/api-reference/chat-completions-post, https://docs.perplexity.ai/getting-started/pricing
(citation tokens and reasoning tokens of deep research have prices of their own).
"""

from __future__ import annotations

from typing import Any

from gateway.wire.facts import Facts
from gateway.wire.numbers import count, nanousd, table, text
from gateway.wire.openai_shape import OpenAIShape, read_usage
from gateway.wire.usage import Reading, Usage

DEEP_SEARCHES = 100
"""Searches of one deep research; Perplexity documents no maximum and shows some 20 to 30."""


class Perplexity(OpenAIShape):
    kind = "perplexity"
    price_as = "perplexity"
    base_url = "https://api.perplexity.ai"
    asks = frozenset()

    def read(self, method: bytes, target: bytes, content_type: bytes, body: bytes) -> Facts:
        facts = super().read(method, target, content_type, body)
        if "deep-research" in facts.model:
            facts.input_open = True
            facts.unbounded = "deep research may search without end"
            facts.units_bound = {"web_search_requests": DEEP_SEARCHES}
        return facts

    def take_usage(self, usage: dict[str, Any], document: dict[str, Any], into: Usage, reading: Reading) -> bool:
        seen = read_usage(usage, into)
        searches, reasoning = count(usage.get("num_search_queries")), count(usage.get("reasoning_tokens"))
        if searches is not None:
            into.web_search_requests = searches
        if reasoning is not None:
            into.reasoning_tokens = reasoning
        if "deep-research" in (text(document.get("model")) or reading.model):
            # its own tokens are stated apart: what it read of its sources is input, how it reasoned is output
            into.input_tokens_total = _sum(usage, "prompt_tokens", "citation_tokens")
            into.output_tokens_total = _sum(usage, "completion_tokens", "reasoning_tokens")
        cost = nanousd(table(usage.get("cost")).get("total_cost"))
        if cost is not None:
            reading.reported_cost_nanousd = cost
        return seen


def _sum(usage: dict[str, Any], *names: str) -> int:
    return sum(count(usage.get(name)) or 0 for name in names)


DIALECT = Perplexity()
