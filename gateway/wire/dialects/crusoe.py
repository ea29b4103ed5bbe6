"""Crusoe Managed Inference. Source: https://docs.crusoecloud.com/managed-inference"""

from gateway.wire.openai_shape import OpenAIShape


class Crusoe(OpenAIShape):
    __slots__ = ()

    kind = "crusoe"
    price_as = "crusoe"
    base_url = "https://api.inference.crusoecloud.com"
    vocabularies = ("o200k_base",)


DIALECT = Crusoe()
