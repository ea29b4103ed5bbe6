"""How providers and what they bill are called in files for finance people."""

from __future__ import annotations

from typing import NamedTuple

PROVIDERS = {
    "openai": "OpenAI", "azure": "Microsoft", "anthropic": "Anthropic", "google": "Google", "gemini": "Google",
    "vertex": "Google Cloud", "aws": "AWS", "bedrock": "AWS", "mistral": "Mistral AI", "cohere": "Cohere",
    "groq": "Groq", "openrouter": "OpenRouter", "deepseek": "DeepSeek", "x-ai": "xAI", "xai": "xAI",
    "cerebras": "Cerebras", "together": "Together AI", "fireworks": "Fireworks AI", "perplexity": "Perplexity",
    "huggingface": "Hugging Face", "voyageai": "Voyage AI", "writer": "Writer", "snowflake": "Snowflake",
    "zai": "Z.ai", "crusoe": "Crusoe", "ollama": "Ollama",
}  # fmt: skip
"""By price list or kind. Others keep the name that the configuration gives them."""


class Meter(NamedTuple):
    """One thing that is billed by quantity."""

    name: str
    unit: str
    """What is counted."""
    per: int
    """How many of them the unit price is for."""
    pricing_unit: str


_MILLION = "1000000 Tokens"
METERS = {
    "input": Meter("Input Tokens", "Tokens", 1_000_000, _MILLION),
    "cache_read": Meter("Cached Input Tokens", "Tokens", 1_000_000, _MILLION),
    "cache_write": Meter("Cache Write Tokens", "Tokens", 1_000_000, _MILLION),
    "cache_write_1h": Meter("Cache Write Tokens 1 Hour", "Tokens", 1_000_000, _MILLION),
    "cache_read_audio": Meter("Cached Audio Input Tokens", "Tokens", 1_000_000, _MILLION),
    "input_audio": Meter("Audio Input Tokens", "Tokens", 1_000_000, _MILLION),
    "cache_read_image": Meter("Cached Image Input Tokens", "Tokens", 1_000_000, _MILLION),
    "input_video": Meter("Video Input Tokens", "Tokens", 1_000_000, _MILLION),
    "input_image": Meter("Image Input Tokens", "Tokens", 1_000_000, _MILLION),
    "output": Meter("Output Tokens", "Tokens", 1_000_000, _MILLION),
    "reasoning": Meter("Reasoning Tokens", "Tokens", 1_000_000, _MILLION),
    "output_audio": Meter("Audio Output Tokens", "Tokens", 1_000_000, _MILLION),
    "output_image": Meter("Image Output Tokens", "Tokens", 1_000_000, _MILLION),
    "web_search": Meter("Web Searches", "Requests", 1000, "1000 Requests"),
    "web_search_seen": Meter("Web Searches", "Requests", 1000, "1000 Requests"),
    "search_unit": Meter("Search Units", "Units", 1000, "1000 Units"),
    "character": Meter("Characters", "Characters", 1_000_000, "1000000 Characters"),
    "audio_time": Meter("Audio Time", "Milliseconds", 1000, "Seconds"),
    "image": Meter("Images", "Images", 1, "Images"),
    "page": Meter("Pages", "Pages", 1, "Pages"),
    "request": Meter("Requests", "Requests", 1, "Requests"),
    "reported": Meter("Requests At Reported Cost", "Requests", 1, "Requests"),
}


def meter_of(item: str, unit: str) -> Meter:
    """The meter of a bill's line."""
    found = METERS.get(item)
    if found is not None:
        return found
    words = unit.replace("_", " ").title()
    return Meter(item.replace("_", " ").title(), f"{words}s", 1, f"{words}s")


def provider_of(name: str, price_list: str) -> str:
    """Whose service it is: by its price list, else as the configuration names it."""
    return PROVIDERS.get(price_list.rpartition(":")[2], name)
