"""Fireworks AI. Streams report usage in their last chunk. Source: https://docs.fireworks.ai/api-reference/post-chatcompletions"""

from gateway.wire.openai_shape import OpenAIShape


class Fireworks(OpenAIShape):
    __slots__ = ()

    kind = "fireworks"
    price_as = "fireworks"
    base_url = "https://api.fireworks.ai"
    vocabularies = ("o200k_base",)
    asks = frozenset()


DIALECT = Fireworks()
