"""Any server that speaks OpenAI's API: vLLM, llama.cpp, LM Studio, TGI, SGLang and others.

Moonshot's streams report unasked, in the choice that ends. Responses may be made in the background (Alibaba Cloud Model
Studio, "Asynchronous invocation API").

Source for ``timings``: llama.cpp, tools/server/README.md (``cache_n`` + ``prompt_n`` is the prompt, ``predicted_n`` the
answer). Source for completions: recorded streams of vLLM. Source for choices: recorded streams of
Moonshot (``choices[0].usage``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.wire.facts import Facts
from gateway.wire.numbers import count, table
from gateway.wire.openai_shape import OpenAIShape
from gateway.wire.openai_strip import strip_usage


def strip_completion(block: bytes) -> bytes:
    """vLLM's completions (their choices have a ``stop_reason``) hold a null report in every chunk, asked or not."""
    return block if b'"stop_reason"' in block else strip_usage(block)


def _of_choice(choices: Any) -> dict[str, Any] | None:
    """The usage that one of the choices holds; of several the last."""
    held = [table(one).get("usage") for one in choices] if isinstance(choices, list) else []
    return next((usage for usage in reversed(held) if isinstance(usage, dict)), None)


class OpenAICompatible(OpenAIShape):
    __slots__ = ()

    kind = "openai-compatible"
    price_as = "openai-compatible"
    base_url = ""
    vocabularies = ("o200k_base",)
    keeps_answers = True

    def needles(self, facts: Facts) -> tuple[bytes, ...]:
        return (*super().needles(facts), b'"timings"')

    def strip(self, facts: Facts) -> Callable[[bytes], bytes]:
        return strip_completion if facts.api == "completions" else strip_usage

    document_keys = ("choices",)

    def usage_of(self, document: dict[str, Any]) -> Any:
        usage, timings = super().usage_of(document), document.get("timings")
        if usage is None:
            usage = _of_choice(document.get("choices"))
        if usage is not None or not isinstance(timings, dict):
            return usage
        cached, prompt = count(timings.get("cache_n")), count(timings.get("prompt_n"))
        return {
            "prompt_tokens": None if prompt is None else prompt + (cached or 0),
            "prompt_tokens_details": {"cached_tokens": cached},
            "completion_tokens": timings.get("predicted_n"),
        }


DIALECT = OpenAICompatible()
