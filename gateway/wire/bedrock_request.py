"""Requests of Bedrock: what the families of models call their limits, and how many answers or pictures they make.

Sources: Bedrock user guide (inference request parameters by model family); Bedrock API reference (Converse:
``additionalModelRequestFields``, "additional inference parameters that the model supports, beyond the base set").
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from gateway.wire.anthropic_tools import NONE
from gateway.wire.json_names import Inner
from gateway.wire.json_read import read_fields
from gateway.wire.numbers import count, table

STABILITY = re.compile(r"([a-z-]+\.)?stability\.")


class InvokeBody(msgspec.Struct):
    """Where the families keep their output limit."""

    inferenceConfig: Any = None  # noqa: N815 - the wire's name
    textGenerationConfig: Any = None  # noqa: N815
    max_tokens: Any = None
    max_tokens_to_sample: Any = None
    max_completion_tokens: Any = None
    max_gen_len: Any = None
    maxTokens: Any = None  # noqa: N815
    imageGenerationConfig: Any = None  # noqa: N815
    documents: Any = None
    serviceTier: Any = None  # noqa: N815
    tools: msgspec.Raw = NONE
    """Of Anthropic's models."""
    context_management: Any = None
    compaction: Any = None
    n: Any = None
    num_generations: Any = None
    numResults: Any = None  # noqa: N815
    additionalModelRequestFields: msgspec.Raw = NONE  # noqa: N815
    """What Converse hands to the model as it is: members of the family's own request."""


BODY: msgspec.json.Decoder[InvokeBody] = msgspec.json.Decoder(InvokeBody)
INNER = Inner("maxTokens", "max_new_tokens", "maxTokenCount", "numberOfImages", "max_uses")


def handed_on(fields: InvokeBody) -> InvokeBody | str:
    """What Converse hands to the model as it is; ``fields`` where it is nothing, a sentence where it can't be read."""
    raw = bytes(fields.additionalModelRequestFields)
    return read_fields(BODY, raw) if raw.startswith(b"{") else fields


def pictures(model: str, fields: InvokeBody) -> dict[str, int]:
    """How many pictures an invocation makes: Titan's and Nova's as many as asked for, Stability's one."""
    if fields.imageGenerationConfig is not None:
        return {"output_images": count(table(fields.imageGenerationConfig).get("numberOfImages")) or 1}
    return {"output_images": 1} if STABILITY.match(model) else {}


def choices_of(fields: InvokeBody) -> int:
    return max(1, *(count(value) or 1 for value in (fields.n, fields.num_generations, fields.numResults)))


def limit_of(fields: InvokeBody) -> int | None:
    config = table(fields.inferenceConfig)
    text_config = table(fields.textGenerationConfig)
    found = (
        config.get("maxTokens"),
        config.get("max_new_tokens"),
        text_config.get("maxTokenCount"),
        fields.max_tokens,
        fields.max_tokens_to_sample,
        fields.max_completion_tokens,
        fields.max_gen_len,
        fields.maxTokens,
    )
    # which of several counts the family knows
    return max((number for value in found if (number := count(value)) is not None), default=None)
