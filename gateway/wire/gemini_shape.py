"""Gemini's generateContent, as spoken by the Gemini API and by Vertex.

Sources: Gemini API reference (generateContent, UsageMetadata, countTokens, embedContent; ``candidateCount`` in [1, 8]);
Vertex AI GenerateContentResponse.UsageMetadata; protobuf.dev, "ProtoJSON Format" (int32: "Exponent notation (such as
``1e2``) is accepted in both quoted and unquoted forms").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec

from gateway.wire import gemini_searches
from gateway.wire.dialect import Header, Meter, Refusal, Reply
from gateway.wire.facts import UNLIMITED, Facts
from gateway.wire.framing.json_array import Elements
from gateway.wire.gemini_predictions import PredictionReader
from gateway.wire.hollow import hollow
from gateway.wire.json_edit import set_inner
from gateway.wire.json_names import Inner
from gateway.wire.json_read import mentions, parse, read_fields
from gateway.wire.meter import FrameMeter, JsonMeter, SilentMeter, SseMeter, form_of, header
from gateway.wire.numbers import count, table, text, total
from gateway.wire.openai_shape import OpenAIShape
from gateway.wire.openai_usage import read_usage as openai_usage
from gateway.wire.pieces import PieceMeter
from gateway.wire.sniff import Sniffed, doubtful
from gateway.wire.usage import Reading, Usage

NEEDLES = (b'"usageMetadata"', b'"error"', gemini_searches.NEEDLE)
DOCUMENT_KEYS = ("usageMetadata", "modelVersion", "error")
OUTSIDE = (b'"inlineData"', b'"inline_data"', b'"fileData"', b'"file_data"', b'"cachedContent"', b'"cached_content"',
           b'"googleSearch', b'"google_search', b'"urlContext"', b'"url_context"', b'"codeExecution"',
           b'"code_execution"', b'"fileSearch', b'"file_search', b'"googleMaps', b'"google_maps')  # fmt: skip
_outside = mentions(*OUTSIDE)
CONFIGS = ("generationConfig", "generation_config")
LIMITS = ("maxOutputTokens", "max_output_tokens")
CHOICES = ("candidateCount", "candidate_count")
MAX_CHOICES = 8
"""Google answers with this many candidates at most, and makes this many pictures."""
OVERHEAD_TOKENS = 64
_NUMBERS = {2: "IMAGE", 3: "VIDEO", 4: "AUDIO", 5: "DOCUMENT"}
"""Modalities where the client asked for numbers (``enum-encoding=int``): google.cloud.aiplatform Modality."""
_PROMPT = {"AUDIO": "input_audio_tokens", "VIDEO": "input_video_tokens"}
"""Pictures in a prompt are billed as text, so they are not a part of their own …"""
_HEARD_AND_SEEN = {**_PROMPT, "IMAGE": "input_image_tokens", "DOCUMENT": "input_image_tokens"}
"""… but where a session or an embedding has a price for them."""
_ANSWER = {"AUDIO": "output_audio_tokens", "IMAGE": "output_image_tokens"}
_DETAILS = (
    ("promptTokensDetails", _PROMPT),
    ("candidatesTokensDetails", _ANSWER),
    ("responseTokensDetails", _ANSWER),
    ("cacheTokensDetails", {"AUDIO": "cache_read_audio_tokens"}),
)
_DETAILS_OF_ALL = (
    ("promptTokensDetails", _HEARD_AND_SEEN),
    ("promptTokenDetails", _HEARD_AND_SEEN),
    *_DETAILS[1:],
)
"""``batchEmbedContents`` spells its details ``promptTokenDetails``: recorded answers."""

OPERATIONS = {
    "generateContent": "generate_content",
    "streamGenerateContent": "generate_content",
    "countTokens": "count_tokens",
    "embedContent": "gemini_embed",
    "batchEmbedContents": "gemini_embed",
    "predict": "predict",
    "predictLongRunning": "predict",
}


_NAMES = ("/models/", "/endpoints/", "/tunedModels/")
NONE = msgspec.Raw(b"null")


class Functions(msgspec.Struct, forbid_unknown_fields=True):
    """A tool that is all in the body: the caller's own functions. Any other member is a tool that Google runs."""

    functionDeclarations: msgspec.Raw = NONE  # noqa: N815 - the wire's name
    function_declarations: msgspec.Raw = NONE


