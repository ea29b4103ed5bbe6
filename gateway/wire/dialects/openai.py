"""OpenAI. Source: https://platform.openai.com/docs/api-reference"""

from gateway.wire.openai_shape import OpenAIShape


class OpenAI(OpenAIShape):
    __slots__ = ()

    kind = "openai"
    price_as = "openai"
    base_url = "https://api.openai.com"
    limit_key = b"max_completion_tokens"
    counts_searches = True
    limits_tools = True
    keeps_answers = True


DIALECT = OpenAI()
