"""Vertex AI: Google's models, Anthropic's, and those behind its OpenAI-compatible endpoint.

Sources: Vertex AI REST reference (publishers.models.generateContent, rawPredict, endpoints/openapi), "Mistral OCR"
(up to 30 pages a request; it answers as Mistral's own API does), Agent Platform REST reference
(projects.locations.interactions, which report as Gemini's do: ``GenaiVertexV1beta1InteractionUsage``), python-genai
(``_build_maybe_vertex_path``: where its SDK looks for interactions).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from gateway.wire import anthropic_shape, gemini_interactions, gemini_shape
from gateway.wire.dialect import Auth, Header, Meter, Refusal, Reply
from gateway.wire.facts import Facts
from gateway.wire.google_parameters import hides_usage
from gateway.wire.json_edit import set_value
from gateway.wire.numbers import count, text
from gateway.wire.paths import plain_path
from gateway.wire.usage import Reading, Usage

_LOCATION = re.compile(r"/locations/([a-z0-9-]{1,40})/")
_RAW = re.compile(r"/publishers/([^/]+)/models/([^/:]+):(rawPredict|streamRawPredict|countTokens)$")


class VertexOpenAI(gemini_shape.GoogleOpenAI):
    """``endpoints/openapi`` and the partners that speak OpenAI's shape. One of them reads documents, by the page."""

    __slots__ = ()

    kind = "vertex"
    price_as = "vertex"

    def usage_of(self, document: dict[str, Any]) -> Any:
        return super().usage_of(document) or document.get("usage_info")

    def take_usage(self, usage: dict[str, Any], document: dict[str, Any], into: Usage, reading: Reading) -> bool:
        seen = super().take_usage(usage, document, into, reading)
        pages = count(usage.get("pages_processed"))
        if pages is not None:
            into.pages = pages
        return seen or pages is not None


OCR_PAGES = 30
STREAM = "/interactions:createStream"
OPENAI = VertexOpenAI()
OPENAI_APIS = frozenset(OPENAI.operations.values()) - {"count_tokens", "messages"}


class Vertex:
    __slots__ = ()

    kind: ClassVar[str] = "vertex"
    price_as: ClassVar[str] = "vertex"
    base_url: ClassVar[str] = ""
    auth: ClassVar[Auth] = Auth()
    regional_host: ClassVar[str] = r"([a-z0-9-]+)-aiplatform\.googleapis\.com|aiplatform\.(us|eu)\.rep\.googleapis\.com"
    vocabularies: ClassVar[tuple[str, ...]] = ("o200k_base",)

    def read(self, method: bytes, target: bytes, content_type: bytes, body: bytes) -> Facts:
        path = plain_path(target)
        facts = gemini_interactions.fetched(method, target)
        if facts is None:
            if method != b"POST":
                return Facts()
            facts = self._read(path, method, target, content_type, body)
            facts.hidden = facts.billable and hides_usage(target)
        place = _LOCATION.search(path)
        if place:
            facts.region = place[1]
        return facts

    def _read(self, path: str, method: bytes, target: bytes, content_type: bytes, body: bytes) -> Facts:
        if "/endpoints/openapi/" in path:
            return OPENAI.read(method, target, content_type, body)
        if path.endswith(("/interactions", STREAM)):
            facts = gemini_interactions.read(body, "interactions")
            facts.stream = facts.stream or path.endswith(STREAM)
            return facts
        raw = _RAW.search(path)
        if raw and raw[3] != "countTokens":
            return self._read_raw(raw[1], text(raw[2]), raw[3] == "streamRawPredict", body)
        model, operation = gemini_shape.split_operation(path)
        return gemini_shape.read_generate(operation, model, body)

    def _read_raw(self, publisher: str, model: str, stream: bool, body: bytes) -> Facts:
        if publisher == "anthropic":
            if model == "count-tokens":
                return anthropic_shape.read_message("count_tokens", model, body)
            # the stream flag decides, as the body says it too
            return anthropic_shape.read_message("messages", model, body, stream=stream)
        facts = OPENAI.read(b"POST", b"/chat/completions", b"application/json", body)
        # the model of the path answers, whatever the body names
        facts.model = model
        # Mistral refuses stream_options, and reports unasked
        facts.asks_usage = True
        if "-ocr-" in model:
            facts.input_open = facts.output_free = True
            facts.units_bound = {"pages": OCR_PAGES}
        return facts

    def prepare(self, facts: Facts, target: bytes, body: bytes) -> bytes:
        return OPENAI.prepare(facts, target, body)

    def clamp(self, facts: Facts, body: bytes, max_output: int) -> bytes | None:
        if facts.api == "messages":
            return set_value(body, b"max_tokens", b"%d" % max_output)
        if facts.api in OPENAI_APIS:
            return OPENAI.clamp(facts, body, max_output)
        if facts.api == "interactions":
            return gemini_interactions.clamp(body, max_output)
        return gemini_shape.clamp(facts, body, max_output)

    def rename_model(self, facts: Facts, target: bytes, body: bytes, model: str) -> tuple[bytes, bytes]:
        if facts.api in OPENAI_APIS:
            return OPENAI.rename_model(facts, target, body, model)
        if facts.api == "interactions":
            return target, gemini_interactions.rename(body, model)
        return gemini_shape.rename(target, model), body

    def meter(self, facts: Facts, status: int, headers: Sequence[Header]) -> Meter:
        if facts.api in ("messages", "count_tokens"):
            return anthropic_shape.meter(facts, headers)
        if facts.api in OPENAI_APIS:
            return OPENAI.meter(facts, status, headers)
        if facts.api == "interactions":
            return gemini_interactions.meter(facts, headers)
        return gemini_shape.meter(facts, headers)

    def refuse(self, refusal: Refusal, facts: Facts) -> Reply:
        if facts.api in ("messages", "count_tokens"):
            return anthropic_shape.refuse(refusal)
        if facts.api in OPENAI_APIS:
            return OPENAI.refuse(refusal, facts)
        return gemini_shape.refuse(refusal)

    def cut(self, facts: Facts, last: bytes) -> bytes | None:
        if facts.api == "messages":
            return anthropic_shape.cut(last)
        if facts.api in OPENAI_APIS:
            return OPENAI.cut(facts, last)
        return gemini_shape.cut(facts, last)


DIALECT = Vertex()
