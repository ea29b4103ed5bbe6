"""Amazon Bedrock: Converse and InvokeModel, whole and streamed, for each family of models.

Sources: Bedrock API reference (Converse, ConverseStream, InvokeModel, InvokeModelWithResponseStream, CountTokens,
TokenUsage), Bedrock user guide (inference request parameters by model family).
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec

from gateway.wire import anthropic_shape
from gateway.wire.anthropic_others import compactor, compacts
from gateway.wire.anthropic_tools import NONE, Reach, reach
from gateway.wire.bedrock_request import BODY, INNER, STABILITY, choices_of, handed_on, limit_of, pictures
from gateway.wire.bedrock_usage import (
    METRICS,
    converse_usage,
    family_counts,
    header_usage,
    of_metrics,
    reranks,
    routed_to,
    search_units,
    take_converse,
    tier_of,
)
from gateway.wire.dialect import Auth, Header, Meter, Refusal, Reply
from gateway.wire.facts import UNLIMITED, Facts
from gateway.wire.framing.aws_eventstream import EventStream, Message, encode
from gateway.wire.hollow import hollow
from gateway.wire.json_edit import set_inner, set_value
from gateway.wire.json_read import mentions, parse, read_fields
from gateway.wire.meter import Base, JsonMeter, SilentMeter, form_of, header
from gateway.wire.numbers import table, text
from gateway.wire.openai_shape import OpenAIShape, read_usage
from gateway.wire.paths import plain_path
from gateway.wire.sniff import Sniffed, doubtful
from gateway.wire.usage import Reading, Usage

_PATH = re.compile(r"/model/(.+)/(converse|converse-stream|invoke|invoke-with-response-stream|count-tokens)$")
_APIS = {
    "converse": "converse",
    "converse-stream": "converse",
    "invoke": "invoke",
    "invoke-with-response-stream": "invoke",
    "count-tokens": "count_tokens",
}
_outside = mentions(
    b'"image"', b'"document"', b'"video"', b'"s3Location"', b'"images"', b'"inputImage"', b'"systemTool"'
)
OVERHEAD_TOKENS = 1024
LIMITS = ("max_tokens", "max_tokens_to_sample", "maxTokens", "max_gen_len", "maxTokenCount", "max_completion_tokens")
CONFIGS = ("inferenceConfig", "textGenerationConfig")
"""Where some families keep their limit instead: it is not lowered there."""
DOCUMENT_KEYS = ("usage", "model", "inputTextTokenCount", "results", "prompt_token_count", "generation_token_count",
                 "type", "meta", "inputTokenCount", "serviceTier", "trace", METRICS)  # fmt: skip
_MODEL_ID = re.compile(r"[a-z0-9._:/-]*")

TIER = b"x-amzn-bedrock-service-tier"
_PROMPT = ":prompt/"
_BLOCK_INDEX = re.compile(rb'"contentBlockIndex":\s*(\d{1,6})')


class BedrockOpenAI(OpenAIShape):
    """The OpenAI-compatible paths, and Anthropic's messages below ``/anthropic``."""

    __slots__ = ()

    kind = "bedrock"
    price_as = "bedrock"


OPENAI = BedrockOpenAI()
OPENAI_APIS = frozenset(OPENAI.operations.values()) - {"count_tokens"}


