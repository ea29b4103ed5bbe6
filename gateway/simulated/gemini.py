"""Gemini's shapes: generateContent, streamGenerateContent (as SSE and as a JSON array), countTokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.simulated.text import Ask, count, spaced, words

_encode = msgspec.json.encode


class GeminiShape:
    def read(self, operation: str, model: str, request: dict[str, Any], sse: bool) -> Ask | str:
        contents = request.get("contents")
        if contents is None:
            return "contents is not specified"
        config = request.get("generationConfig")
        text, cut = words(config.get("maxOutputTokens") if isinstance(config, dict) else None)
        return Ask(
            operation=operation,
            model=model,
            stream=operation == "streamGenerateContent",
            input_tokens=sum(count(c.get("parts")) for c in contents if isinstance(c, dict))
            if isinstance(contents, list)
            else count(contents),
            words=text,
            cut=cut,
            sse=sse,
        )

    def is_sse(self, ask: Ask) -> bool:
        return ask.sse

    def error(self, status: int, message: str) -> bytes:
        return _encode({"error": {"code": status, "message": message, "status": "INVALID_ARGUMENT"}})

    def whole(self, ask: Ask) -> bytes:
        if ask.operation == "countTokens":
            return _encode({"totalTokens": ask.input_tokens})
        return _encode(self._chunk(ask, " ".join(ask.words), len(ask.words), last=True))

    def pieces(self, ask: Ask) -> Iterator[bytes]:
        last = len(ask.words)
        for number, word in enumerate(spaced(ask.words), start=1):
            chunk = _encode(self._chunk(ask, word, number, last=number == last))
            if ask.sse:
                yield b"data: " + chunk + b"\r\n\r\n"
            else:
                yield (b"[" if number == 1 else b",\r\n") + chunk + (b"]" if number == last else b"")

    def _chunk(self, ask: Ask, text: str, output: int, last: bool) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
        if last:
            candidate["finishReason"] = "MAX_TOKENS" if ask.cut else "STOP"
        return {
            "candidates": [candidate],
            "usageMetadata": {
                "promptTokenCount": ask.input_tokens,
                "candidatesTokenCount": output,
                "totalTokenCount": ask.input_tokens + output,
            },
            "modelVersion": ask.model,
            "responseId": "sim0001",
        }


SHAPE = GeminiShape()
