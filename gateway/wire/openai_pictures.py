"""Tokens of another model that a picture took, charged at that model's price.

Those of a response's image generation tool stand in ``tool_usage.image_gen``, apart from the response's ``usage``; the
answer repeats the tool with its model. Those of the model that writes a picture as SVG stand in ``svg_usage`` beside
the usage of the picture that it draws after.

Sources: OpenAI's OpenAPI description (``ToolUsage``, ``ImageGenTool``); openai-python (``ImagesResponse.svg_usage``:
"token usage for SVG authoring, separate from image rendering usage"; ``ToolUsageImageGenCachedTokensDetails``).
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.wire.numbers import count, part, table, text
from gateway.wire.openai_usage import read_usage
from gateway.wire.usage import Beside, Usage

DEFAULT_MODEL = "gpt-image-1"
"""Where the tool names none."""


class Tool(msgspec.Struct):
    type: Any = ""
    model: Any = None


class Answer(msgspec.Struct):
    tools: list[Tool] | None = None


class Event(Answer):
    response: Answer | None = None


_event = msgspec.json.Decoder(Event).decode


def pictures(document: dict[str, Any], data: bytes) -> tuple[Beside, ...]:
    """What other models used for pictures. ``data``: the text that holds ``document``."""
    return _written(document) or _made(document, data)


def _written(document: dict[str, Any]) -> tuple[Beside, ...]:
    reported = table(document.get("svg_usage"))
    model, usage = text(reported.get("model")), Usage()
    if not model or not read_usage(reported, usage):
        return ()
    usage.reasoning_tokens = count(reported.get("reasoning_tokens")) or 0
    return (Beside("svg_authoring", model, usage),)


def _made(document: dict[str, Any], data: bytes) -> tuple[Beside, ...]:
    reported = table(table(document.get("tool_usage")).get("image_gen"))
    usage = Usage()
    if not reported or not read_usage(reported, usage) or not (usage.input_tokens_total or usage.output_tokens_total):
        return ()
    usage.cache_read_image_tokens = part(reported, "cached_tokens_details", "cached_image_tokens") or 0
    return (Beside("image_generation", _model(data), usage),)


def _model(data: bytes) -> str:
    try:
        event = _event(data)
    except (ValueError, RecursionError):
        return DEFAULT_MODEL
    tools = (event.tools if event.response is None else event.response.tools) or ()
    return next((text(tool.model) for tool in tools if tool.type == "image_generation"), "") or DEFAULT_MODEL
