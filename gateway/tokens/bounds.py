"""Upper bounds of what a call can use, from its facts alone. Integer arithmetic, no tokenizer.

No tokenizer makes more tokens than a text has UTF-8 bytes, and JSON escapes only lengthen a text, so the body's size
bounds its text. ``docs/quotas.md`` proves each bound from the provider's documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from gateway.wire.facts import UNLIMITED, Facts

NO_UNITS: Mapping[str, int] = {}


class ModelLimits(Protocol):
    """What a model can take and give (``pricing.models.ModelFacts``)."""

    @property
    def context_window(self) -> int: ...

    @property
    def max_output(self) -> int: ...


class Bound(msgspec.Struct, frozen=True, gc=False):
    """The most that a call can use."""

    input_tokens: int
    output_tokens: int
    units: Mapping[str, int]
    """Units that are not tokens, by their ``Usage`` field."""


def looped(limit: Bound, facts: Facts, model: ModelLimits) -> Bound:
    """``limit`` with the context window as input once a turn, where the provider runs a loop of tools."""
    if facts.turns <= 1:
        return limit
    return Bound(model.context_window * facts.turns, limit.output_tokens, limit.units)


def bound(facts: Facts, model: ModelLimits) -> Bound:
    """Input by bytes or by the context window, output by the request's limit or the model's maximum."""
    window = model.context_window
    if facts.input_open:
        tokens_in = window
    else:
        tokens_in = facts.input_bytes + facts.input_overhead
        # embeddings, reranking and completions take many texts at once, each up to the window
        most = window * facts.choices if facts.api == "completions" else window
        if tokens_in > most and not facts.output_free:
            tokens_in = most
    if facts.output_free:
        return Bound(tokens_in, 0, facts.units_bound)
    limit = facts.max_output
    if limit == UNLIMITED or limit > model.max_output:
        limit = model.max_output
    return Bound(tokens_in, limit * facts.choices, facts.units_bound)
