"""Estimates of usage, only where a provider reported none. Every record that rests on one says so.

The answer's text is read from the sample that the meter kept and scaled to the whole answer. OpenAI's models are
counted with their own vocabulary; for others a ratio of bytes to tokens is learned from settled calls of the same
model.
"""

from __future__ import annotations

import math

from gateway.tokens.text import answer_text, request_text
from gateway.tokens.vocabulary import Vocabularies, encoding_name
from gateway.wire.facts import UNLIMITED, Facts
from gateway.wire.usage import Reading, Usage

BYTES_PER_TOKEN = 4.0
"""English prose; used until a model has taught its own ratio."""
WIRE_BYTES_PER_TOKEN = 40.0
"""Bytes of a streamed answer for each token, framing included; only for checkpoints of unknown models."""
MAX_MODELS = 2000
WEIGHT = 0.05
MAX_TEXT_BYTES = 2 * 1024 * 1024


class Ratio:
    """Bytes per token of one model, as a moving mean."""

    __slots__ = ("input", "output")

    def __init__(self) -> None:
        self.input = 0.0
        self.output = 0.0

    @staticmethod
    def mixed(old: float, new: float) -> float:
        return new if not old else old + WEIGHT * (new - old)


class Estimator:
    """``estimate`` may run in any thread; ``observe`` and ``quick`` belong to the event loop."""

    def __init__(self, vocabularies: Vocabularies) -> None:
        self._vocabularies = vocabularies
        self._ratios: dict[tuple[str, str], Ratio] = {}

    def observe(self, provider: str, model: str, bytes_in: int, bytes_out: int, usage: Usage) -> None:
        """Learn from a call whose usage was reported."""
        key = (provider, model)
        ratio = self._ratios.get(key)
        if ratio is None:
            if len(self._ratios) >= MAX_MODELS:
                del self._ratios[next(iter(self._ratios))]
            ratio = self._ratios[key] = Ratio()
        if usage.input_tokens_total >= 16:
            ratio.input = Ratio.mixed(ratio.input, bytes_in / usage.input_tokens_total)
        if usage.output_tokens_total >= 16:
            ratio.output = Ratio.mixed(ratio.output, bytes_out / usage.output_tokens_total)

    def estimate(self, facts: Facts, body: bytes, reading: Reading, provider: str, model: str) -> Usage:
        """The usage that the request's text and the answer's text suggest."""
        reported = reading.usage
        usage = Usage()
        if reported is None or not reported.input_tokens_total:
            usage.input_tokens_total = self._input(facts, body, provider, model)
        if not facts.output_free:
            usage.output_tokens_total = self._output(facts, reading, provider, model)
        return usage

    def quick(self, facts: Facts, body: bytes, reading: Reading, provider: str, model: str) -> Usage:
        """A rough count without reading any text, for checkpoints: what was reported, else bytes by ratio."""
        reported = reading.usage
        ratio = self._ratios.get((provider, model))
        per_in = (ratio.input if ratio else 0.0) or BYTES_PER_TOKEN
        per_out = (ratio.output if ratio else 0.0) or WIRE_BYTES_PER_TOKEN
        usage = Usage(
            input_tokens_total=math.ceil(len(body) / per_in),
            output_tokens_total=0 if facts.output_free else _limited(facts, math.ceil(reading.decoded_bytes / per_out)),
        )
        if reported is not None:
            usage.input_tokens_total = reported.input_tokens_total or usage.input_tokens_total
            usage.output_tokens_total = max(reported.output_tokens_total, usage.output_tokens_total)
            usage.cache_read_tokens = reported.cache_read_tokens
            usage.cache_write_tokens = reported.cache_write_tokens
        return usage

    def _input(self, facts: Facts, body: bytes, provider: str, model: str) -> int:
        name = encoding_name(model)
        if name is None:
            ratio = self._ratios.get((provider, model))
            if ratio is not None and ratio.input:
                return math.ceil(len(body) / ratio.input)
        text = request_text(body[:MAX_TEXT_BYTES])
        return self._tokens(name, text) + (7 if text else 0)

    def _output(self, facts: Facts, reading: Reading, provider: str, model: str) -> int:
        sample = reading.sample
        if not sample:
            return 0
        name = encoding_name(reading.model or model)
        ratio = self._ratios.get((provider, model))
        if name is None and ratio is not None and ratio.output:
            return _limited(facts, math.ceil(reading.decoded_bytes / ratio.output))
        tokens = self._tokens(name, answer_text(sample))
        if reading.decoded_bytes > len(sample):
            tokens = math.ceil(tokens * reading.decoded_bytes / len(sample))
        return _limited(facts, tokens)

    def _tokens(self, name: str | None, text: str) -> int:
        if name is not None:
            return self._vocabularies.count(name, text)
        return math.ceil(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN)


def _limited(facts: Facts, tokens: int) -> int:
    """No answer is longer than its limit."""
    if facts.max_output == UNLIMITED:
        return tokens
    return min(tokens, facts.max_output * facts.choices)
