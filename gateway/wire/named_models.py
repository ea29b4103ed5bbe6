"""Other models that a request in OpenAI's shape names, so that they are looked at as the call's own model is.

Sources: OpenAI's OpenAPI description (``ImageGenTool``; ``svg`` of images), guide "Image generation" (the largest
picture of gpt-image-1 takes 6,240 tokens, a partial one 100); OpenRouter, "Model Fallbacks" (``models``: "priced using
the model that was ultimately used"), "Presets", "Advisor"; Perplexity, "Agent API: model fallback" (``models``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.wire.facts import Other
from gateway.wire.numbers import count, table, text
from gateway.wire.openai_pictures import DEFAULT_MODEL
from gateway.wire.openai_request import Body, tools_of

PICTURE_TOKENS = 8192
"""Of one picture, read or made."""
PICTURES = 4
"""Pictures of one response that are held where ``max_tool_calls`` bounds them not."""
MAX_NAMED = 32
"""More are not looked for; such a request names one that may not be used."""
SOME = Other("")


def alternatives(models: Any) -> tuple[Other, ...]:
    """Models of a list of which one answers: names, or objects with one."""
    if models is None:
        return ()
    if not isinstance(models, list) or len(models) > MAX_NAMED:
        return (SOME,)
    names = (one if isinstance(one, str) else table(one).get("model") for one in models)
    return tuple(Other(text(name), instead=True) for name in names)


def mentioned(value: Any) -> tuple[Other, ...]:
    """Models that any member of a value names (``model``, ``models``, ``analysis_models``…)."""
    names = list(dict.fromkeys(_names(value, 0)))
    return (SOME,) if len(names) > MAX_NAMED else tuple(map(Other, names))


def _names(value: Any, depth: int) -> Iterator[str]:
    if depth > 8:
        return
    if isinstance(value, list):
        for item in value:
            yield from _names(item, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            named = item if isinstance(item, list) else [item]
            if key.endswith(("model", "models")):
                yield from (text(one) for one in named if isinstance(one, str))
            yield from _names(item, depth + 1)


def makers(api: str, fields: Body) -> tuple[Other, ...]:
    """Models that make or write the pictures of a response, or write a picture as SVG."""
    if api == "images":
        return _writer(fields.svg)
    if api != "responses":
        return ()
    found: tuple[Other, ...] = ()
    uses = count(fields.max_tool_calls)
    for tool in tools_of(fields):
        if tool.type == "image_generation":
            model = text(tool.model) or DEFAULT_MODEL
            most = PICTURES if uses is None else uses
            found += (Other(model, input_tokens=PICTURE_TOKENS, output_tokens=PICTURE_TOKENS, uses=most),)
            found += _writer(tool.svg)
    return found


def _writer(svg: Any) -> tuple[Other, ...]:
    return () if svg is None else (Other(text(table(svg).get("model")), more_input=PICTURE_TOKENS),)
