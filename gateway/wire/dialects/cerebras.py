"""Cerebras Inference. Source: https://inference-docs.cerebras.ai/api-reference/chat-completions"""

from gateway.wire.openai_shape import OpenAIShape


class Cerebras(OpenAIShape):
    __slots__ = ()

    kind = "cerebras"
    price_as = "cerebras"
    base_url = "https://api.cerebras.ai"
    vocabularies = ("o200k_base",)


DIALECT = Cerebras()
