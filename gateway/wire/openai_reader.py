"""Answers in OpenAI's shape, read document by document: what was used, by which model, and whether it is all.

Sources: OpenAI API reference (chat/object, chat/streaming, responses/object, responses/streaming, audio, images).
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from gateway.wire.facts import Facts
from gateway.wire.json_read import parse
from gateway.wire.numbers import table, text
from gateway.wire.openai_answer import Answer, usage_of, usual_answer
from gateway.wire.openai_pictures import pictures
from gateway.wire.openai_searches import BOUND, take_searches
from gateway.wire.usage import Reading, Usage

ENDS = {
    "response.completed": False,
    "response.incomplete": False,
    "response.failed": True,
    "transcript.text.done": False,
    "speech.audio.done": False,
    "image_generation.completed": False,
    "image_edit.completed": False,
    "transcription.done": False,
    "conversation.response.done": False,
    "conversation.response.error": True,
}
"""Types of the last event of a stream → the call failed."""
OUTPUT = (b"response.output", b"response.content", b"response.reasoning", b".delta")
"""In the events of a Responses stream that tell of output."""


class Meaning(Protocol):
    """What the numbers of an answer mean: where a provider differs."""

    counts_searches: ClassVar[bool]

    @property
    def reports_usually(self) -> bool: ...

    def partial(self, data: bytes) -> dict[str, Any]: ...

    def claim(self, document: dict[str, Any]) -> str: ...

    def usage_of(self, document: dict[str, Any]) -> Any: ...

    def take_usage(self, usage: dict[str, Any], document: dict[str, Any], into: Usage, reading: Reading) -> bool: ...


class OpenAIReader:
    """Reads documents and chunks of chat completions, completions, embeddings, images, audio and responses."""

    def __init__(self, dialect: Meaning, facts: Facts, status: int) -> None:
        self.reading = Reading(claim=facts.claim)
        self.terminal = False
        self._dialect = dialect
        self._facts = facts
        self._ok = status < 300
        self._usual = dialect.reports_usually and facts.api == "chat"
        self._answered = False
        """A whole answer came, or the last event of one: not a picture in progress alone."""

    def frame(self, data: bytes) -> None:
        if data == b"[DONE]":
            self.terminal = True
            self.reading.complete = True
            return
        if self._usual and self.reading.usage is None:
            answer = usual_answer(data)
            if answer is not None:
                self._take(answer)
                return
        try:
            document = self._dialect.partial(data)
        except (ValueError, RecursionError):
            document = parse(data)
        if isinstance(document, dict):
            self.document(document, data)

    def _take(self, answer: Answer) -> None:
        """What ``document`` finds in a usual answer."""
        reading = self.reading
        if answer.model:
            reading.model = text(answer.model)
        if answer.service_tier is not None:
            reading.service_tier = text(answer.service_tier, 40)
        usage = reading.usage = usage_of(answer.usage)
        reading.source = "response"
        if self._dialect.counts_searches:
            usage.web_searches_seen = self._facts.units_bound.get(BOUND, 0)

    def document(self, document: dict[str, Any], data: bytes = b"") -> None:
        """A whole answer, a chunk, or an event that wraps an answer. ``data``: its text."""
        reading = self.reading
        kind = document.get("type")
        if kind is None:
            self._answered = True
        else:
            failed = ENDS.get(kind) if isinstance(kind, str) else None
            if failed is not None:
                self.terminal = reading.complete = self._answered = True
                reading.failed = reading.failed or failed
            if kind == "error":
                reading.failed = True
        if _is_error(document):
            reading.failed = True
        reading.claim = self._dialect.claim(document) or reading.claim
        inner = document.get("response")
        if inner is not None and isinstance(inner, dict):
            if not inner.get("usage") and document.get("usage"):
                # xAI's realtime API reports beside the response
                inner = {**inner, "usage": document["usage"]}
            document = inner
            if document.get("error"):
                reading.failed = True
        model = document.get("model")
        if isinstance(model, str) and model:
            reading.model = text(model)
        tier = document.get("service_tier")
        if isinstance(tier, str):
            reading.service_tier = text(tier, 40)
        dialect = self._dialect
        usage = dialect.usage_of(document)
        if isinstance(usage, dict):
            into = reading.usage or Usage()
            if dialect.take_usage(usage, document, into, reading):
                reading.usage = into
                reading.source = "response"
                if dialect.counts_searches:
                    self._searches(document, data, into)

    def _searches(self, document: dict[str, Any], data: bytes, into: Usage) -> None:
        if self._facts.api == "chat":
            into.web_searches_seen = self._facts.units_bound.get(BOUND, 0)
        else:
            take_searches(document, data, into)
            self.reading.beside = pictures(document, data)

    def done(self) -> None:
        reading, facts = self.reading, self._facts
        made = facts.units_bound.get("output_images")
        if made and self._ok and not reading.failed:
            # pictures are billed by the piece where no tokens are reported; the answer holds as many as were asked for
            reading.usage = reading.usage or Usage()
            reading.usage.output_images = made
            reading.source = "response"
            reading.partial = facts.stream and not self._answered
        elif facts.api == "speech" and self._ok and reading.usage is None and not facts.model.startswith("gpt-"):
            # an answer that is sound alone reports nothing: what is billed are the characters of the request
            reading.usage = Usage(input_characters=facts.units_bound.get("input_characters", 0))
            reading.source = "response"
        if not facts.stream and reading.usage is not None and (self._answered or not made):
            reading.complete = True


def _is_error(document: dict[str, Any]) -> bool:
    """It tells of an error: in a member, as the document itself (vLLM, Mistral), or beside a chunk (Groq)."""
    return bool(
        document.get("error") or document.get("object") == "error" or table(document.get("x_groq")).get("error")
    )


def only_announced(facts: Facts, reading: Reading) -> bool:
    """True where nothing came of a response but that it was made and is in progress, which is also told where no model
    will say anything."""
    if facts.api != "responses" or len(reading.sample) != reading.decoded_bytes:
        return False
    return not any(map(reading.sample.count, OUTPUT))
