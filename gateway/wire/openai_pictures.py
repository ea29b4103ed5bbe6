"""Pictures that a response made with the image generation tool: another model's tokens, charged at its price.

``tool_usage.image_gen`` states them apart from the response's ``usage``; the answer repeats the tool with its model.

Source: OpenAI's OpenAPI description (``ToolUsage``, ``ImageGenTool``).
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.wire.numbers import table, text
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
    """What the image model used for a response. ``data``: the text that holds ``document``."""
    reported = table(table(document.get("tool_usage")).get("image_gen"))
    usage = Usage()
    if not reported or not read_usage(reported, usage) or not (usage.input_tokens_total or usage.output_tokens_total):
        return ()
    return (Beside("image_generation", _model(data), usage),)


def _model(data: bytes) -> str:
    try:
        event = _event(data)
    except (ValueError, RecursionError):
        return DEFAULT_MODEL
    tools = (event.tools if event.response is None else event.response.tools) or ()
    return next((text(tool.model) for tool in tools if tool.type == "image_generation"), "") or DEFAULT_MODEL
