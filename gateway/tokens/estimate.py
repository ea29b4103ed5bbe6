"""Estimates of usage, only where a provider reported none. Every record that rests on one says so.

The text of request and answer is counted: with the model's own vocabulary where it is OpenAI's, else by its bytes.
What lies beside the text (what a provider puts around messages, hidden reasoning, another vocabulary) is learned from
settled calls of the same model, as a factor between what was counted and what was reported. Text is counted away from
the event loop and for few of the settled calls. The answer's text is read from the sample that the meter kept and
scaled to the whole answer.
"""

from __future__ import annotations

import math
import statistics
from collections import deque

from gateway.tokens.sound import recording_ms, spoken_tokens
from gateway.tokens.text import prompt_text, spoken_text
from gateway.tokens.vocabulary import Vocabularies, encoding_name
from gateway.wire.facts import UNLIMITED, Facts
from gateway.wire.openai_forms import BY_TOKENS, HEARD, MILLISECONDS
from gateway.wire.usage import Reading, Usage

BYTES_PER_TOKEN = 4.0
"""English prose; used until a model has taught its own factor."""
WIRE_BYTES_PER_TOKEN = 40.0
"""Bytes of a streamed answer for each token, framing included; only for checkpoints of unknown models."""
MAX_MODELS = 2000
KEPT = 0.95
"""How much of what was seen before stays with each further call."""
LEAST_TOKENS = 16
"""Fewer teach nothing."""
FACTORS = (0.1, 20.0)
LAST_CALLS = 15
FIRST_CALLS, THEN_EVERY, LATER_EVERY = 8, 128, 2048
"""The first calls of a model are learned from, then one of so many; of a model that is called all day, fewer."""
RATIO_EVERY = 8
"""Of a model that is called often, the bytes of one call in so many are looked at. Divides ``THEN_EVERY``."""
MAX_TEXT_BYTES = 2 * 1024 * 1024
TAUGHT_BYTES = 64 * 1024
"""Of a longer request nothing is learned: counting it takes too long for what it teaches."""
AROUND_TOKENS = 7
"""Around the one message of the shortest request."""


