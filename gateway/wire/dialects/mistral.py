"""Mistral: chat, FIM, agents, embeddings, OCR, transcription. Sources: https://docs.mistral.ai/api;
https://docs.mistral.ai/inference/regional-inference (hosts).

Streams report usage in their last chunk, unasked. The usage names the tier that served: one that was asked for
(https://docs.mistral.ai/inference/priority-tier) may be out of reach.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from gateway.wire.dialect import Refusal, Reply
from gateway.wire.facts import SEARCHES, Facts
from gateway.wire.json_read import mentions
from gateway.wire.numbers import count, table, text
from gateway.wire.openai_forms import heard
from gateway.wire.openai_shape import OpenAIShape, read_usage, retry_headers
from gateway.wire.usage import Reading, Usage

_CONTINUED = re.compile(r"/conversations/[^/]+(/restart)?$")


heard_in = mentions(b'"input_audio')


class Mistral(OpenAIShape):
    __slots__ = ()

    kind = "mistral"
    price_as = "mistral"
    base_url = "https://api.mistral.ai"
    regional_host = r"api\.([a-z]+)\.mistral\.ai"
    operations = {
        **OpenAIShape.operations,
        "/fim/completions": "fim",
        "/agents/completions": "chat",
        "/ocr": "ocr",
        "/classifications": "moderations",
        "/chat/classifications": "moderations",
        "/chat/moderations": "moderations",
        "/conversations": "conversations",
    }
    asks = frozenset()
    jobs = "/batch/jobs"

    def operation(self, method: bytes, path: str) -> str:
        if method == b"POST" and _CONTINUED.search(path):
            # a conversation that goes on, or begins anew from one of its entries
            return "conversations"
        return super().operation(method, path)

    outputless = OpenAIShape.outputless | {"ocr"}

    def read(self, method: bytes, target: bytes, content_type: bytes, body: bytes) -> Facts:
        facts = super().read(method, target, content_type, body)
        if facts.api == "ocr":
            facts.input_open = True
            facts.units_bound = {"pages": 1000}
        elif facts.api == "conversations":
            facts.input_open = True
            facts.unbounded = "a conversation's connectors may be called without end"
        if facts.input_open and facts.api in ("chat", "conversations"):
            facts.units_bound = {"web_search_requests": SEARCHES}
            if heard_in(body):
                heard(facts, True)
        return facts

    def usage_of(self, document: dict[str, Any]) -> Any:
        return document.get("usage") or document.get("usage_info")

    def take_usage(self, usage: dict[str, Any], document: dict[str, Any], into: Usage, reading: Reading) -> bool:
        seen = read_usage(usage, into)
        tier = usage.get("service_tier")
        if isinstance(tier, str):
            reading.service_tier = text(tier, 40)
        pages = count(usage.get("pages_processed"))
        if pages is not None:
            into.pages = pages
            seen = True
        seconds = count(usage.get("prompt_audio_seconds"))
        if seconds:
            # sound is billed by its length; its tokens stand beside the prompt's and are not billed again
            into.audio_milliseconds = seconds * 1000
            into.input_audio_tokens = 0
        brought = count(usage.get("connector_tokens"))
        if brought and count(usage.get("total_tokens")) == into.input_tokens_total + into.output_tokens_total + brought:
            # what connectors brought was read as input; it stands beside the prompt's tokens
            into.input_tokens_total += brought
        searches = count(table(usage.get("connectors")).get("web_search"))
        if searches is not None:
            into.web_search_requests = searches
        return seen

    def refuse(self, refusal: Refusal, facts: Facts) -> Reply:
        error: dict[str, Any] = {
            "object": "error",
            "message": refusal.message,
            "type": "rate_limited" if refusal.status == 429 else "invalid_request_error",
            "param": None,
            "code": refusal.code,
            "raw_status_code": refusal.status,
        }
        if refusal.status == 401:
            # what Mistral's own answer holds, beside what readers of its errors look for
            error["detail"] = refusal.message
        return Reply(refusal.status, retry_headers(refusal), msgspec.json.encode(error))


DIALECT = Mistral()
