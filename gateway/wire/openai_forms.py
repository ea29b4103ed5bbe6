"""Requests that come as a form: recordings and pictures, with the few small fields that bound their cost.

Transcription is billed by the length of the recording, which no field states. Sound takes 6 kbit/s at least where it is
coded for speech (RFC 6716, section 2.1.1: Opus' lowest); silence may take less, so that this is no proof. A recording
that is named by its address may last for three hours.

Sources: OpenAI API reference (audio/createTranscription, images/createEdit: "Use multipart fields such as
``svg[model]``"); Groq, "Speech to Text" (``url``); Mistral, "Audio transcription" (``file_url``; up to 3 hours).
"""

from __future__ import annotations

from gateway.wire.facts import Facts, Other
from gateway.wire.multipart import form_field, form_values
from gateway.wire.named_models import PICTURE_TOKENS
from gateway.wire.numbers import text, yes
from gateway.wire.openai_request import MAX_CHOICES

HEARD = frozenset(("transcriptions", "translations"))
MILLISECONDS = "audio_milliseconds"
LEAST_BYTES_PER_SECOND = 750
LONGEST_MS = 3 * 3600 * 1000
ADDRESSES = (b"url", b"file_url", b"file_id")
BY_TOKENS = ("gpt-",)
"""Models that transcribe and are billed by tokens."""
ENDLESS = "the length of a recording is not bounded by its bytes"


def read_form(api: str, content_type: bytes, body: bytes, billable: bool) -> Facts:
    """Facts of a request that is a form."""
    models = set(form_values(content_type, body, b"model"))
    if len(models) > 1:
        # which of them counts is the provider's secret
        return Facts(api=api, billable=billable, malformed="The form names more than one model.")
    choices = max((_several(value) for value in form_values(content_type, body, b"n")), default=1)
    facts = Facts(
        api=api,
        model=text(models.pop().decode("utf-8", "replace")) if models else "",
        stream=yes(form_field(content_type, body, b"stream").decode("latin-1")),
        billable=billable,
        input_bytes=len(body),
        input_open=True,
        choices=choices,
    )
    if api in HEARD:
        heard(facts, any(form_field(content_type, body, name) for name in ADDRESSES))
    elif api == "images":
        facts.units_bound = {"output_images": choices}
        if b"svg[" in body:
            writer = form_field(content_type, body, b"svg[model]").decode("utf-8", "replace")
            facts.others = (Other(text(writer), more_input=PICTURE_TOKENS),)
    return facts


def heard(facts: Facts, elsewhere: bool) -> None:
    """Bound the length of a recording that is written down. ``elsewhere``: it is not in the body."""
    inside = facts.input_bytes * 1000 // LEAST_BYTES_PER_SECOND
    facts.units_bound = {**facts.units_bound, MILLISECONDS: max(inside, LONGEST_MS) if elsewhere else inside}
    if not facts.model.startswith(BY_TOKENS):
        facts.unbounded = ENDLESS


def _several(value: bytes) -> int:
    number = int(value) if value.isdigit() and len(value) < 10 else MAX_CHOICES
    return max(1, min(number, MAX_CHOICES))
