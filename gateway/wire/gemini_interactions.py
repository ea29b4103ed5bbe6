"""Gemini's Interactions API, whole and streamed, and its decisions, which report as interactions do.

Sources: https://ai.google.dev/api/interactions-api (Interaction, Usage, InteractionSseEvent); python-genai
(``CreateDecisionRequest``: the input is "evaluated once across all decision questions"). ``total_input_tokens``
holds cached tokens; tool use comes on top of it, thoughts come on top of ``total_output_tokens``;
``grounding_tool_count`` counts searches.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from gateway.wire import gemini_interaction_forms, gemini_searches
from gateway.wire.dialect import Header, Meter
from gateway.wire.facts import UNLIMITED, Facts
from gateway.wire.framing.json_array import ElementsOrDocument
from gateway.wire.gemini_shape import OUTSIDE, OVERHEAD_TOKENS
from gateway.wire.hollow import hollow
from gateway.wire.json_edit import set_inner, set_value
from gateway.wire.json_names import Inner
from gateway.wire.json_read import mentions, parse, read_fields
from gateway.wire.meter import FrameMeter, JsonMeter, SilentMeter, SseMeter, form_of
from gateway.wire.numbers import count, table, text
from gateway.wire.paths import plain_path, query_value
from gateway.wire.sniff import Sniffed, doubtful
from gateway.wire.usage import Reading, Usage

NEEDLES = (b'"usage"', b'"error"', b'"interaction.completed"', b'"interaction.complete"', b"[DONE]", b'"errorEvent"')
DOCUMENT_KEYS = ("usage", "model", "agent", "error", "service_tier", "status", "id", "serviceTier",
                 "modelInteraction/model", "agentInteraction/agent")  # fmt: skip
EVENT_KEYS = tuple(f"interactionCompletedEvent/interaction/{name}" for name in DOCUMENT_KEYS)
_INTERACTION = re.compile(r"/interactions/(?!live$)[^/:]+(?P<cancel>/cancel)?$").search
ELSEWHERE = (b'"previous_interaction_id"', b'"agent"', b'"uri"', b'"mcp_server"', b'"file_search"', b'"computer_use"',
             b'"data"', b'"previousInteractionId"', b'"agentInteraction"', b'"agent_interaction"', b'"mcpServer"',
             b'"computerUse"')  # fmt: skip
_outside = mentions(*OUTSIDE, *ELSEWHERE)
AGENT_SEARCHES = 200
"""Searches of one research; Google documents no maximum and speaks of up to about 160."""
ENDS = frozenset(("interaction.completed", "interaction.complete"))
_MODALITIES = (("input_tokens_by_modality", "audio", "input_audio_tokens"),
               ("input_tokens_by_modality", "video", "input_video_tokens"),
               ("output_tokens_by_modality", "audio", "output_audio_tokens"),
               ("output_tokens_by_modality", "image", "output_image_tokens"),
               ("cached_tokens_by_modality", "audio", "cache_read_audio_tokens"))  # fmt: skip


class Body(msgspec.Struct):
    model: Any = None
    agent: Any = None
    stream: Any = None
    generation_config: Any = None
    service_tier: Any = None
    tools: Any = None
    interaction: Any = None
    """All of it, in the other form."""


_BODY: msgspec.json.Decoder[Body] = msgspec.json.Decoder(Body)
_INNER = Inner("max_output_tokens", "maxOutputTokens")
_ASKED = ("model", "agent", "generation_config", "service_tier", "tools")


def read(body: bytes, api: str) -> Facts:
    """Facts of a request that makes an interaction, or a decision."""
    shape = hollow(body)
    fields = read_fields(_BODY, body, shape, _INNER)
    if isinstance(fields, str):
        return Facts(api=api, malformed=fields)
    if isinstance(fields.interaction, dict):
        asked = gemini_interaction_forms.plain(fields.interaction)
        fields = Body(stream=fields.stream, **{name: asked[name] for name in _ASKED if name in asked})
    limit = count(table(fields.generation_config).get("max_output_tokens"))
    model = text(fields.model).removeprefix("models/") or text(fields.agent)
    searches = gemini_searches.searches_bound(model, shape)
    if fields.agent is not None:
        searches = max(searches, AGENT_SEARCHES)
    return Facts(
        api=api,
        model=model,
        stream=fields.stream is True,
        billable=True,
        input_bytes=len(body),
        input_overhead=OVERHEAD_TOKENS,
        input_open=_outside(shape),
        max_output=limit or UNLIMITED,
        units_bound={gemini_searches.BOUND: searches} if searches else {},
        service_tier=text(fields.service_tier, 40),
        unbounded="tools that Google runs may be called without end" if _runs_tools(fields) else "",
    )


def _runs_tools(fields: Body) -> bool:
    """An agent has tools of its own; a tool that is no function of the caller's is Google's."""
    if fields.agent is not None or fields.tools is None:
        return fields.agent is not None
    tools = fields.tools if isinstance(fields.tools, list) else [None]
    return any(table(tool).get("type") != "function" for tool in tools)


def fetched(method: bytes, target: bytes) -> Facts | None:
    """Facts of a call that fetches an interaction that was made before, or cancels it; None for any other call.

    One that runs in the background (``background: true``, which agents need) is answered at once, without usage.
    """
    found = _INTERACTION(plain_path(target))
    if found is None or method != (b"POST" if found["cancel"] else b"GET"):
        return None
    return Facts(api="interactions", stream=query_value(target, b"stream") == b"true", fetches=True)


def clamp(body: bytes, max_output: int) -> bytes | None:
    """The body with ``generation_config.max_output_tokens`` set; None where its form has no place for it."""
    value = b"%d" % max_output
    if gemini_interaction_forms.within(body) is not None:
        return gemini_interaction_forms.clamp(body, value)
    return set_inner(body, b"generation_config", b"max_output_tokens", value)


def rename(body: bytes, model: str) -> bytes:
    """The body with another model."""
    value = msgspec.json.encode(model)
    return gemini_interaction_forms.rename(body, value) or set_value(body, b"model", value)


class InteractionReader:
    """Reads an interaction, or the events of a streamed one."""

    def __init__(self, facts: Facts) -> None:
        self.reading = Reading()
        self.terminal = False
        self._facts = facts
        self._raw: dict[str, int] = {}

    def frame(self, data: bytes) -> None:
        if data == b"[DONE]":
            self.terminal = self.reading.complete = True
            return
        event = gemini_interaction_forms.plain_event(table(parse(data)))
        reading = self.reading
        if event.get("event_type") in ENDS:
            reading.complete = True
        inner = event.get("interaction")
        document = inner if isinstance(inner, dict) else event
        if event.get("error") or document.get("error") or document.get("status") == "failed":
            reading.failed = True
        model = text(document.get("model")) or text(document.get("agent"))
        if model:
            reading.model = model
        tier = document.get("service_tier")
        if isinstance(tier, str):
            reading.service_tier = text(tier, 40)
        # no answer says whether it was made in the background: any that is kept can be fetched
        reading.claim = text(document.get("id")) or reading.claim
        usage = document.get("usage")
        if isinstance(usage, dict) and document.get("status") != "in_progress":
            self._take(usage)

    def _take(self, usage: dict[str, Any]) -> None:
        raw = self._raw
        names = ("total_input_tokens", "total_tool_use_tokens", "total_output_tokens", "total_thought_tokens",
                 "total_cached_tokens")  # fmt: skip
        found = {name: value for name in names if (value := count(usage.get(name))) is not None}
        if not found:
            return
        raw.update(found)
        reading = self.reading
        into = reading.usage = reading.usage or Usage()
        reading.source = "response"
        into.input_tokens_total = raw.get("total_input_tokens", 0) + raw.get("total_tool_use_tokens", 0)
        into.reasoning_tokens = raw.get("total_thought_tokens", 0)
        into.output_tokens_total = raw.get("total_output_tokens", 0) + into.reasoning_tokens
        into.cache_read_tokens = raw.get("total_cached_tokens", 0)
        for tool in usage["grounding_tool_count"] if isinstance(usage.get("grounding_tool_count"), list) else ():
            searches = count(table(tool).get("count"))
            if searches is not None and str(table(tool).get("type")).lower() == "google_search":
                into.web_search_requests = searches
        for key, modality, field in _MODALITIES:
            for item in usage[key] if isinstance(usage.get(key), list) else ():
                tokens = count(table(item).get("tokens"))
                if tokens is not None and str(table(item).get("modality")).lower() == modality:
                    setattr(into, field, tokens)

    def done(self) -> None:
        if not self._facts.stream and self.reading.usage is not None:
            self.reading.complete = True


def meter(facts: Facts, headers: Sequence[Header]) -> Meter:
    """A meter for an interaction, whole or streamed."""
    reader = InteractionReader(facts)
    form = form_of(headers, facts)
    if form == "sse":
        return SseMeter(reader, headers, NEEDLES)
    if form != "json":
        return SilentMeter(reader, headers)
    if not facts.stream:
        return JsonMeter(reader, headers, DOCUMENT_KEYS)
    # not asked for as events, a stream of the other form is an array
    array = partial(FrameMeter, reader, headers, ElementsOrDocument(EVENT_KEYS, DOCUMENT_KEYS), NEEDLES)
    return Sniffed(array, partial(SseMeter, reader, headers, NEEDLES)) if doubtful(headers, facts) else array()