class GenerateBody(msgspec.Struct):
    generationConfig: Any = None  # noqa: N815 - the wire's name
    generation_config: Any = None
    serviceTier: Any = None  # noqa: N815
    service_tier: Any = None
    parameters: Any = None
    requests: Any = None
    tools: msgspec.Raw = NONE


_BODY: msgspec.json.Decoder[GenerateBody] = msgspec.json.Decoder(GenerateBody)
_INNER = Inner(*LIMITS, *CHOICES, "sampleCount")
_functions = msgspec.json.Decoder(list[Functions]).decode


def read_generate(operation: str, model: str, body: bytes) -> Facts:
    """Facts of a ``models/{model}:{operation}`` request."""
    api = OPERATIONS.get(operation, "other")
    if api == "other":
        return Facts(model=model)
    shape = hollow(body)
    fields = read_fields(_BODY, body, shape, _INNER)
    if isinstance(fields, str):
        return Facts(api=api, malformed=fields)
    configs = (table(fields.generationConfig), table(fields.generation_config))
    limit = _largest(configs, LIMITS, 0)
    choices = _largest(configs, CHOICES, MAX_CHOICES) or 1
    tools = _runs_tools(fields.tools)
    outside = tools or _outside(shape)
    units = {}
    if api == "predict":
        units = {"output_images": _largest([table(fields.parameters)], ("sampleCount",), MAX_CHOICES) or 4}
    elif outside and (searches := gemini_searches.searches_bound(model, shape)):
        units = {gemini_searches.BOUND: searches}
    tier = fields.serviceTier or fields.service_tier
    if isinstance(fields.requests, list):
        # embedded each on its own
        choices = max(choices, len(fields.requests))
    return Facts(
        api=api,
        model=model,
        stream=operation == "streamGenerateContent",
        billable=api != "count_tokens",
        input_bytes=len(body),
        input_overhead=OVERHEAD_TOKENS,
        input_open=outside,
        # to protocol buffers 0 may be as good as absent
        max_output=limit or UNLIMITED,
        choices=max(1, choices),
        output_free=api in ("gemini_embed", "predict"),
        units_bound=units,
        service_tier=text(tier, 40),
        unbounded="tools that Google runs may be called without end" if tools else "",
    )


def _largest(configs: Iterable[dict[str, Any]], names: Sequence[str], unread: int) -> int | None:
    """The largest number under any spelling of a name: Google takes both, and bounds must hold for either. One that is
    written as only protocol buffers read it (``"1e2"``) makes it ``unread``."""
    found = [count(one[name]) for one in configs for name in names if one.get(name) is not None]
    return unread if None in found else max((number for number in found if number is not None), default=None)


def _runs_tools(raw: msgspec.Raw) -> bool:
    """True where there may be a tool that Google runs, whose results become input."""
    if raw is NONE or bytes(memoryview(raw)[:4]) == b"null":
        return False
    try:
        _functions(raw)
    except (ValueError, RecursionError):
        return True
    return False


def split_operation(path: str) -> tuple[str, str]:
    """Model and operation of ``…/models/{model}:{operation}``; empty where the path is none.

    A tuned model lies at ``/endpoints/{id}`` (Vertex) or ``/tunedModels/{name}`` and is called by that until the answer
    names its model.
    """
    for mark in _NAMES:
        _, found, rest = path.rpartition(mark)
        model, colon, operation = rest.rpartition(":")
        if found and colon:
            return text(model), operation
    return "", ""


