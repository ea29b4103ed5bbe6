"""Cohere, v1 and v2. What counts are its billed units, not the raw tokens beside them.

Sources: Cohere API reference (chat v1 and v2, generate, embed, rerank, classify, summarize, "Create a transcription"),
"How does Cohere pricing work".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import msgspec

from gateway.wire.dialect import Auth, Header, Meter, Refusal, Reply
from gateway.wire.facts import UNLIMITED, Facts
from gateway.wire.framing.ndjson import Lines
from gateway.wire.hollow import hollow
from gateway.wire.json_edit import set_value
from gateway.wire.json_read import mentions, parse, read_fields
from gateway.wire.meter import FrameMeter, JsonMeter, SilentMeter, SseMeter, form_of, header
from gateway.wire.numbers import count, table, text
from gateway.wire.openai_request import search_units
from gateway.wire.openai_shape import OpenAIShape, retry_headers
from gateway.wire.paths import plain_path
from gateway.wire.sniff import Sniffed, doubtful
from gateway.wire.usage import Reading, Usage

OPERATIONS = {
    "/v2/chat": "cohere_v2_chat",
    "/v2/embed": "cohere_embed",
    "/v2/rerank": "cohere_rerank",
    "/v1/chat": "cohere_v1_chat",
    "/v1/generate": "cohere_v1_generate",
    "/v1/embed": "cohere_embed",
    "/v1/rerank": "cohere_rerank",
    "/v1/classify": "cohere_classify",
    "/v1/summarize": "cohere_summarize",
}
TRANSCRIPTIONS = "/v2/audio/transcriptions"
"""A form as OpenAI's, and an answer that is text alone."""
OUTPUTLESS = ("cohere_embed", "cohere_rerank", "cohere_classify")
DOCUMENT_KEYS = ("usage", "meta", "model", "type", "event_type", "is_finished", "response/meta", "delta/usage")
NEEDLES = (b'"billed_units"', b'"message-end"', b'"stream-end"', b'"is_finished":true', b"[DONE]")
_outside = mentions(b'"image_url"', b'"connectors"', b'"conversation_id"', b'"web-search"', b'"images"')


class CohereBody(msgspec.Struct):
    model: Any = None
    stream: Any = None
    max_tokens: Any = None
    documents: Any = None
    num_generations: Any = None
    query: Any = None


_BODY: msgspec.json.Decoder[CohereBody] = msgspec.json.Decoder(CohereBody)


class CohereOpenAI(OpenAIShape):
    """The compatibility API below ``/compatibility/v1``, and transcription."""

    __slots__ = ()

    kind = "cohere"
    price_as = "cohere"


OPENAI = CohereOpenAI()
OPENAI_APIS = frozenset(OPENAI.operations.values())


class CohereReader:
    def __init__(self, facts: Facts) -> None:
        self.reading = Reading()
        self.terminal = False
        self._facts = facts

    def frame(self, data: bytes) -> None:
        if data == b"[DONE]":
            self.terminal = self.reading.complete = True
            return
        document = parse(data)
        if isinstance(document, dict):
            self.document(document)

    def document(self, document: dict[str, Any]) -> None:
        kind = document.get("type") or document.get("event_type")
        if kind in ("message-end", "stream-end"):
            self.terminal = self.reading.complete = True
        for holder in (document, table(document.get("delta")), table(document.get("response"))):
            units = table(holder.get("usage")).get("billed_units") or table(holder.get("meta")).get("billed_units")
            if isinstance(units, dict):
                self._take(units)
        model = document.get("model")
        if isinstance(model, str) and model:
            self.reading.model = text(model)

    def _take(self, units: dict[str, Any]) -> None:
        reading = self.reading
        pictures = count(units.get("image_tokens"))
        for name, field in (
            ("image_tokens", "input_image_tokens"),
            ("input_tokens", "input_tokens_total"),
            ("output_tokens", "output_tokens_total"),
            ("search_units", "search_units"),
        ):
            value = count(units.get(name))
            if value is not None:
                if reading.usage is None:
                    reading.usage = Usage()
                    reading.source = "response"
                setattr(reading.usage, field, value)
        if pictures and reading.usage is not None:
            # counted beside the text's tokens
            reading.usage.input_tokens_total = (count(units.get("input_tokens")) or 0) + pictures

    def done(self) -> None:
        if not self._facts.stream and self.reading.usage is not None:
            self.reading.complete = True


