"""What OpenAI's API and the many that follow it have in common; each provider's dialect says what differs.

Sources: OpenAI API reference (chat/object, chat/streaming, responses/object, responses/streaming, embeddings, audio,
images, completions).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, TypedDict

import msgspec

from gateway.wire import anthropic_shape, file_batches
from gateway.wire.batches import KEYS, SUMMED, BatchReader, batch
from gateway.wire.dialect import Auth, Header, Meter, Refusal, Reply
from gateway.wire.facts import UNLIMITED, Facts
from gateway.wire.json_edit import insert_first, set_inner, set_value
from gateway.wire.meter import JsonMeter, Reader, SilentMeter, SseMeter, StrippingSseMeter, form_of, header
from gateway.wire.multipart import is_form
from gateway.wire.named_models import makers
from gateway.wire.numbers import count, text, yes
from gateway.wire.openai_forms import HEARD, heard, read_form
from gateway.wire.openai_later import claim_of, fetched
from gateway.wire.openai_reader import OpenAIReader
from gateway.wire.openai_request import (
    ABSENT,
    LIMITS,
    LIMITS_OF,
    MAX_CHOICES,
    Body,
    characters,
    choices,
    extent,
    inputs,
    model_named,
    output_limit,
    read_body,
    reranked,
    runs_tools,
)
from gateway.wire.openai_searches import BOUND, searches_bound
from gateway.wire.openai_strip import strip_usage
from gateway.wire.openai_usage import milliseconds, read_usage
from gateway.wire.paths import plain_path
from gateway.wire.refusals import openai_error, retry_headers
from gateway.wire.sniff import Sniffed, doubtful
from gateway.wire.usage import Reading, Usage

__all__ = ["OpenAIReader", "OpenAIShape", "read_usage", "retry_headers", "strip_usage"]

NEEDLES = (b'"usage"', b'"error"', b"[DONE]")
ASKING = b'"stream_options":{"include_usage":true}'
RESPONSE_NEEDLES = (b'"response.completed"', b'"response.incomplete"', b'"response.failed"', b'"error"', b'"usage"')
DOCUMENT_KEYS = ("usage", "model", "error", "service_tier", "duration", "usage_info", "x_groq", "timings", "status",
                 "tool_usage", "id", "background", "object")  # fmt: skip
SOUND = frozenset(("speech", "transcriptions", "translations"))
"""Operations whose answers may be no JSON."""
MAX_OPERATIONS = 512
"""Targets whose operation is remembered."""
_LAST = {
    "id": re.compile(rb'"id":\s*"([^"\\]{1,200})"').findall,
    "model": re.compile(rb'"model":\s*"([^"\\]{1,200})"').findall,
    "created": re.compile(rb'"created":\s*(\d{1,15})').findall,
}
"""What the last chunk of a stream shares with those before it."""


class OpenAIShape:
    """A dialect in OpenAI's shape. Subclasses change the class attributes, or a method where a provider differs."""

    __slots__ = ("_body_keys", "_decode_partial", "_operations", "reports_usually")

    kind: ClassVar[str] = ""
    price_as: ClassVar[str] = ""
    base_url: ClassVar[str] = ""
    auth: ClassVar[Auth] = Auth()
    regional_host: ClassVar[str] = ""
    vocabularies: ClassVar[tuple[str, ...]] = ()
    operations: ClassVar[dict[str, str]] = {
        "/chat/completions": "chat",
        "/responses": "responses",
        "/responses/compact": "responses-compact",
        "/completions": "completions",
        "/embeddings": "embeddings",
        "/moderations": "moderations",
        "/audio/speech": "speech",
        "/audio/transcriptions": "transcriptions",
        "/audio/translations": "translations",
        "/images/generations": "images",
        "/images/edits": "images",
        "/images/variations": "images",
        "/responses/input_tokens": "count_tokens",
        "/rerank": "rerank",
        "/messages": "messages",
        "/messages/count_tokens": "count_tokens",
    }
    """How a path ends → the operation."""
    free: ClassVar[frozenset[str]] = frozenset(("count_tokens", "moderations", "other"))
    outputless: ClassVar[frozenset[str]] = frozenset(("embeddings", "moderations", "rerank"))
    asks: ClassVar[frozenset[str]] = frozenset(("chat", "completions"))
    """Operations whose streams report usage only when ``stream_options.include_usage`` asks for it."""
    counts_searches: ClassVar[bool] = False
    """Its answers tell of web searches as OpenAI's do, see ``gateway.wire.openai_searches``."""
    keeps_answers: ClassVar[bool] = False
    """Responses and batches are made in the background and can be fetched, see ``gateway.wire.openai_later`` and
    ``gateway.wire.batches``."""
    jobs: ClassVar[str] = ""
    """How the path of its batches ends, where their use stands in their results: see ``gateway.wire.file_batches``."""

    # the request

    def operation(self, method: bytes, path: str) -> str:
        """The operation of a path; ``other`` where it is none that costs."""
        if method != b"POST":
            return "other"
        path = path.lower()
        last = path.rfind("/")
        second = path.rfind("/", 0, last)
        found = self.operations.get(path[second:]) if second >= 0 else None
        found = found or self.operations.get(path[last:], "other")
        # a thread's messages are stored, not answered
        return "other" if found == "messages" and "/threads/" in path else found

    def read(self, method: bytes, target: bytes, content_type: bytes, body: bytes) -> Facts:
        api = self._operations.get((method, target)) or self._operation(method, target)
        if api == "other":
            kept = self.fetch(method, target)
            if self.jobs:
                kept = file_batches.read(self.jobs, method, target, body)
            return kept or Facts(api=api, model=model_named(body) if method == b"POST" else "")
        if content_type != b"application/json" and is_form(content_type, body):
            return read_form(api, content_type, body, api not in self.free)
        if api == "messages":
            return anthropic_shape.read_message(api, "", body)
        fields = read_body(body, api == "speech")
        if isinstance(fields, str):
            return Facts(api=api, billable=api not in self.free, malformed=fields)
        model = text(fields.model)
        stream = fields.stream is True or yes(fields.stream)
        limit = output_limit(fields, self.limits.get(api, LIMITS))
        options = fields.stream_options
        asked = isinstance(options, dict) and yes(options.get("include_usage"))
        reach = extent(fields)
        # by position: names cost several times as much
        facts = Facts(
            api,
            model,
            stream,
            api not in self.free,
            "",
            reranked(fields, body) if api == "rerank" else len(body),
            reach.overhead,
            reach.open and api != "rerank",
            UNLIMITED if limit is None else limit,
            choices(api, fields),
            api in self.outputless,
            self._units(api, fields, model, body),
            reach.images,
            not stream or asked or api not in self.asks,
            text(fields.service_tier, 40),
            options is ABSENT,
        )
        if reach.open and runs_tools(fields):
            self._loop(facts, fields)
            facts.others = makers(api, fields)
        elif reach.open and api == "embeddings":
            facts.choices = inputs(fields)
        elif fields.svg is not None:
            facts.others = makers(api, fields)
        elif api in HEARD:
            heard(facts, True)
        return facts

    def fetch(self, method: bytes, target: bytes) -> Facts | None:
        """Facts of a call that fetches what was begun before, or begins or looks at a batch; None for any other."""
        return (fetched(method, target) or batch(method, target)) if self.keeps_answers else None

    limits_tools: ClassVar[bool] = False
    """Its Responses take ``max_tool_calls``."""

    def _loop(self, facts: Facts, fields: Body) -> None:
        """The provider runs tools: how often it reads the context for that, at most."""
        most = count(fields.max_tool_calls) if self.limits_tools and facts.api == "responses" else None
        if most is not None:
            facts.turns = most + 1
            return
        facts.unbounded = "tools that the provider runs may be called without end"
        if self.limits_tools and facts.api == "responses":
            facts.bounded_by = "max_tool_calls"

    def _units(self, api: str, fields: Body, model: str, body: bytes) -> dict[str, int]:
        if api == "images":
            return {"output_images": count(fields.n) or 1}
        if api == "speech":
            return {"input_characters": characters(fields, body)}
        searches = searches_bound(api, fields, model) if self.counts_searches else 0
        return {BOUND: searches} if searches else {}

    def _operation(self, method: bytes, target: bytes) -> str:
        """``operation``, kept for the targets that come again and again."""
        if len(self._operations) >= MAX_OPERATIONS:
            self._operations.clear()
        found = self._operations[method, target] = self.operation(method, plain_path(target))
        return found

    limits: ClassVar[dict[str, tuple[str, ...]]] = LIMITS_OF
    """Members that limit the output of an operation. Servers pass over the names that they don't know: none of those is
    a limit."""

    def prepare(self, facts: Facts, target: bytes, body: bytes) -> bytes:
        if facts.optionless:
            return insert_first(body, ASKING)
        return set_inner(body, b"stream_options", b"include_usage", b"true")

    def clamp(self, facts: Facts, body: bytes, max_output: int) -> bytes | None:
        value = b"%d" % max_output
        if facts.api in ("responses", "responses-compact"):
            return set_value(body, b"max_output_tokens", value)
        if facts.api in ("completions", "messages"):
            return set_value(body, b"max_tokens", value)
        if facts.api != "chat":
            return None
        fields = read_body(body)
        if isinstance(fields, str):
            return None
        named = [name.encode() for name in self.limits[facts.api] if getattr(fields, name) is not None]
        for key in named or [facts.limited_by or self.limit_key]:
            body = set_value(body, key, value)
        return body

    limit_key: ClassVar[bytes] = b"max_tokens"

    def rename_model(self, facts: Facts, target: bytes, body: bytes, model: str) -> tuple[bytes, bytes]:
        return target, set_value(body, b"model", msgspec.json.encode(model))

    # the response

    document_keys: ClassVar[tuple[str, ...]] = ()
    """Members of an answer that ``usage_of`` and ``take_usage`` need, besides the usual ones."""

    def __init__(self) -> None:
        keys = (*DOCUMENT_KEYS, *self.document_keys)
        inner = TypedDict("inner", dict.fromkeys(keys, Any), total=False)  # type: ignore[misc]
        members = {**dict.fromkeys(("type", *keys), Any), "response": inner | None}
        outer = TypedDict("outer", members, total=False)  # type: ignore[misc]
        self._decode_partial: Callable[[bytes], Any] = msgspec.json.Decoder(outer).decode
        self._body_keys = (*keys, "tools")
        self._operations: dict[tuple[bytes, bytes], str] = {}
        own = type(self)
        self.reports_usually = own.usage_of is OpenAIShape.usage_of and own.take_usage is OpenAIShape.take_usage
        """Its usage means what OpenAI's does: see ``gateway.wire.openai_answer``."""

    def partial(self, data: bytes) -> dict[str, Any]:
        """The members of an answer that matter. Raises ``ValueError`` where they are of another form."""
        decoded: dict[str, Any] = self._decode_partial(data)
        return decoded

    def claim(self, document: dict[str, Any]) -> str:
        """The provider's id of an answer that can be fetched, as a document tells it; empty where it tells none."""
        return claim_of(document) if self.keeps_answers else ""

    def usage_of(self, document: dict[str, Any]) -> Any:
        """Where a document holds its usage."""
        usage = document.get("usage")
        if usage is None and "duration" in document and milliseconds(document.get("duration")) is not None:
            # a transcription in verbose form that states the recording's length alone
            return {"seconds": document["duration"]}
        return usage

    def take_usage(self, usage: dict[str, Any], document: dict[str, Any], into: Usage, reading: Reading) -> bool:
        """Take a usage object's numbers in this provider's meaning; False where it reports nothing."""
        return read_usage(usage, into)

    def cost_of(self, usage: dict[str, Any]) -> int | None:
        """What a usage says that the call cost, in nanodollars; None where it says nothing."""
        return None

    def reader(self, facts: Facts, status: int, headers: Sequence[Header]) -> Reader:
        return OpenAIReader(self, facts, status)

    def needles(self, facts: Facts) -> tuple[bytes, ...]:
        return RESPONSE_NEEDLES if facts.api == "responses" else NEEDLES

    def strip(self, facts: Facts) -> Callable[[bytes], bytes]:
        """What an event keeps once the additions of ``prepare`` are taken out; empty: the whole event is one."""
        return strip_usage

    def meter(self, facts: Facts, status: int, headers: Sequence[Header]) -> Meter:
        if facts.api == "messages":
            return anthropic_shape.meter(facts, headers, cost_of=self.cost_of)
        if facts.api in SUMMED:
            return (
                file_batches.meter(self, facts, status, headers)
                if self.jobs
                else JsonMeter(BatchReader(), headers, KEYS)
            )
        reader = self.reader(facts, status, headers)
        form = form_of(headers, facts)
        if form == "sse":
            if not facts.asks_usage and status < 300:
                return StrippingSseMeter(reader, headers, self.needles(facts), self.strip(facts))
            return SseMeter(reader, headers, self.needles(facts))
        if form == "json" and (facts.api not in SOUND or b"json" in header(headers, b"content-type")):
            if doubtful(headers, facts):
                document = partial(JsonMeter, reader, headers, self._body_keys)
                return Sniffed(document, partial(SseMeter, reader, headers, self.needles(facts)))
            return JsonMeter(reader, headers, self._body_keys)
        return SilentMeter(reader, headers)

    # the gateway's own answers

    def refuse(self, refusal: Refusal, facts: Facts) -> Reply:
        return anthropic_shape.refuse(refusal) if facts.api == "messages" else openai_error(refusal)

    def cut(self, facts: Facts, last: bytes) -> bytes | None:
        if facts.api == "messages":
            return anthropic_shape.cut(last)
        if facts.api not in ("chat", "completions"):
            return None
        end: dict[str, Any] = {"delta": {}} if facts.api == "chat" else {"text": ""}
        ends = [
            {"index": index, **end, "finish_reason": "length", "logprobs": None}
            for index in range(min(facts.choices, MAX_CHOICES))
        ]
        kind = "chat.completion.chunk" if facts.api == "chat" else "text_completion"
        known = {name: found[-1].decode("utf-8", "replace") for name, find in _LAST.items() if (found := find(last))}
        created = int(known.get("created", 0))
        model = known.get("model", facts.model)
        chunk = {"id": known.get("id", ""), "object": kind, "created": created, "model": model, "choices": ends}
        return b"data: " + msgspec.json.encode(chunk) + b"\n\ndata: [DONE]\n\n"
