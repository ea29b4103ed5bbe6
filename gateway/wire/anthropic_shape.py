"""Anthropic's messages, as spoken by Anthropic itself, Vertex and Bedrock.

Sources: Anthropic API reference (messages, streaming messages, message batches, errors, rate limits), "Compaction"
(billing: ``usage.iterations``), "Refusals and fallback" (the model that answers).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from gateway.wire.anthropic_iterations import COUNTS, HOUR, answered_by, beside, compactions, hours
from gateway.wire.anthropic_others import compactor, compacts, fallbacks
from gateway.wire.anthropic_tools import NONE, Reach, reach
from gateway.wire.dialect import Header, Meter, Refusal, Reply
from gateway.wire.facts import UNLIMITED, Facts
from gateway.wire.hollow import hollow
from gateway.wire.json_names import Inner
from gateway.wire.json_read import mentions, parse, read_fields
from gateway.wire.meter import JsonMeter, SilentMeter, SseMeter, form_of
from gateway.wire.numbers import count, part, table, text, total, yes
from gateway.wire.sniff import Sniffed, doubtful
from gateway.wire.usage import WAIVED, Reading, Usage

NEEDLES = (b'"usage"', b'"message_stop"', b'"error"')
DOCUMENT_KEYS = ("usage", "model", "error", "type", "stop_reason")
_outside = mentions(
    b'"image"', b'"document"', b'"file_id"', b'"container"', b'"mcp_servers"', b'"web_search', b'"web_fetch',
    b'"code_execution', b'"bash_code', b'"advisor', b'"tool_search', b'"mcp_', b'"url"',
)  # fmt: skip
_has_servers = mentions(b'"mcp_servers"')
OVERHEAD_TOKENS = 1024
"""Tokens around the text: Anthropic states up to 735 for the tool-use system prompt with computer use, 346 without."""
_BLOCK_INDEX = re.compile(rb'"index":\s*(\d{1,6})')


REFUSED = WAIVED + "refused before any output"
CostOf = Callable[[dict[str, Any]], int | None]
LOOP_TURNS = 10
"""Iterations of the loop in which Anthropic runs its tools, then it answers ``pause_turn``: "Handling stop reasons"."""


class MessageBody(msgspec.Struct):
    model: Any = None
    stream: Any = None
    max_tokens: Any = None
    max_tokens_to_sample: Any = None
    service_tier: Any = None
    speed: Any = None
    fallbacks: Any = None
    context_management: Any = None
    compaction: Any = None
    tools: msgspec.Raw = NONE


_BODY: msgspec.json.Decoder[MessageBody] = msgspec.json.Decoder(MessageBody)
_INNER = Inner("max_uses", "max_tokens")
"""Of tools that Anthropic runs."""


def read_message(api: str, model: str, body: bytes, *, stream: bool | None = None) -> Facts:
    """Facts of a messages request; ``model`` and ``stream`` where the path says them (Vertex, Bedrock)."""
    shape = hollow(body)
    fields = read_fields(_BODY, body, shape, _INNER)
    if isinstance(fields, str):
        return Facts(api=api, malformed=fields)
    # text completions have a limit of their own, and messages no other
    limit = count(fields.max_tokens_to_sample if api == "complete" else fields.max_tokens)
    tools = Reach() if fields.tools is NONE else reach(fields.tools)
    loops = tools.open or _has_servers(shape)
    is_open = tools.open or _outside(shape)
    model = model or text(fields.model)
    most = UNLIMITED if limit is None else limit
    others = tools.advisors
    if fields.fallbacks is not None:
        others += fallbacks(fields.fallbacks, most)
    if compacts(fields.context_management, fields.compaction, len(body), is_open):
        others += (compactor(model),)
    return Facts(
        api=api,
        model=model,
        stream=yes(fields.stream) if stream is None else stream,
        billable=api != "count_tokens",
        input_bytes=len(body),
        input_overhead=OVERHEAD_TOKENS + tools.overhead,
        input_open=is_open,
        max_output=most,
        units_bound={"web_search_requests": tools.searches} if tools.searches else {},
        service_tier="fast" if fields.speed == "fast" else text(fields.service_tier, 40),
        turns=LOOP_TURNS if loops else 1,
        unbounded="a web search, or an advisor, may be called without end" if tools.unlimited else "",
        bounded_by="max_uses" if tools.unlimited else "",
        others=others if api != "count_tokens" else (),
    )


def take_usage(usage: dict[str, Any], into: Usage, raw: dict[str, int]) -> None:
    """Take a usage object's numbers, field by field; ``raw`` remembers uncached input across reports.

    ``input_tokens`` leaves cached tokens out (Anthropic, prompt caching), so the total is their sum.
    """
    for name in COUNTS:
        value = count(usage.get(name))
        if value is not None:
            raw[name] = value
    iterations = usage.get("iterations")
    hour = part(usage, "cache_creation", HOUR)
    if hour is None:
        hour = hours(iterations)
    if hour is not None:
        raw[HOUR] = hour
    compacted = compactions(iterations)
    if compacted is not None:
        raw.update({"compaction " + name: value for name, value in compacted.items()})
    used = {name: total(raw.get(name, 0), raw.get("compaction " + name, 0)) for name in (*COUNTS, HOUR)}
    into.cache_write_1h_tokens = used[HOUR]
    into.cache_read_tokens = used["cache_read_input_tokens"]
    into.cache_write_tokens = used["cache_creation_input_tokens"]
    into.input_tokens_total = used["input_tokens"] + into.cache_read_tokens + into.cache_write_tokens
    into.output_tokens_total = used["output_tokens"]
    thinking = part(usage, "output_tokens_details", "thinking_tokens")
    if thinking is not None:
        into.reasoning_tokens = thinking
    searches = part(usage, "server_tool_use", "web_search_requests")
    if searches is not None:
        into.web_search_requests = searches


class MessageReader:
    """Reads a message, or the events of a streamed one."""

    def __init__(self, facts: Facts, *, waives: bool = False, cost_of: CostOf | None = None) -> None:
        self.reading = Reading()
        self.terminal = False
        self._facts = facts
        self._waives = waives
        """A refusal before any output is not charged."""
        self._cost_of = cost_of
        self._refused = False
        self._raw: dict[str, int] = {}
        self._begun = self._summed = False
        """Whether the report that begins a stream, and the one that ends it, have been seen."""

    def frame(self, data: bytes) -> None:
        document = parse(data)
        if isinstance(document, dict):
            self.document(document)

    def document(self, document: dict[str, Any]) -> None:
        kind = document.get("type")
        if kind == "message_stop":
            self.terminal = True
            self.reading.complete = True
        elif kind == "error" or (document.get("error") and kind is None):
            self.reading.failed = True
        inner = document.get("message")
        message = inner if kind == "message_start" and isinstance(inner, dict) else document
        model = message.get("model")
        if isinstance(model, str) and model:
            self.reading.model = text(model)
        if (message.get("stop_reason") or table(message.get("delta")).get("stop_reason")) == "refusal":
            self._refused = True
        usage = message.get("usage")
        if isinstance(usage, dict) and self._facts.api != "count_tokens":
            self._begun = self._begun or kind == "message_start"
            self._summed = self._summed or kind == "message_delta"
            self.take(usage)

    def take(self, usage: dict[str, Any]) -> None:
        reading = self.reading
        if reading.usage is None:
            reading.usage = Usage()
            reading.source = "response"
        take_usage(usage, reading.usage, self._raw)
        others = beside(usage.get("iterations"))
        if others is not None:
            reading.beside = others
            # a stream has begun by then with the name of the model that was asked
            reading.model = answered_by(usage.get("iterations")) or reading.model
        if self._cost_of is not None and (cost := self._cost_of(usage)) is not None:
            reading.reported_cost_nanousd = cost
        tier = "fast" if usage.get("speed") == "fast" else usage.get("service_tier")
        if isinstance(tier, str):
            reading.service_tier = text(tier, 40)
        region = usage.get("inference_geo")
        if isinstance(region, str):
            reading.region = text(region, 40)

    def done(self) -> None:
        self.reading.partial = self._begun and not self._summed
        if self._waives and self._refused and not self._raw.get("output_tokens"):
            self.reading.waived = REFUSED
        if not self._facts.stream and self.reading.usage is not None:
            self.reading.complete = True


def meter(facts: Facts, headers: Sequence[Header], *, waives: bool = False, cost_of: CostOf | None = None) -> Meter:
    """A meter for a message, whole or streamed. ``waives``: a refusal before any output is not charged. ``cost_of``:
    what a usage says that the call cost, in nanodollars."""
    reader = MessageReader(facts, waives=waives, cost_of=cost_of)
    form = "" if facts.api == "count_tokens" else form_of(headers, facts)
    if form == "sse":
        return SseMeter(reader, headers, NEEDLES)
    if form != "json":
        return SilentMeter(reader, headers)
    document = partial(JsonMeter, reader, headers, DOCUMENT_KEYS)
    return Sniffed(document, partial(SseMeter, reader, headers, NEEDLES)) if doubtful(headers, facts) else document()


ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
}


def refuse(refusal: Refusal) -> Reply:
    """Anthropic's error, with its rate-limit headers."""
    headers: list[Header] = [(b"content-type", b"application/json")]
    if refusal.retry_after_ms is not None:
        headers.append((b"retry-after", b"%d" % max(1, -(-refusal.retry_after_ms // 1000))))
        headers.append((b"retry-after-ms", b"%d" % max(1, refusal.retry_after_ms)))
    if not refusal.retry_helps and refusal.status in (403, 429):
        headers.append((b"x-should-retry", b"false"))
    unit = refusal.limits.get("unit", "").replace("_", "-")
    if unit:
        known = [key for key in ("limit", "remaining", "reset") if key in refusal.limits]
        headers += [(f"anthropic-ratelimit-{unit}-{key}".encode(), refusal.limits[key].encode()) for key in known]
    kind = ERROR_TYPES.get(refusal.status, "invalid_request_error")
    error = {"type": "error", "error": {"type": kind, "message": refusal.message}}
    return Reply(refusal.status, headers, msgspec.json.encode(error))


def cut(last: bytes) -> bytes:
    """Events that end a message for lack of room, the open block first."""
    delta = {"stop_reason": "max_tokens", "stop_sequence": None}
    events: list[dict[str, Any]] = [
        {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 0}},
        {"type": "message_stop"},
    ]
    opened = max(last.rfind(b'"content_block_start"'), last.rfind(b'"content_block_delta"'))
    if opened > last.rfind(b'"content_block_stop"'):
        found = _BLOCK_INDEX.findall(last)
        events.insert(0, {"type": "content_block_stop", "index": int(found[-1]) if found else 0})
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (str(event["type"]).encode(), msgspec.json.encode(event)) for event in events
    )