class Cohere:
    __slots__ = ()

    kind: ClassVar[str] = "cohere"
    price_as: ClassVar[str] = "cohere"
    base_url: ClassVar[str] = "https://api.cohere.com"
    auth: ClassVar[Auth] = Auth()
    regional_host: ClassVar[str] = ""
    vocabularies: ClassVar[tuple[str, ...]] = ()

    def read(self, method: bytes, target: bytes, content_type: bytes, body: bytes) -> Facts:
        path = plain_path(target)
        if "/compatibility/" in path or path.endswith(TRANSCRIPTIONS):
            return OPENAI.read(method, target, content_type, body)
        api = OPERATIONS.get(path[max(0, path.rfind("/", 0, path.rfind("/"))) :], "other")
        if method != b"POST" or api == "other":
            return Facts()
        shape = hollow(body)
        fields = read_fields(_BODY, body, shape)
        if isinstance(fields, str):
            return Facts(api=api, malformed=fields)
        limit = count(fields.max_tokens) or UNLIMITED
        return Facts(
            api=api,
            model=text(fields.model) or ("command" if "chat" in api or "generate" in api else ""),
            stream=fields.stream is True,
            billable=True,
            input_bytes=len(body),
            input_overhead=2048,
            input_open=_outside(shape),
            max_output=limit,
            choices=max(1, count(fields.num_generations) or 1),
            output_free=api in OUTPUTLESS,
            units_bound={"search_units": search_units(fields.documents, fields.query, body)}
            if api == "cohere_rerank"
            else {},
        )

    def prepare(self, facts: Facts, target: bytes, body: bytes) -> bytes:
        return OPENAI.prepare(facts, target, body)

    def clamp(self, facts: Facts, body: bytes, max_output: int) -> bytes | None:
        if facts.api in OPENAI_APIS:
            return OPENAI.clamp(facts, body, max_output)
        return None if facts.output_free else set_value(body, b"max_tokens", b"%d" % max_output)

    def rename_model(self, facts: Facts, target: bytes, body: bytes, model: str) -> tuple[bytes, bytes]:
        return target, set_value(body, b"model", msgspec.json.encode(model))

    def meter(self, facts: Facts, status: int, headers: Sequence[Header]) -> Meter:
        if facts.api in OPENAI_APIS:
            return OPENAI.meter(facts, status, headers)
        reader = CohereReader(facts)
        content_type = header(headers, b"content-type")
        events = partial(SseMeter, reader, headers, NEEDLES)
        if content_type.startswith(b"text/event-stream"):
            return events()
        if facts.stream or b"stream" in content_type:
            lines = partial(FrameMeter, reader, headers, Lines(DOCUMENT_KEYS), NEEDLES)
            return Sniffed(lines, events) if doubtful(headers, facts) else lines()
        if form_of(headers, facts) == "json":
            return JsonMeter(reader, headers, DOCUMENT_KEYS)
        return SilentMeter(reader, headers)

    def refuse(self, refusal: Refusal, facts: Facts) -> Reply:
        return Reply(refusal.status, retry_headers(refusal), msgspec.json.encode({"message": refusal.message}))

    def cut(self, facts: Facts, last: bytes) -> bytes | None:
        if facts.api != "cohere_v2_chat":
            return OPENAI.cut(facts, last) if facts.api in OPENAI_APIS else None
        end = {"type": "message-end", "delta": {"finish_reason": "MAX_TOKENS"}}
        return b"event: message-end\ndata: " + msgspec.json.encode(end) + b"\n\n"


DIALECT = Cohere()
