"""The built-in provider: speaks OpenAI's, Anthropic's and Gemini's dialects, told apart by path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from gateway.wire.dialect import Auth, Dialect, Header, Meter, Refusal, Reply
from gateway.wire.dialects.anthropic import DIALECT as ANTHROPIC
from gateway.wire.dialects.gemini import DIALECT as GEMINI
from gateway.wire.dialects.openai import DIALECT as OPENAI
from gateway.wire.facts import Facts
from gateway.wire.paths import plain_path


class Simulated:
    __slots__ = ()

    kind: ClassVar[str] = "simulated"
    price_as: ClassVar[str] = "simulated"
    base_url: ClassVar[str] = ""
    auth: ClassVar[Auth] = Auth()
    regional_host: ClassVar[str] = ""
    vocabularies: ClassVar[tuple[str, ...]] = ()

    def read(self, method: bytes, target: bytes, content_type: bytes, body: bytes) -> Facts:
        return self._by_path(plain_path(target)).read(method, target, content_type, body)

    def prepare(self, facts: Facts, target: bytes, body: bytes) -> bytes:
        return self._by_api(facts).prepare(facts, target, body)

    def clamp(self, facts: Facts, body: bytes, max_output: int) -> bytes | None:
        return self._by_api(facts).clamp(facts, body, max_output)

    def rename_model(self, facts: Facts, target: bytes, body: bytes, model: str) -> tuple[bytes, bytes]:
        return self._by_api(facts).rename_model(facts, target, body, model)

    def meter(self, facts: Facts, status: int, headers: Sequence[Header]) -> Meter:
        return self._by_api(facts).meter(facts, status, headers)

    def refuse(self, refusal: Refusal, facts: Facts) -> Reply:
        return self._by_api(facts).refuse(refusal, facts)

    def cut(self, facts: Facts, last: bytes) -> bytes | None:
        return self._by_api(facts).cut(facts, last)

    def _by_path(self, path: str) -> Dialect:
        if "/models/" in path and ":" in path:
            return GEMINI
        if path.endswith(("/messages", "/messages/count_tokens")):
            return ANTHROPIC
        return OPENAI

    def _by_api(self, facts: Facts) -> Dialect:
        if facts.api in ("generate_content", "gemini_embed", "predict"):
            return GEMINI
        if facts.api in ("messages", "complete", "count_tokens"):
            return ANTHROPIC
        return OPENAI


DIALECT = Simulated()