def read_usage(meta: dict[str, Any], into: Usage, raw: dict[str, int], *, pictures: bool = False) -> bool:
    """Take ``usageMetadata`` field by field. ``pictures``: those of the prompt are a part of their own.

    Prompt and tool-use prompt are input; candidates and thoughts are output; cached content is part of the prompt.
    """
    names = ("promptTokenCount", "toolUsePromptTokenCount", "candidatesTokenCount", "responseTokenCount",
             "thoughtsTokenCount", "cachedContentTokenCount", "totalTokenCount")  # fmt: skip
    seen = False
    for name in names:
        value = count(meta.get(name))
        if value is not None:
            raw[name] = value
            seen = True
    if not seen:
        return False
    into.input_tokens_total = raw.get("promptTokenCount", 0) + raw.get("toolUsePromptTokenCount", 0)
    into.reasoning_tokens = raw.get("thoughtsTokenCount", 0)
    answer = raw.get("candidatesTokenCount", raw.get("responseTokenCount", 0))
    into.output_tokens_total = answer + into.reasoning_tokens
    into.cache_read_tokens = raw.get("cachedContentTokenCount", 0)
    for key, fields in _DETAILS_OF_ALL if pictures else _DETAILS:
        details = meta.get(key)
        if isinstance(details, list):
            _take_details(details, fields, into)
    return True


def _take_details(details: list[Any], fields: dict[str, str], into: Usage) -> None:
    """Take the tokens of each modality that has a field; of those that share one the sum."""
    found: dict[str, int] = {}
    for item in details:
        if not isinstance(item, dict):
            continue
        modality = item.get("modality")
        name = modality if isinstance(modality, str) else _NUMBERS.get(modality, "") if type(modality) is int else ""
        tokens = count(item.get("tokenCount")) if name in fields else None
        if tokens is not None:
            found[name] = tokens
    sums: dict[str, int] = {}
    for name, tokens in found.items():
        sums[fields[name]] = total(sums.get(fields[name], 0), tokens)
    for field, tokens in sums.items():
        setattr(into, field, tokens)


_caches = mentions(b'"cached_content"', b'"cachedContent"')


class GoogleOpenAI(OpenAIShape):
    """Google's OpenAI-compatible paths. Thoughts are in ``total_tokens`` alone, beside prompt and completion. What is
    cached is named in ``extra_body.google``.

    Source: https://ai.google.dev/gemini-api/docs/openai ("extra_body")
    """

    __slots__ = ()

    def read(self, method: bytes, target: bytes, content_type: bytes, body: bytes) -> Facts:
        facts = super().read(method, target, content_type, body)
        if facts.billable and _caches(body):
            facts.input_open = True
        return facts

    def take_usage(self, usage: dict[str, Any], document: dict[str, Any], into: Usage, reading: Reading) -> bool:
        seen = openai_usage(usage, into)
        prompt, said = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
        total = count(usage.get("total_tokens"))
        if prompt is not None and said is not None and total is not None and total > prompt + said:
            into.output_tokens_total = total - prompt
            into.reasoning_tokens = into.reasoning_tokens or total - prompt - said
        return seen


class GeminiReader:
    """Reads a response, or the chunks of a streamed one: each carries the usage so far."""

    def __init__(self, facts: Facts) -> None:
        self.reading = Reading()
        self.terminal = False
        self._facts = facts
        self._raw: dict[str, int] = {}
        self._searches: gemini_searches.Searches | None = None
        self._finished: set[int] = set()
        """Candidates that are whole, by their index."""

    def frame(self, data: bytes) -> None:
        document = parse(data)
        if isinstance(document, list):
            for item in document:
                if isinstance(item, dict):
                    self.document(item)
        elif isinstance(document, dict):
            self.document(document)

    def document(self, document: dict[str, Any]) -> None:
        reading = self.reading
        if document.get("error"):
            reading.failed = True
        model = document.get("modelVersion")
        if isinstance(model, str) and model:
            reading.model = text(model)
        candidates = document.get("candidates")
        if isinstance(candidates, list):
            self._grounded(candidates)
        meta = document.get("usageMetadata")
        if isinstance(meta, dict) and self._facts.api != "count_tokens":
            into = reading.usage or Usage()
            if read_usage(meta, into, self._raw, pictures=self._facts.api == "gemini_embed"):
                reading.usage = into
                reading.source = "response"
            tier = meta.get("serviceTier", meta.get("trafficType"))
            if isinstance(tier, str):
                reading.service_tier = text(tier, 40).lower()
            if isinstance(candidates, list):
                self._finished.update(_finished(candidates))
            if reading.usage is not None and len(self._finished) >= self._facts.choices:
                reading.complete = True

    def _grounded(self, candidates: list[Any]) -> None:
        for candidate in candidates:
            grounded = candidate.get("groundingMetadata") if isinstance(candidate, dict) else None
            if grounded:
                self._searches = self._searches or gemini_searches.Searches()
                self._searches.take(grounded)

    def done(self) -> None:
        reading = self.reading
        if reading.usage is not None and self._searches is not None:
            reading.usage.web_searches_seen = self._searches.charged(reading.model or self._facts.model)
        if not self._facts.stream and reading.usage is not None:
            reading.complete = True


