"""Ollama: its native API and its OpenAI-compatible one.

Sources: ollama/ollama, docs/api.md, docs/openai.md, api/types.go (``PromptEvalCachedCount``: prompt tokens read from
the cache) and llm/llama_server.go (``prompt_eval_count`` holds them); LogneBudo/llmxray, release notes of 0.5.1
(measured with Ollama 0.33.3: 37 of 38 prompt tokens cached).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec

from gateway.wire.dialect import Auth, Header, Meter, Refusal, Reply
from gateway.wire.facts import UNLIMITED, Facts
from gateway.wire.framing.ndjson import Lines
from gateway.wire.hollow import hollow
from gateway.wire.json_edit import set_inner, set_value
from gateway.wire.json_names import Inner
from gateway.wire.json_read import mentions, parse, read_fields
from gateway.wire.meter import FrameMeter, SilentMeter, form_of
from gateway.wire.numbers import count, table, text
from gateway.wire.openai_shape import OpenAIShape, retry_headers
from gateway.wire.paths import plain_path
from gateway.wire.usage import Reading, Usage

OPERATIONS = {
    "/api/chat": "ollama_chat",
    "/api/generate": "ollama_generate",
    "/api/embed": "ollama_embed",
    "/api/embeddings": "ollama_embed",
}


DOCUMENT_KEYS = ("model", "done", "error", "prompt_eval_count", "prompt_eval_cached_count", "eval_count")


class OllamaBody(msgspec.Struct):
    model: Any = None
    stream: Any = None
    options: Any = None
    images: Any = None


_outside = mentions(b'"images"', b'"context"')
_BODY: msgspec.json.Decoder[OllamaBody] = msgspec.json.Decoder(OllamaBody)
_INNER = Inner("num_predict")


class OllamaOpenAI(OpenAIShape):
    __slots__ = ()

    limits = {**OpenAIShape.limits, "chat": ("max_tokens",)}
    kind = "ollama"
    price_as = "ollama"


OPENAI = OllamaOpenAI()
OPENAI_APIS = frozenset(OPENAI.operations.values())


class OllamaReader:
    """The last line of an answer counts. Old versions leave ``prompt_eval_count`` out where the prompt was cached."""

    def __init__(self, facts: Facts) -> None:
        self.reading = Reading()
        self.terminal = False
        self._facts = facts

    def frame(self, data: bytes) -> None:
        document = parse(data)
        if not isinstance(document, dict):
            return
        reading = self.reading
        if document.get("error"):
            reading.failed = True
        if document.get("done") is True:
            self.terminal = reading.complete = True
        model = document.get("model")
        if isinstance(model, str) and model:
            reading.model = text(model)
        tokens_in, tokens_out = count(document.get("prompt_eval_count")), count(document.get("eval_count"))
        if tokens_in is None and tokens_out is None:
            return
        if reading.usage is None:
            reading.usage = Usage()
            reading.source = "response"
        if tokens_in is not None:
            reading.usage.input_tokens_total = tokens_in
            # a part cannot be more than the whole, whatever a version of it means
            cached = count(document.get("prompt_eval_cached_count")) or 0
            reading.usage.cache_read_tokens = min(cached, tokens_in)
        if tokens_out is not None:
            reading.usage.output_tokens_total = tokens_out

    def done(self) -> None:
        if not self._facts.stream and self.reading.usage is not None:
            self.reading.complete = True


class Ollama:
    __slots__ = ()

    kind: ClassVar[str] = "ollama"
    price_as: ClassVar[str] = "ollama"
    base_url: ClassVar[str] = "http://localhost:11434"
    auth: ClassVar[Auth] = Auth()
    regional_host: ClassVar[str] = ""
    vocabularies: ClassVar[tuple[str, ...]] = ("o200k_base",)

    def read(self, method: bytes, target: bytes, content_type: bytes, body: bytes) -> Facts:
        path = plain_path(target)
        api = OPERATIONS.get(path[max(0, path.rfind("/", 0, path.rfind("/"))) :])
        if api is None:
            return OPENAI.read(method, target, content_type, body)
        if method != b"POST":
            return Facts()
        shape = hollow(body)
        fields = read_fields(_BODY, body, shape, _INNER)
        if isinstance(fields, str):
            return Facts(api=api, malformed=fields)
        # 0 is no limit, as a negative number is none
        limit = count(table(fields.options).get("num_predict")) or UNLIMITED
        return Facts(
            api=api,
            model=text(fields.model),
            # native streams are the default
            stream=api != "ollama_embed" and fields.stream is not False,
            billable=True,
            input_bytes=len(body),
            input_overhead=1024,
            # it is written in Go, which takes names in any case
            input_open=_outside(shape.lower()),
            max_output=limit,
            output_free=api == "ollama_embed",
        )

    def prepare(self, facts: Facts, target: bytes, body: bytes) -> bytes:
        return OPENAI.prepare(facts, target, body)

    def clamp(self, facts: Facts, body: bytes, max_output: int) -> bytes | None:
        if facts.api in OPENAI_APIS:
            return OPENAI.clamp(facts, body, max_output)
        if facts.output_free:
            return None
        return set_inner(body, b"options", b"num_predict", b"%d" % max_output)

    def rename_model(self, facts: Facts, target: bytes, body: bytes, model: str) -> tuple[bytes, bytes]:
        return target, set_value(body, b"model", msgspec.json.encode(model))

    def meter(self, facts: Facts, status: int, headers: Sequence[Header]) -> Meter:
        if facts.api in OPENAI_APIS:
            return OPENAI.meter(facts, status, headers)
        reader = OllamaReader(facts)
        if form_of(headers, facts):
            # one document or many: the last line holds the counts
            return FrameMeter(reader, headers, Lines(DOCUMENT_KEYS), (b"eval_count", b'"done":true', b'"error"'))
        return SilentMeter(reader, headers)

    def refuse(self, refusal: Refusal, facts: Facts) -> Reply:
        if facts.api in OPENAI_APIS:
            return OPENAI.refuse(refusal, facts)
        return Reply(refusal.status, retry_headers(refusal), msgspec.json.encode({"error": refusal.message}))

    def cut(self, facts: Facts, last: bytes) -> bytes | None:
        if facts.api in OPENAI_APIS:
            return OPENAI.cut(facts, last)
        said: dict[str, Any] = {"model": facts.model, "done": True, "done_reason": "length"}
        said |= {"message": {"role": "assistant", "content": ""}} if facts.api == "ollama_chat" else {"response": ""}
        return msgspec.json.encode(said) + b"\n"


DIALECT = Ollama()