class BedrockReader:
    """Reads whole answers and the events of streamed ones."""

    def __init__(self, facts: Facts, status: int, headers: Sequence[Header]) -> None:
        self._ok = status < 300
        self.reading = Reading()
        self.terminal = False
        self._facts = facts
        self._raw: dict[str, int] = {}
        # Anthropic's counts in the headers leave cached tokens out: they are no whole report
        self._from_headers = None if "anthropic." in facts.model else header_usage(headers)
        self._stated = False
        """A usage object was seen; what families report beside their answer gives way to the headers."""
        self._begun = self._summed = False
        """Whether the report that begins a stream of Anthropic's, and the one that ends it, have been seen."""
        self.reading.service_tier = text(header(headers, TIER).decode("latin-1"), 40)

    def frame(self, data: bytes) -> None:
        document = parse(data)
        if isinstance(document, dict):
            self.document(document)

    def document(self, document: dict[str, Any]) -> None:
        """One answer, or one event's payload."""
        inner = document.get("message")
        source = inner if document.get("type") == "message_start" and isinstance(inner, dict) else document
        model = source.get("model")
        if isinstance(model, str) and model and self._facts.api == "invoke":
            self.reading.model = text(model)
        routed = routed_to(document)
        if routed:
            self.reading.model = routed
        tier = tier_of(document)
        if tier:
            self.reading.service_tier = tier
        usage = source.get("usage")
        if isinstance(usage, dict):
            self._stated = True
            self._begun = self._begun or source is inner
            self._summed = self._summed or document.get("type") == "message_delta"
            self._usage(usage)
        else:
            self._family(document)
        metrics = document.get(METRICS)
        if isinstance(metrics, dict) and self.reading.usage is None:
            self._converse(of_metrics(metrics))
        if isinstance(metrics, dict) or document.get("type") == "message_stop":
            self.reading.complete = self._summed = True

    def _usage(self, usage: dict[str, Any]) -> None:
        """A usage object: Anthropic's, Bedrock's own (Converse, Nova), or one in OpenAI's shape."""
        if "input_tokens" in usage or "output_tokens" in usage:
            anthropic_shape.take_usage(usage, self._into(), self._raw)
        elif "inputTokens" in usage or "outputTokens" in usage:
            self._converse(usage)
        else:
            into = self.reading.usage or Usage()
            if read_usage(usage, into):
                self._into(into)

    def _converse(self, usage: dict[str, Any]) -> None:
        if take_converse(usage, self._raw):
            converse_usage(usage, self._raw, self._into())

    def _family(self, document: dict[str, Any]) -> None:
        tokens_in, tokens_out = family_counts(document)
        if tokens_in is not None:
            self._into().input_tokens_total = tokens_in
        if tokens_out is not None:
            self._into().output_tokens_total = tokens_out

    def _into(self, usage: Usage | None = None) -> Usage:
        reading = self.reading
        if reading.usage is None:
            reading.usage = usage or Usage()
            reading.source = "response"
        return reading.usage

    def done(self) -> None:
        reading = self.reading
        if not self._stated and self._from_headers is not None:
            reading.usage = self._from_headers
            reading.source = "headers"
        made = self._facts.units_bound.get("output_images")
        if made and self._ok and not reading.failed:
            # Titan and Nova pictures are billed by the piece; an answer holds as many as were asked for
            reading.usage = reading.usage or Usage()
            reading.usage.output_images = made
            reading.source = "response"
        units = self._facts.units_bound.get("search_units")
        if units and self._ok and not reading.failed:
            # charged by the query, which no answer counts
            reading.usage = reading.usage or Usage()
            reading.usage.search_units = units
            reading.source = "response"
        reading.partial = self._begun and not self._summed
        if not self._facts.stream and reading.usage is not None:
            reading.complete = True


class EventStreamMeter(Base):
    """The messages of a streamed answer."""

    def __init__(self, reader: BedrockReader, headers: Sequence[Header]) -> None:
        super().__init__(reader, headers)
        self._events = EventStream()
        self._bedrock = reader

    def _take(self, data: bytes) -> None:
        for message in self._events.feed(data):
            self._message(message)

    def _message(self, message: Message) -> None:
        self._frames += 1
        if message.headers.get(":message-type", "event") != "event":
            self._bedrock.reading.failed = True
            return
        payload = message.payload
        if message.headers.get(":event-type") == "chunk":
            payload = _chunk(payload)
        if (
            b'"usage"' in payload
            or b"okenCount" in payload
            or b'"message_stop"' in payload
            or b"_token_count" in payload
        ):
            self._bedrock.frame(payload)
        if message.headers.get(":event-type") == "metadata":
            self._bedrock.reading.complete = True
            self._bedrock.terminal = True

    def _end(self) -> None:
        return


