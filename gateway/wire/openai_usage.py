"""Usage objects in OpenAI's shape. Input holds cached tokens, output holds reasoning.

Sources: OpenAI API reference, chat/object, responses/object, audio/transcriptions (usage by tokens or by duration),
images/object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.wire.numbers import count, part
from gateway.wire.usage import Usage

_INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
_OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details", "output_token_details")


def read_usage(usage: Mapping[str, Any], into: Usage) -> bool:
    """Take what a usage object reports, field by field; False where it reports nothing."""
    tokens_in = first_count(usage, "prompt_tokens", "input_tokens")
    tokens_out = first_count(usage, "completion_tokens", "output_tokens")
    if tokens_in is not None:
        into.input_tokens_total = tokens_in
    if tokens_out is not None:
        into.output_tokens_total = tokens_out
    # beside the totals where the details would say it: Together, Moonshot
    _take(into, usage, "cached_tokens", "cache_read_tokens")
    for name in _INPUT_DETAILS:
        details = usage.get(name)
        if isinstance(details, dict):
            _input_details(details, into)
    for name in _OUTPUT_DETAILS:
        details = usage.get(name)
        if isinstance(details, dict):
            _take(into, details, "reasoning_tokens", "reasoning_tokens")
            _take(into, details, "audio_tokens", "output_audio_tokens")
            _take(into, details, "image_tokens", "output_image_tokens")
    seconds = milliseconds(usage.get("seconds"))
    if seconds is not None:
        into.audio_milliseconds = seconds
    total = count(usage.get("total_tokens"))
    if tokens_in is None and tokens_out is None and total is not None:
        # embeddings and rerankers: all of it is input
        into.input_tokens_total = tokens_in = total
    return tokens_in is not None or tokens_out is not None or seconds is not None


def _input_details(details: dict[str, Any], into: Usage) -> None:
    _take(into, details, "cached_tokens", "cache_read_tokens")
    _take(into, details, "cache_write_tokens", "cache_write_tokens")
    _take(into, details, "audio_tokens", "input_audio_tokens")
    _take(into, details, "image_tokens", "input_image_tokens")
    cached = part(details, "cached_tokens_details", "audio_tokens")
    if cached is not None:
        into.cache_read_audio_tokens = cached


def _take(into: Usage, details: Mapping[str, Any], name: str, field: str) -> None:
    value = count(details.get(name))
    if value is not None:
        setattr(into, field, value)


def first_count(table: Mapping[str, Any], *names: str) -> int | None:
    """The first of these members that is a count."""
    for name in names:
        value = count(table.get(name))
        if value is not None:
            return value
    return None


def milliseconds(seconds: object) -> int | None:
    """A length in seconds, with fractions, as milliseconds."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e9:
        return None
    return round(seconds * 1000)
