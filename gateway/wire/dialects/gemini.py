"""Google's Gemini API, and its OpenAI-compatible paths. Source: https://ai.google.dev/api"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from gateway.wire import gemini_batches, gemini_interactions, gemini_shape
from gateway.wire.batches import SUMMED
from gateway.wire.dialect import Auth, Header, Meter, Refusal, Reply
from gateway.wire.facts import Facts
from gateway.wire.google_parameters import hides_usage
from gateway.wire.paths import plain_path


class GeminiOpenAI(gemini_shape.GoogleOpenAI):
    """The OpenAI-compatible API below ``/v1beta/openai``."""

    __slots__ = ()

    kind = "gemini"
    price_as = "gemini"


OPENAI = GeminiOpenAI()
OPENAI_APIS = frozenset(OPENAI.operations.values()) - {"count_tokens"}


INTERACTIONS = ("interactions", "decisions")
"""Operations that report as interactions do."""


class Gemini:
    __slots__ = ()

    kind: ClassVar[str] = "gemini"
    price_as: ClassVar[str] = "gemini"
    base_url: ClassVar[str] = "https://generativelanguage.googleapis.com"
    auth: ClassVar[Auth] = Auth(b"x-goog-api-key", b"")
    regional_host: ClassVar[str] = ""
    vocabularies: ClassVar[tuple[str, ...]] = ()

    def read(self, method: bytes, target: bytes, content_type: bytes, body: bytes) -> Facts:
        facts = self._read(method, target, content_type, body)
        facts.hidden = facts.billable and hides_usage(target)
        return facts

    def _read(self, method: bytes, target: bytes, content_type: bytes, body: bytes) -> Facts:
        path = plain_path(target)
        if "/openai/" in path:
            return OPENAI.read(method, target, content_type, body)
        found = gemini_interactions.fetched(method, target) or gemini_batches.fetched(method, target)
        if found is not None:
            return found
        if method != b"POST":
            return Facts()
        if path.endswith(("/interactions", "/decisions")):
            return gemini_interactions.read(body, path[path.rfind("/") + 1 :])
        model, operation = gemini_shape.split_operation(path)
        if operation in gemini_batches.OPERATIONS:
            return gemini_batches.begun(model, body)
        return gemini_shape.read_generate(operation, model, body)

    def prepare(self, facts: Facts, target: bytes, body: bytes) -> bytes:
        return OPENAI.prepare(facts, target, body)

    def clamp(self, facts: Facts, body: bytes, max_output: int) -> bytes | None:
        if facts.api in OPENAI_APIS:
            return OPENAI.clamp(facts, body, max_output)
        if facts.api == "interactions":
            return gemini_interactions.clamp(body, max_output)
        if facts.api == "decisions":
            return None
        return gemini_shape.clamp(facts, body, max_output)

    def rename_model(self, facts: Facts, target: bytes, body: bytes, model: str) -> tuple[bytes, bytes]:
        if facts.api in OPENAI_APIS:
            return OPENAI.rename_model(facts, target, body, model)
        if facts.api in INTERACTIONS:
            return target, gemini_interactions.rename(body, model)
        return gemini_shape.rename(target, model), body

    def meter(self, facts: Facts, status: int, headers: Sequence[Header]) -> Meter:
        if facts.api in OPENAI_APIS:
            return OPENAI.meter(facts, status, headers)
        if facts.api in INTERACTIONS:
            return gemini_interactions.meter(facts, headers)
        if facts.api in SUMMED:
            return gemini_batches.meter(facts, status, headers)
        return gemini_shape.meter(facts, headers)

    def refuse(self, refusal: Refusal, facts: Facts) -> Reply:
        if facts.api in OPENAI_APIS:
            return OPENAI.refuse(refusal, facts)
        return gemini_shape.refuse(refusal)

    def cut(self, facts: Facts, last: bytes) -> bytes | None:
        if facts.api in OPENAI_APIS:
            return OPENAI.cut(facts, last)
        return gemini_shape.cut(facts, last)


DIALECT = Gemini()
