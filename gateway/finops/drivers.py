"""Why a group of calls costs more or less than before: volume, mix, tokens a call, price. The parts sum exactly."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import msgspec

from pricing.money import half_even


class Usage(msgspec.Struct, frozen=True):
    """Calls of one model: how many, how many tokens, what they cost."""

    calls: Fraction
    tokens: Fraction
    nanousd: Fraction


class Drivers(msgspec.Struct, frozen=True, kw_only=True):
    """Nanodollars; ``volume + mix + tokens_per_call + price == change``."""

    change: int
    volume: int
    """More calls, at the models, sizes and prices of before."""
    mix: int
    """Calls moved to other models; a model that is new counts here whole."""
    tokens_per_call: int
    price: int


def drivers(before: Mapping[str, Usage], after: Mapping[str, Usage]) -> Drivers:
    """Take the change apart, one driver after the other: each step replaces one more fact of before by that of after.

    Each step's total is rounded to nanodollars once, so the differences sum to the change of the rounded totals.
    """
    old_calls = sum((one.calls for one in before.values()), Fraction())
    new_calls = sum((one.calls for one in after.values()), Fraction())
    start = sum((one.nanousd for one in before.values()), Fraction())
    volume = start * new_calls / old_calls if old_calls else Fraction()
    mix = tokens = end = Fraction()
    for name, now in after.items():
        was = before.get(name)
        end += now.nanousd
        if was is None or not was.calls:
            mix += now.nanousd
            tokens += now.nanousd
            continue
        at_old_size = now.calls * was.nanousd / was.calls
        mix += at_old_size
        tokens += now.tokens * was.nanousd / was.tokens if was.tokens else at_old_size
    steps = [half_even(step.numerator, step.denominator) for step in (start, volume, mix, tokens, end)]
    return Drivers(
        change=steps[4] - steps[0],
        volume=steps[1] - steps[0],
        mix=steps[2] - steps[1],
        tokens_per_call=steps[3] - steps[2],
        price=steps[4] - steps[3],
    )
