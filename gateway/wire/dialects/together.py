"""Together AI. The last chunk of a stream reports usage, asked or not; the others hold a null.

Source: https://docs.together.ai/reference/chat-completions-1
"""

from gateway.wire.openai_shape import OpenAIShape


class Together(OpenAIShape):
    __slots__ = ()

    limits = {**OpenAIShape.limits, "chat": ("max_tokens",)}
    kind = "together"
    price_as = "together"
    base_url = "https://api.together.xyz"
    vocabularies = ("o200k_base",)
    asks = frozenset()
    jobs = "/batches"


DIALECT = Together()
