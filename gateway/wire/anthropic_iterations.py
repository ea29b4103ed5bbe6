"""What a message used beside its own turns: compaction, at the model's own price; an advisor, and a model that declined
before another one answered, at the price of that model.

``usage.iterations`` lists each pass over a model. The totals beside it hold the turns of the model that answered
(``message``, and ``fallback_message`` where it is not the one that was asked) and leave the others out. A model that
declined before it said anything is not charged.

Sources: Anthropic, "Compaction" (billing), "Advisor tool" (usage and billing: "advisor tokens are billed at the advisor
model's rates"), "Refusals and fallback", cookbook "Classifier fallback & billing" (``usage.iterations`` is the
attribution to models; "input tokens are not billed on a direct classifier block"); its SDK's
``BetaFallbackMessageIterationUsage``; recorded answers (for a fallback ccusage/ccusage issue 1552: the totals are those
of the ``fallback_message``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gateway.wire.numbers import count, part, text, total
from gateway.wire.usage import Beside, Usage

COUNTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
HOUR = "ephemeral_1h_input_tokens"
MAX_ITERATIONS = 10_000
MAX_BESIDE = 8
"""Models that advise on one message, or decline it, at most."""


def compactions(iterations: Any) -> dict[str, int] | None:
    """What compaction used, by member; None where no iterations are reported."""
    if not isinstance(iterations, list):
        return None
    return _sum(_of("compaction", iterations))


def beside(iterations: Any) -> tuple[Beside, ...] | None:
    """What other models used, by model; None where no iterations are reported."""
    if not isinstance(iterations, list):
        return None
    answered = answered_by(iterations)
    declined = () if answered is None else (one for one in _of("message", iterations) if _declined(one, answered))
    return _by_model("advisor", _of("advisor_message", iterations)) + _by_model("declined", declined)


def answered_by(iterations: Any) -> str | None:
    """The model that answered in the place of the one that was asked; None where that one did."""
    if not isinstance(iterations, list):
        return None
    found = [text(one.get("model")) for one in _of("fallback_message", iterations)]
    return found[-1] if found and found[-1] else None


def hours(iterations: Any) -> int | None:
    """What the model that answered in another's place wrote into the cache for an hour; None where none did.

    The report that begins a stream tells it of the model that declined, and the last report tells no lifetimes.
    """
    answered = answered_by(iterations)
    if answered is None:
        return None
    turns = (*_of("message", iterations), *_of("fallback_message", iterations))
    return _sum(one for one in turns if text(one.get("model")) == answered)[HOUR]


def _declined(turn: dict[str, Any], answered: str) -> bool:
    model = text(turn.get("model"))
    return bool(model) and model != answered and bool(count(turn.get("output_tokens")))


def _by_model(api: str, turns: Iterable[dict[str, Any]]) -> tuple[Beside, ...]:
    by_model: dict[str, list[dict[str, Any]]] = {}
    for one in turns:
        model = text(one.get("model"))
        if model in by_model or len(by_model) < MAX_BESIDE:
            by_model.setdefault(model, []).append(one)
    return tuple(Beside(api, model, _usage(_sum(found))) for model, found in by_model.items())


def _of(kind: str, iterations: list[Any]) -> Iterator[dict[str, Any]]:
    return (one for one in iterations[:MAX_ITERATIONS] if isinstance(one, dict) and one.get("type") == kind)


def _sum(iterations: Iterable[dict[str, Any]]) -> dict[str, int]:
    found = dict.fromkeys((*COUNTS, HOUR), 0)
    for one in iterations:
        for name in COUNTS:
            found[name] = total(found[name], count(one.get(name)) or 0)
        found[HOUR] = total(found[HOUR], part(one, "cache_creation", HOUR) or 0)
    return found


def _usage(used: dict[str, int]) -> Usage:
    tokens_in, read, written, tokens_out = (used[name] for name in COUNTS)
    return Usage(
        input_tokens_total=tokens_in + read + written,
        output_tokens_total=tokens_out,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=used[HOUR],
    )
