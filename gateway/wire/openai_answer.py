"""The usual answer of a chat completion, read in one typed pass; any other is read member by member.

What ``gateway.wire.openai_usage`` would take from a usage object is declared here as what it usually is. Where it is
anything else (a number as text, a member that only some report) nothing is read, so that the two can't differ.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from gateway.wire.numbers import LARGEST
from gateway.wire.usage import Usage

Count = Annotated[int, msgspec.Meta(ge=0, lt=LARGEST)]


class InputDetails(msgspec.Struct, gc=False):
    cached_tokens: Count = 0
    cache_write_tokens: Count = 0
    cache_creation_input_tokens: None = None
    audio_tokens: Count = 0
    image_tokens: Count = 0
    video_tokens: Count = 0
    cached_tokens_details: None = None


class OutputDetails(msgspec.Struct, gc=False):
    reasoning_tokens: Count = 0
    audio_tokens: Count = 0
    image_tokens: Count = 0


class Report(msgspec.Struct, gc=False):
    """A usage object with both totals. What must not be there is None."""

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count = 0
    prompt_tokens_details: InputDetails | None = None
    completion_tokens_details: OutputDetails | None = None
    cached_tokens: None = None
    seconds: None = None
    input_tokens_details: None = None
    input_token_details: None = None
    output_tokens_details: None = None
    output_token_details: None = None


class Answer(msgspec.Struct, gc=False):
    """An answer, or the chunk of one that reports its usage."""

    usage: Report
    model: str = ""
    service_tier: str | None = None
    error: None = None
    type: None = None
    response: None = None
    duration: None = None
    background: None = None


_decode = msgspec.json.Decoder(Answer).decode


def usual_answer(data: bytes) -> Answer | None:
    """The members of a usual answer that matter; None where it is not one."""
    try:
        return _decode(data)
    except (ValueError, RecursionError):
        return None


def usage_of(report: Report) -> Usage:
    """What a usual report says."""
    usage = Usage()
    usage.input_tokens_total = report.prompt_tokens
    usage.output_tokens_total = report.completion_tokens
    of_input = report.prompt_tokens_details
    if of_input is not None:
        if of_input.cached_tokens:
            usage.cache_read_tokens = of_input.cached_tokens
        if of_input.cache_write_tokens:
            usage.cache_write_tokens = of_input.cache_write_tokens
        if of_input.audio_tokens:
            usage.input_audio_tokens = of_input.audio_tokens
        if of_input.image_tokens:
            usage.input_image_tokens = of_input.image_tokens
        if of_input.video_tokens:
            usage.input_video_tokens = of_input.video_tokens
    of_output = report.completion_tokens_details
    if of_output is not None:
        reasoning = of_output.reasoning_tokens
        if reasoning:
            usage.reasoning_tokens = reasoning
            if report.total_tokens == report.prompt_tokens + report.completion_tokens + reasoning:
                usage.output_tokens_total += reasoning
        if of_output.audio_tokens:
            usage.output_audio_tokens = of_output.audio_tokens
        if of_output.image_tokens:
            usage.output_image_tokens = of_output.image_tokens
    return usage
