"""Z.ai. Source: https://docs.z.ai/api-reference/llm/chat-completion"""

from gateway.wire.openai_shape import OpenAIShape


class Zai(OpenAIShape):
    __slots__ = ()

    limits = {**OpenAIShape.limits, "chat": ("max_tokens",)}
    kind = "zai"
    price_as = "zai"
    base_url = "https://api.z.ai"
    asks = frozenset()


DIALECT = Zai()
