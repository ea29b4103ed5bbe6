"""Other models that a messages request names, and passes over its own model that its limit does not bound.

A fallback answers where the model before it declines; what that one had said by then is charged too, and read by the
next. An advisor reads the whole conversation each time it is asked. Compaction reads the conversation and writes a
summary before the answer begins; it does so where the input has reached its trigger, 50,000 tokens at least.

Sources: Anthropic's SDK (``BetaFallbackParam``, ``BetaFallbacksParam``, ``BetaAdvisorTool20260301Param``,
``BetaCompact20260112EditParam``, ``BetaCompactionConfigParam``), "Refusals and fallback", "Advisor tool", "Compaction
at a token threshold".
"""

from __future__ import annotations

from typing import Any

from gateway.wire.facts import UNLIMITED, Other
from gateway.wire.numbers import count, table, text

LEAST_TRIGGER = 50_000
"""Tokens of input below which nothing is compacted, whatever trigger is asked for."""
COMPACTS = "compact_"
MAX_FALLBACKS = 16
"""More than Anthropic takes."""


def fallbacks(chain: Any, limit: int) -> tuple[Other, ...]:
    """The models of ``fallbacks``. ``limit``: the request's own limit of output."""
    if chain is None:
        return ()
    if not isinstance(chain, list):
        # "default": a chain of the provider's own
        return (Other("", more_input=max(0, limit), output_tokens=limit),)
    found = []
    said = max(0, limit)
    for one in map(table, chain[:MAX_FALLBACKS]):
        own = count(one.get("max_tokens"))
        most = limit if own is None else own
        tier = "fast" if one.get("speed") == "fast" else None
        found.append(Other(text(one.get("model")), more_input=said, output_tokens=most, service_tier=tier))
        said += max(0, most)
    return tuple(found)


def compacts(edits: Any, compaction: Any, reads: int, is_open: bool) -> bool:
    """True where the conversation may be summarised. ``reads``: its tokens at most, where it ``is_open`` not so."""
    if compaction is not None:
        return True
    if not is_open and reads < LEAST_TRIGGER:
        return False
    kinds = table(edits).get("edits")
    return isinstance(kinds, list) and any(text(table(one).get("type")).startswith(COMPACTS) for one in kinds)


def compactor(model: str) -> Other:
    """The pass of a model over its own conversation: what it writes has no limit but the model's own."""
    return Other(model, output_tokens=UNLIMITED)