class Bedrock:
    __slots__ = ()

    kind: ClassVar[str] = "bedrock"
    price_as: ClassVar[str] = "bedrock"
    base_url: ClassVar[str] = ""
    auth: ClassVar[Auth] = Auth()
    regional_host: ClassVar[str] = ""
    vocabularies: ClassVar[tuple[str, ...]] = ()

    def read(self, method: bytes, target: bytes, content_type: bytes, body: bytes) -> Facts:
        match = _PATH.search(plain_path(target))
        if match is None:
            return OPENAI.read(method, target, content_type, body)
        if method != b"POST":
            return Facts()
        model, operation = _model_id(match[1][:400]), match[2]
        api = _APIS[operation]
        shape = hollow(body)
        fields = read_fields(BODY, body, shape, INNER)
        if isinstance(fields, str):
            return Facts(api=api, model=model, malformed=fields)
        more = handed_on(fields)
        if isinstance(more, str):
            return Facts(api=api, model=model, malformed=more)
        limit, other = limit_of(fields), limit_of(more)
        if limit is not None and other is not None:
            limit = max(limit, other)
        tools = Reach() if fields.tools is NONE else reach(fields.tools)
        if more is not fields and more.tools is not NONE:
            tools = reach(more.tools)
        # the text of a stored prompt lies at the provider
        is_open = tools.open or _outside(shape) or _PROMPT in model
        compacted = any(compacts(one.context_management, one.compaction, len(body), is_open) for one in (fields, more))
        return Facts(
            api=api,
            model=model,
            stream=operation.endswith("stream"),
            billable=api != "count_tokens",
            input_bytes=len(body),
            input_overhead=OVERHEAD_TOKENS + tools.overhead,
            input_open=is_open,
            max_output=UNLIMITED if limit is None else limit,
            choices=max(choices_of(fields), choices_of(more)),
            output_free="embed" in model or reranks(model) or bool(STABILITY.match(model)),
            units_bound=search_units(fields.documents, body) if reranks(model) else pictures(model, fields),
            # an invocation's tier stands in a header
            service_tier=tier_of({"serviceTier": fields.serviceTier}) if api == "converse" else "",
            others=(*tools.advisors, compactor(model)) if compacted else tools.advisors,
        )

    def prepare(self, facts: Facts, target: bytes, body: bytes) -> bytes:
        return body if facts.asks_usage else OPENAI.prepare(facts, target, body)

    def clamp(self, facts: Facts, body: bytes, max_output: int) -> bytes | None:
        if facts.api == "converse":
            more = table(table(parse(body)).get("additionalModelRequestFields"))
            if any(name in more for name in (*LIMITS, *CONFIGS)):
                # which of them counts the family knows
                return None
            return set_inner(body, b"inferenceConfig", b"maxTokens", b"%d" % max_output)
        if facts.api == "invoke":
            document, value = table(parse(body)), b"%d" % max_output
            named = [name.encode() for name in LIMITS if name in document]
            if named and not any(name in document for name in CONFIGS):
                for name in named:
                    body = set_value(body, name, value)
                return body
            return None
        return OPENAI.clamp(facts, body, max_output) if facts.api in OPENAI_APIS else None

    def rename_model(self, facts: Facts, target: bytes, body: bytes, model: str) -> tuple[bytes, bytes]:
        if facts.api in OPENAI_APIS:
            return OPENAI.rename_model(facts, target, body, model)
        path, mark, query = target.partition(b"?")
        base, _, operation = path.rpartition(b"/")
        root = base[: base.find(b"/model/")]
        return b"%b/model/%b/%b%b%b" % (root, quote(model, safe="").encode(), operation, mark, query), body

    def meter(self, facts: Facts, status: int, headers: Sequence[Header]) -> Meter:
        if facts.api in OPENAI_APIS:
            return OPENAI.meter(facts, status, headers)
        reader = BedrockReader(facts, status, headers if facts.api == "invoke" else ())
        events = partial(EventStreamMeter, reader, headers)
        if b"eventstream" in header(headers, b"content-type"):
            return events()
        if not form_of(headers, facts) or facts.api == "count_tokens":
            return SilentMeter(reader, headers)
        document = partial(JsonMeter, reader, headers, DOCUMENT_KEYS)
        return Sniffed(document, events) if doubtful(headers, facts) else document()

    def refuse(self, refusal: Refusal, facts: Facts) -> Reply:
        if facts.api in OPENAI_APIS:
            return OPENAI.refuse(refusal, facts)
        kind = {
            401: "UnrecognizedClientException",
            403: "AccessDeniedException",
            404: "ResourceNotFoundException",
            429: "ThrottlingException" if refusal.retry_after_ms is not None else "ServiceQuotaExceededException",
        }.get(refusal.status, "ValidationException")
        headers: list[Header] = [(b"content-type", b"application/json"), (b"x-amzn-errortype", kind.encode())]
        if refusal.retry_after_ms is not None:
            headers.append((b"retry-after", b"%d" % max(1, -(-refusal.retry_after_ms // 1000))))
        if not refusal.retry_helps and refusal.status in (403, 429):
            headers.append((b"x-should-retry", b"false"))
        # an exhausted quota is 400 here: boto3 would retry a 429, and waiting does not help
        status = 400 if kind == "ServiceQuotaExceededException" else refusal.status
        return Reply(status, headers, msgspec.json.encode({"message": refusal.message}))

    def cut(self, facts: Facts, last: bytes) -> bytes | None:
        if facts.api in OPENAI_APIS:
            return OPENAI.cut(facts, last)
        if facts.api != "converse":
            return None
        block = _BLOCK_INDEX.findall(last) if last.rfind(b"contentBlockDelta") > last.rfind(b"contentBlockStop") else []
        events: tuple[tuple[str, dict[str, Any]], ...] = (
            ("contentBlockStop", {"contentBlockIndex": int(block[-1])} if block else {}),
            ("messageStop", {"stopReason": "max_tokens"}),
        )
        return b"".join(_event(name, msgspec.json.encode(payload)) for name, payload in events if payload)


def _model_id(name: str) -> str:
    """A model's id as Bedrock spells them (lower case); ARNs and names of profiles stay whole."""
    if name.startswith("arn:"):
        return text(name, 400)
    return _MODEL_ID.match(name)[0].rstrip(":") or text(name, 400)  # type: ignore[index]


def _event(name: str, payload: bytes) -> bytes:
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    return encode(headers, payload)


def _chunk(payload: bytes) -> bytes:
    """The family's own event inside a ``chunk`` event."""
    try:
        return b64decode(table(parse(payload)).get("bytes", b""), validate=True)
    except (TypeError, ValueError):
        return b""


DIALECT = Bedrock()