class Factor:
    """What was reported over what was counted: the median of the last calls, so that an odd one changes little."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=LAST_CALLS)

    def add(self, reported: int, counted: int) -> None:
        self._last.append(min(max(reported / counted, FACTORS[0]), FACTORS[1]))

    def value(self) -> float:
        return statistics.median(self._last) if self._last else 1.0


class Ratio:
    """Bytes over tokens: a mean in which later calls weigh more (``Estimator.observe`` adds them)."""

    __slots__ = ("below", "over")

    def __init__(self) -> None:
        self.over = self.below = 0.0

    def value(self, unknown: float) -> float:
        return self.over / self.below if self.below else unknown


class Model:
    """What is known of one model at one provider."""

    __slots__ = ("calls", "input", "output", "wire_in", "wire_out")

    def __init__(self) -> None:
        self.calls = 0
        self.input, self.output = Factor(), Factor()
        self.wire_in = Ratio()
        self.wire_out = (Ratio(), Ratio())
        """By whether it was a stream: its framing takes many bytes."""


class Estimator:
    """``estimate`` and ``counted`` may run in any thread; all else belongs to the event loop."""

    def __init__(self, vocabularies: Vocabularies) -> None:
        self._vocabularies = vocabularies
        self._models: dict[tuple[str, str], Model] = {}

    def observe(self, provider: str, model: str, usage: Usage, bytes_in: int, bytes_out: int, stream: bool) -> bool:
        """See a call whose usage was reported. True where its text should be counted, for ``learn``."""
        known = self._models.get((provider, model))
        if known is None:
            if len(self._models) >= MAX_MODELS:
                del self._models[next(iter(self._models))]
            known = self._models[provider, model] = Model()
        calls = known.calls = known.calls + 1
        if calls > THEN_EVERY and calls % RATIO_EVERY:
            return False
        tokens = usage.input_tokens_total
        if tokens >= LEAST_TOKENS:
            ratio = known.wire_in
            ratio.over = ratio.over * KEPT + bytes_in
            ratio.below = ratio.below * KEPT + tokens
        tokens = usage.output_tokens_total
        if tokens >= LEAST_TOKENS:
            ratio = known.wire_out[stream]
            ratio.over = ratio.over * KEPT + bytes_out
            ratio.below = ratio.below * KEPT + tokens
        if calls % THEN_EVERY:
            return calls <= FIRST_CALLS
        return calls < LATER_EVERY or calls % LATER_EVERY == 0

    def learn(self, provider: str, model: str, counted: Usage, reported: Usage) -> None:
        """Learn from a call's text (``counted``) and what its provider said of it."""
        known = self._models.get((provider, model))
        if known is None:
            return
        for factor, told, found in (
            (known.input, reported.input_tokens_total, counted.input_tokens_total),
            (known.output, reported.output_tokens_total, counted.output_tokens_total),
        ):
            if told >= LEAST_TOKENS and found >= LEAST_TOKENS:
                factor.add(told, found)

    def counted(self, facts: Facts, body: bytes, reading: Reading, model: str) -> Usage:
        """Tokens of the text of a request and its answer. A part that is 0 can't be counted."""
        usage = Usage(output_tokens_total=0 if facts.output_free else self._answered(reading, model))
        if not facts.input_open and len(body) <= TAUGHT_BYTES:
            usage.input_tokens_total = self._asked(body, model)
        return usage

    def estimate(self, facts: Facts, body: bytes, reading: Reading, provider: str, model: str) -> Usage:
        """The usage that the request's text and the answer's text suggest."""
        known = self._models.get((provider, model))
        reported = reading.usage
        usage = Usage()
        if reported is None or not reported.input_tokens_total:
            asked = self._asked(body[:MAX_TEXT_BYTES], model)
            usage.input_tokens_total = round(asked * (known.input.value() if known else 1.0))
        if not facts.output_free:
            answered = self._answered(reading, model)
            usage.output_tokens_total = _limited(facts, round(answered * (known.output.value() if known else 1.0)))
        self._sound(usage, facts, body, reading)
        return usage

    def _sound(self, usage: Usage, facts: Facts, body: bytes, reading: Reading) -> None:
        """What sound adds: the length of a recording that is billed by it, the tokens of speech."""
        if facts.api == "speech":
            spoken = spoken_tokens(facts.units_bound.get("input_characters", 0))
            usage.output_tokens_total = max(usage.output_tokens_total, spoken)
        elif facts.api in HEARD and not facts.model.startswith(BY_TOKENS):
            said = spoken_text(reading.sample) or reading.sample.decode("utf-8", "replace")
            written = len(said) * max(reading.decoded_bytes, 1) // max(len(reading.sample), 1)
            usage.audio_milliseconds = min(recording_ms(body, written), facts.units_bound.get(MILLISECONDS, 0))

    def quick(self, facts: Facts, body: bytes, reading: Reading, provider: str, model: str) -> Usage:
        """A rough count without reading any text, for checkpoints: what was reported, else bytes by ratio."""
        reported = reading.usage
        known = self._models.get((provider, model))
        per_in = known.wire_in.value(BYTES_PER_TOKEN) if known else BYTES_PER_TOKEN
        per_out = known.wire_out[facts.stream].value(WIRE_BYTES_PER_TOKEN) if known else WIRE_BYTES_PER_TOKEN
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

    def _asked(self, body: bytes, model: str) -> int:
        text = prompt_text(body)
        return self._tokens(encoding_name(model), text) + AROUND_TOKENS if text else 0

    def _answered(self, reading: Reading, model: str) -> int:
        sample = reading.sample
        if not sample:
            return 0
        tokens = self._tokens(encoding_name(reading.model or model), spoken_text(sample))
        if reading.decoded_bytes > len(sample):
            tokens = math.ceil(tokens * reading.decoded_bytes / len(sample))
        return tokens

    def _tokens(self, name: str | None, text: str) -> int:
        if name is not None:
            return self._vocabularies.count(name, text)
        return math.ceil(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN)


def _limited(facts: Facts, tokens: int) -> int:
    """No answer is longer than its limit."""
    if facts.max_output == UNLIMITED:
        return tokens
    return min(tokens, facts.max_output * facts.choices)