def _finished(candidates: list[Any]) -> list[int]:
    return [count(one.get("index")) or 0 for one in candidates if isinstance(one, dict) and one.get("finishReason")]


def meter(facts: Facts, headers: Sequence[Header]) -> Meter:
    """A meter for a response of this shape: SSE, a streamed array, or one document."""
    reader = GeminiReader(facts)
    form = form_of(headers, facts)
    events = partial(SseMeter, reader, headers, NEEDLES)
    if form == "sse" and header(headers, b"content-type").startswith(b"text/event-stream"):
        return events()
    if not form:
        return SilentMeter(reader, headers)
    if facts.api == "predict":
        return PieceMeter(PredictionReader(), headers)
    if not facts.stream:
        return JsonMeter(reader, headers, DOCUMENT_KEYS)
    elements = partial(FrameMeter, reader, headers, Elements(DOCUMENT_KEYS), NEEDLES)
    return Sniffed(elements, events) if doubtful(headers, facts) else elements()


def clamp(facts: Facts, body: bytes, max_output: int) -> bytes | None:
    """The body with ``generationConfig.maxOutputTokens`` set."""
    if facts.api != "generate_content":
        return None
    document = table(parse(body))
    for key in [name for name in CONFIGS if name in document] or CONFIGS[:1]:
        config = table(document.get(key))
        for name in [name for name in LIMITS if name in config] or LIMITS[:1]:
            body = set_inner(body, key.encode(), name.encode(), b"%d" % max_output)
    return body


def rename(target: bytes, model: str) -> bytes:
    """The target with another model in its path."""
    path, mark, query = target.partition(b"?")
    base, _, rest = path.rpartition(b"/models/")
    operation = rest.rpartition(b":")[2]
    return b"%b/models/%b:%b%b%b" % (base, quote(model, safe="").encode(), operation, mark, query)


STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
}


def refuse(refusal: Refusal) -> Reply:
    """Google's error (google.rpc.Status), with RetryInfo where a window will reopen."""
    headers: list[Header] = [(b"content-type", b"application/json; charset=UTF-8")]
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": refusal.code.upper(), "domain": "spendgate"}
    details: list[dict[str, Any]] = [info]
    if refusal.retry_after_ms is not None:
        seconds = max(1, -(-refusal.retry_after_ms // 1000))
        headers.append((b"retry-after", b"%d" % seconds))
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{seconds}s"})
    if not refusal.retry_helps and refusal.status in (403, 429):
        headers.append((b"x-should-retry", b"false"))
    error = {
        "code": refusal.status,
        "message": refusal.message,
        "status": STATUSES.get(refusal.status, "FAILED_PRECONDITION"),
        "details": details,
    }
    return Reply(refusal.status, headers, msgspec.json.encode({"error": error}))


def cut(facts: Facts, last: bytes) -> bytes | None:
    """A last SSE chunk that says the output limit was reached."""
    if not last.lstrip().startswith(b"data:") or facts.api != "generate_content":
        return None
    candidate = {"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": "MAX_TOKENS", "index": 0}
    chunk = {"candidates": [candidate], "modelVersion": facts.model}
    return b"data: " + msgspec.json.encode(chunk) + b"\r\n\r\n"
