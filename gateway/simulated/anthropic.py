"""Anthropic's shapes: messages and the counting of tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.simulated.text import Ask, count, spaced, words

ID = "msg_sim0001"
_encode = msgspec.json.encode


class AnthropicShape:
    def read(self, operation: str, model: str, request: dict[str, Any], sse: bool) -> Ask | str:
        name = request.get("model")
        if not isinstance(name, str) or not name:
            return "model: Field required"
        if not isinstance(request.get("messages"), list):
            return "messages: Field required"
        limit = request.get("max_tokens")
        if operation == "messages" and not isinstance(limit, int):
            return "max_tokens: Field required"
        text, cut = words(limit)
        return Ask(
            operation=operation,
            model=name,
            stream=request.get("stream") is True and operation == "messages",
            input_tokens=count([m.get("content") for m in request["messages"] if isinstance(m, dict)])
            + count(request.get("system")),
            words=text,
            cut=cut,
        )

    def is_sse(self, ask: Ask) -> bool:
        return True

    def error(self, status: int, message: str) -> bytes:
        return _encode({"type": "error", "error": {"type": "invalid_request_error", "message": message}})

    def whole(self, ask: Ask) -> bytes:
        if ask.operation == "count_tokens":
            return _encode({"input_tokens": ask.input_tokens})
        content = [{"type": "text", "text": " ".join(ask.words)}]
        return _encode(self._message(ask, content, self._stop(ask), len(ask.words)))

    def pieces(self, ask: Ask) -> Iterator[bytes]:
        yield _event("message_start", message=self._message(ask, [], None, 1))
        yield _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        for word in spaced(ask.words):
            yield _event("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
        yield _event("content_block_stop", index=0)
        delta = {"stop_reason": self._stop(ask), "stop_sequence": None}
        end = _event("message_delta", delta=delta, usage={"output_tokens": len(ask.words)})
        yield end + _event("message_stop")

    def _stop(self, ask: Ask) -> str:
        return "max_tokens" if ask.cut else "end_turn"

    def _message(self, ask: Ask, content: list[dict[str, Any]], stop: str | None, output: int) -> dict[str, Any]:
        usage = {
            "input_tokens": ask.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": output,
        }
        return {
            "id": ID,
            "type": "message",
            "role": "assistant",
            "model": ask.model,
            "content": content,
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": usage,
        }


def _event(name: str, **fields: Any) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + _encode({"type": name, **fields}) + b"\n\n"


SHAPE = AnthropicShape()
