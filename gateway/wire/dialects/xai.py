"""xAI. Reasoning is billed as output but stands beside ``completion_tokens``; every chunk carries the usage so far.

Speech (``/v1/tts``, billed by the characters of ``text``) and transcription (``/v1/stt``, by the recording's length,
which the answer tells) name no model: they go by ``grok-tts`` and ``grok-stt``. A chat completion that is ``deferred``
is answered by an id alone, and can be fetched once. So is a video; what is fetched tells what it cost, and no more.

Sources: https://docs.x.ai/docs/guides/reasoning, https://docs.x.ai/docs/guides/deferred-chat-completions; Google Cloud,
"Reasoning for Grok models" (``reasoning_tokens`` is separate from ``completion_tokens``);
https://docs.x.ai/docs/guides/live-search (billed by the source); https://docs.x.ai/developers/tools/tool-usage-details,
https://docs.x.ai/developers/pricing (web searches are billed by the call); recorded answers with what they cost;
recorded sessions of the realtime API (usage beside the response, with the seconds that are billed) and recorded answers
of ``/v1/tts``, ``/v1/stt`` and ``/v1/videos``.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import msgspec

from gateway.wire.facts import Facts
from gateway.wire.json_read import mentions, read_fields
from gateway.wire.numbers import EXACT, count, part, text
from gateway.wire.openai_later import tokenless
from gateway.wire.openai_shape import OpenAIShape, read_usage
from gateway.wire.openai_usage import milliseconds
from gateway.wire.paths import plain_path
from gateway.wire.usage import Reading, Usage

TICKS_PER_NANOUSD = 10
SOURCES = 50
"""The most that ``max_search_results`` takes."""
_LATER = re.compile(r"/(?P<kind>chat/deferred-completion|videos)/(?P<name>[^/]+)$").search
VOICES = {"speech": "grok-tts", "transcriptions": "grok-stt"}


class Spoken(msgspec.Struct):
    text: Any = None


_SPOKEN: msgspec.json.Decoder[Spoken] = msgspec.json.Decoder(Spoken)
searches_in = mentions(b'"search_parameters')


def _voice(facts: Facts, body: bytes) -> None:
    # whatever the request names: nothing there chooses a model
    facts.model = VOICES[facts.api]
    if facts.api == "speech":
        fields = read_fields(_SPOKEN, body)
        spoken = None if isinstance(fields, str) else fields.text
        facts.units_bound = {"input_characters": len(spoken) if isinstance(spoken, str) else len(body)}


class XAI(OpenAIShape):
    __slots__ = ()

    kind = "xai"
    price_as = "xai"
    base_url = "https://api.x.ai"
    asks = frozenset()
    operations = {
        **OpenAIShape.operations,
        "/tts": "speech",
        "/stt": "transcriptions",
        "/videos/generations": "videos",
        "/videos/edits": "videos",
    }
    outputless = OpenAIShape.outputless | {"videos"}
    document_keys = ("request_id", "video")

    def fetch(self, method: bytes, target: bytes) -> Facts | None:
        found = _LATER(plain_path(target)) if method == b"GET" else None
        if found is None:
            return None
        api = "videos" if found["kind"] == "videos" else "chat"
        return Facts(api=api, fetches=True, claim=text(found["name"]))

    def claim(self, document: dict[str, Any]) -> str:
        return "" if "id" in document else text(document.get("request_id"))

    def read(self, method: bytes, target: bytes, content_type: bytes, body: bytes) -> Facts:
        facts = super().read(method, target, content_type, body)
        if facts.api == "videos":
            tokenless(facts)
        if (facts.unbounded and facts.api in ("chat", "responses")) or searches_in(body):
            facts.units_bound = {"web_search_requests": SOURCES}
        if facts.api in VOICES and facts.billable and plain_path(target).endswith(("/tts", "/stt")):
            _voice(facts, body)
        return facts

    def take_usage(self, usage: dict[str, Any], document: dict[str, Any], into: Usage, reading: Reading) -> bool:
        seen = read_usage(usage, into)
        said = count(usage.get("completion_tokens"))
        reasoning = part(usage, "completion_tokens_details", "reasoning_tokens")
        if said is not None and reasoning and not self._inside(usage, said, into):
            into.output_tokens_total = said + reasoning
        ticks = count(usage.get("cost_in_usd_ticks"), EXACT)
        if ticks is not None:
            reading.reported_cost_nanousd = round(Decimal(ticks) / TICKS_PER_NANOUSD)
        seconds = milliseconds(usage.get("billable_audio_seconds"))
        if seconds is not None:
            into.audio_milliseconds = seconds
        searches = part(usage, "server_side_tool_usage_details", "web_search_calls")
        if searches is None:
            searches = count(usage.get("num_sources_used"))
        if searches is not None:
            into.web_search_requests = searches
        return seen or (ticks is not None and "video" in document)

    @staticmethod
    def _inside(usage: dict[str, Any], said: int, into: Usage) -> bool:
        """True where the total says that nothing stands beside ``completion_tokens``."""
        return count(usage.get("total_tokens")) == into.input_tokens_total + said


DIALECT = XAI()
