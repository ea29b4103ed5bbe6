"""Usage objects in OpenAI's shape. Input holds cached tokens, output holds reasoning, unless the total says otherwise.

Sources: OpenAI API reference, chat/object, responses/object, audio/transcriptions (usage by tokens or by duration),
images/object, realtime-server-events/response/done (``cached_tokens_details``); Alibaba Cloud Model Studio, "Context
cache" (``cache_creation_input_tokens``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.wire.numbers import LARGEST, count, part
from gateway.wire.usage import Usage

_INPUT: Mapping[str, str] = {
    "cached_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "cache_creation_input_tokens": "cache_write_tokens",
    "audio_tokens": "input_audio_tokens",
    "image_tokens": "input_image_tokens",
    "video_tokens": "input_video_tokens",
    "cached_tokens_details": "",
}
_CACHED: Mapping[str, str] = {
    "audio_tokens": "cache_read_audio_tokens",
    "image_tokens": "cache_read_image_tokens",
}
"""Members of ``cached_tokens_details``."""
_OUTPUT: Mapping[str, str] = {
    "reasoning_tokens": "reasoning_tokens",
    "audio_tokens": "output_audio_tokens",
    "image_tokens": "output_image_tokens",
}
_DETAILS: Mapping[str, Mapping[str, str]] = {
    **dict.fromkeys(("prompt_tokens_details", "input_tokens_details", "input_token_details"), _INPUT),
    **dict.fromkeys(("completion_tokens_details", "output_tokens_details", "output_token_details"), _OUTPUT),
}
"""Members of a usage object that hold details → their members → the ``Usage`` field of each."""


def read_usage(usage: Mapping[str, Any], into: Usage) -> bool:
    """Take what a usage object reports, field by field; False where it reports nothing."""
    tokens_in = first_count(usage, "prompt_tokens", "input_tokens")
    tokens_out = first_count(usage, "completion_tokens", "output_tokens")
    if tokens_in is not None:
        into.input_tokens_total = tokens_in
    if tokens_out is not None:
        into.output_tokens_total = tokens_out
    cached = usage.get("cached_tokens")
    if cached is not None:
        # beside the totals where the details would say it: Together, Moonshot
        cached = count(cached)
        if cached is not None:
            into.cache_read_tokens = cached
    seconds = None
    for name, value in usage.items():
        if type(value) is dict:
            fields = _DETAILS.get(name)
            if fields is not None:
                _take(value, fields, into)
        elif name == "seconds":
            seconds = milliseconds(value)
    reasoning = into.reasoning_tokens
    if (
        reasoning
        and tokens_in is not None
        and tokens_out is not None
        and count(usage.get("total_tokens")) == tokens_in + tokens_out + reasoning
    ):
        # beside the answer's tokens, as xAI's models report wherever they run
        into.output_tokens_total = tokens_out + reasoning
    if seconds is not None:
        into.audio_milliseconds = seconds
    if tokens_in is None and tokens_out is None:
        total = count(usage.get("total_tokens"))
        if total is not None:
            # embeddings and rerankers: all of it is input
            into.input_tokens_total = tokens_in = total
    return tokens_in is not None or tokens_out is not None or seconds is not None


def _take(details: Mapping[str, Any], fields: Mapping[str, str], into: Usage) -> None:
    for name, value in details.items():
        field = fields.get(name)
        if field is None:
            continue
        # as ``count`` has it, without its call for what is usual
        number = value if type(value) is int and 0 <= value < LARGEST else count(value)
        if field and number is not None:
            setattr(into, field, number)
        elif not field:
            for kind, of_kind in _CACHED.items():
                cached = part(value, kind)
                if cached is not None:
                    setattr(into, of_kind, cached)


def first_count(table: Mapping[str, Any], name: str, other: str) -> int | None:
    """The first of these members that is a count."""
    number = count(table.get(name))
    return number if number is not None else count(table.get(other))


def milliseconds(seconds: object) -> int | None:
    """A length in seconds, with fractions, as milliseconds."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e9:
        return None
    return round(seconds * 1000)
