"""What a message used beside its own turns: compaction, at the model's own price, and an advisor, at another model's.

``usage.iterations`` lists each pass over a model. The totals beside it hold the turns of the message's own model
(``message``) and leave the others out.

Sources: Anthropic, "Compaction" (billing), "Advisor tool" (usage and billing: "advisor tokens are billed at the advisor
model's rates"); a recorded answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.wire.numbers import count, part, text, total
from gateway.wire.usage import Beside, Usage

COUNTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
HOUR = "ephemeral_1h_input_tokens"
MAX_ITERATIONS = 10_000
MAX_ADVISORS = 8
"""Models that advise on one message, at most."""


def compactions(iterations: Any) -> dict[str, int] | None:
    """What compaction used, by member; None where no iterations are reported."""
    if not isinstance(iterations, list):
        return None
    return _sum(_of("compaction", iterations))


def advisors(iterations: Any) -> tuple[Beside, ...] | None:
    """What advisors used, by their model; None where no iterations are reported."""
    if not isinstance(iterations, list):
        return None
    by_model: dict[str, list[dict[str, Any]]] = {}
    for one in _of("advisor_message", iterations):
        model = text(one.get("model"))
        if model in by_model or len(by_model) < MAX_ADVISORS:
            by_model.setdefault(model, []).append(one)
    return tuple(Beside("advisor", model, _usage(_sum(found))) for model, found in by_model.items())


def _of(kind: str, iterations: list[Any]) -> Iterator[dict[str, Any]]:
    return (one for one in iterations[:MAX_ITERATIONS] if isinstance(one, dict) and one.get("type") == kind)


def _sum(iterations: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> dict[str, int]:
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
