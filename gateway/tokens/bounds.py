"""Upper bounds of what a call can use, from its facts alone. Integer arithmetic, no tokenizer.

No tokenizer makes more tokens than a text has UTF-8 bytes, and JSON escapes only lengthen a text, so the body's size
bounds its text. ``docs/quotas.md`` proves each bound from the provider's documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from gateway.wire.facts import UNLIMITED, Facts, Other

NO_UNITS: Mapping[str, int] = {}


class ModelLimits(Protocol):
    """What a model can take and give (``pricing.models.ModelFacts``)."""

    @property
    def context_window(self) -> int: ...

    @property
    def max_output(self) -> int: ...


class Limits(msgspec.Struct, frozen=True, gc=False):
    """Limits of several models at once."""

    context_window: int
    max_output: int


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
        # each of many embedded inputs may be as long as the window
        tokens_in = window * facts.choices if facts.output_free else window
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


def beside(other: Other, limit: Bound, model: ModelLimits) -> Bound:
    """What another model can use at most, beside a call with the bound ``limit``; nothing where it answers instead."""
    if other.instead:
        return Bound(0, 0, NO_UNITS)
    tokens_in = limit.input_tokens if other.input_tokens == UNLIMITED else other.input_tokens
    tokens_in = min(tokens_in + other.more_input, model.context_window)
    tokens_out = other.output_tokens
    if tokens_out == UNLIMITED or tokens_out > model.max_output:
        tokens_out = model.max_output
    return Bound(tokens_in * other.uses, tokens_out * other.uses, NO_UNITS)


def widest(one: ModelLimits, other: ModelLimits) -> ModelLimits:
    """Limits that hold for either model."""
    return Limits(max(one.context_window, other.context_window), max(one.max_output, other.max_output))
