"""Interactions as protocol buffers' JSON has them, put into the words of the usual form.

So do Vertex' methods ``interactions.create`` and ``createStream`` speak: what is asked for lies in ``interaction``, its
model in ``modelInteraction`` or its agent in ``agentInteraction``; a streamed event in a member that tells its kind.
Names come as ``someName`` or as ``some_name``, which such readers both take.

Sources: Agent Platform REST reference (projects.locations.interactions create and createStream, Interaction,
InteractionStreamingEvent, Usage); googleapis for Dart 19.0.0, ``aiplatform/v1`` (``GenaiVertexV1Interaction``,
``GenaiVertexV1InteractionStreamingEvent``); https://protobuf.dev/programming-guides/json (names).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from gateway.wire.json_edit import named, replace_values, set_inner, set_value
from gateway.wire.numbers import table

WITHIN = b"interaction"
_MADE = ("model_interaction", "agent_interaction")
_CAPITAL = re.compile(r"[A-Z]")
_EVENTS = {
    "interaction_start_event": "interaction.start",
    "interaction_complete_event": "interaction.complete",
    "interaction_created_event": "interaction.created",
    "interaction_completed_event": "interaction.completed",
}
_MODELS = (b"modelInteraction", b"model_interaction")
_CONFIGS = (b"generationConfig", b"generation_config")
_LIMITS = (b"maxOutputTokens", b"max_output_tokens")


def spelled(value: Any) -> dict[str, Any]:
    """The members of an object, their names as ``some_name``; empty where it is none."""
    return {_CAPITAL.sub(lambda found: "_" + found[0].lower(), name): inner for name, inner in table(value).items()}


def plain(interaction: Any) -> dict[str, Any]:
    """An interaction, asked for or answered."""
    found = spelled(interaction)
    for made in map(spelled, map(found.get, _MADE)):
        found |= {name: made[name] for name in ("model", "agent") if name in made}
        if "generation_config" in made:
            found["generation_config"] = spelled(made["generation_config"])
    if "usage" in found:
        found["usage"] = spelled(found["usage"])
    for name in ("status", "service_tier"):
        if isinstance(found.get(name), str):
            found[name] = found[name].lower().removeprefix("service_tier_")
    if isinstance(found.get("tools"), list):
        found["tools"] = [{"type": next(iter(spelled(tool)), "")} for tool in found["tools"]]
    return found


def plain_event(document: dict[str, Any]) -> dict[str, Any]:
    """An answer or an event in the usual form; one that is in it already stays as it is."""
    if "event_type" in document or "model" in document:
        return document
    found = spelled(document)
    for name, kind in _EVENTS.items():
        if name in found:
            return {"event_type": kind, WITHIN.decode(): plain(table(found[name]).get("interaction"))}
    if "error_event" in found:
        return {"error": found["error_event"]}
    return plain(document) if any(name in found for name in _MADE) else document


def within(body: bytes) -> bytes | None:
    """What lies in a request's member ``interaction``; None where there is none."""
    found = named(body, WITHIN)
    return body[found[-1].value_start : found[-1].value_end] if found else None


def clamp(body: bytes, value: bytes) -> bytes | None:
    """The body with another output limit; None where its form has no place for one."""
    return _edited(body, lambda made: _in_config(made, value))


def rename(body: bytes, model: bytes) -> bytes | None:
    """The body with another model; None where it names none in this form."""
    return _edited(body, lambda made: set_value(made, b"model", model))


def _edited(body: bytes, edit: Callable[[bytes], bytes]) -> bytes | None:
    inner = within(body)
    spelling = _first(inner, _MODELS) if inner is not None else None
    if inner is None or spelling is None:
        return None
    found = named(inner, spelling)
    made = inner[found[-1].value_start : found[-1].value_end]
    return replace_values(body, named(body, WITHIN), replace_values(inner, found, edit(made)))


def _in_config(made: bytes, value: bytes) -> bytes:
    config = _first(made, _CONFIGS) or _CONFIGS[0]
    found = named(made, config)
    old = made[found[-1].value_start : found[-1].value_end] if found else b"{}"
    return set_inner(made, config, _first(old, _LIMITS) or _LIMITS[0], value)


def _first(body: bytes, spellings: tuple[bytes, ...]) -> bytes | None:
    return next((name for name in spellings if named(body, name)), None)
