"""Hugging Face Inference Providers. Source: https://huggingface.co/docs/inference-providers/tasks/chat-completion"""

from gateway.wire.openai_shape import OpenAIShape


class HuggingFace(OpenAIShape):
    kind = "huggingface"
    price_as = "huggingface"
    base_url = "https://router.huggingface.co"


DIALECT = HuggingFace()
