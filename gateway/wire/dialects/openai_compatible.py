"""Any server that speaks OpenAI's API: vLLM, llama.cpp, LM Studio, TGI, SGLang and others.

Moonshot's streams report unasked, in the choice that ends. Responses may be made in the background (Alibaba Cloud Model
Studio, "Asynchronous invocation API").

Source for ``timings``: llama.cpp, tools/server/README.md (``cache_n`` + ``prompt_n`` is the prompt, ``predicted_n`` the
answer). Source for ``n_predict``: llama.cpp, tools/server/server-common.cpp ("if "n_predict" is present, we
overwrite the value specified earlier by "max_tokens""). Source for ``chat_template``: vLLM, "OpenAI-Compatible Server"
(a "Jinja template to use for this conversion"). Source for completions: recorded streams of vLLM. Source for choices:
recorded streams of Moonshot (``choices[0].usage``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from gateway.wire.facts import UNLIMITED, Facts
from gateway.wire.json_edit import set_value
from gateway.wire.json_read import mentions, read_fields
from gateway.wire.numbers import count, table
from gateway.wire.openai_shape import OpenAIShape
from gateway.wire.openai_strip import strip_usage


class Predicted(msgspec.Struct):
    n_predict: Any = None


_PREDICTED: msgspec.json.Decoder[Predicted] = msgspec.json.Decoder(Predicted)
_predicts = mentions(b'"n_predict"')
_brings_template = mentions(b'"chat_template"')


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

    def read(self, method: bytes, target: bytes, content_type: bytes, body: bytes) -> Facts:
        facts = super().read(method, target, content_type, body)
        if facts.api in ("chat", "completions") and _predicts(body):
            # llama.cpp lets it count in place of the usual limit, others pass over it: it bounds nothing by itself
            fields = read_fields(_PREDICTED, body)
            if isinstance(fields, str):
                facts.malformed = fields
            else:
                most = count(fields.n_predict)
                facts.max_output = max(facts.max_output, most) if most and facts.max_output != UNLIMITED else UNLIMITED
        if facts.billable and _brings_template(body):
            # a template may repeat what it is given as often as it likes
            facts.input_open = True
        return facts

    def clamp(self, facts: Facts, body: bytes, max_output: int) -> bytes | None:
        found = super().clamp(facts, body, max_output)
        if found is not None and facts.api in ("chat", "completions") and _predicts(body):
            return set_value(found, b"n_predict", b"%d" % max_output)
        return found

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
