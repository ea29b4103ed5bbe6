"""OpenAI's shapes: chat completions, completions, responses, embeddings, the list of models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.simulated.text import Ask, count, spaced, words

MODELS = ("gpt-4o-mini", "gpt-4o", "claude-sonnet-4-5", "gemini-2.5-flash", "text-embedding-3-small")
CREATED = 1767225600
ID = "sim-0001"
_encode = msgspec.json.encode


def models() -> bytes:
    """The answer to ``GET /v1/models``."""
    data = [{"id": name, "object": "model", "created": CREATED, "owned_by": "spendgate"} for name in MODELS]
    return _encode({"object": "list", "data": data})


class OpenAIShape:
    def read(self, operation: str, model: str, request: dict[str, Any], sse: bool) -> Ask | str:
        name = request.get("model")
        if not isinstance(name, str) or not name:
            return "you must provide a model parameter"
        prompt = request.get("messages", request.get("input", request.get("prompt")))
        if prompt is None:
            return "you must provide messages, input or prompt"
        limit = request.get("max_completion_tokens", request.get("max_tokens", request.get("max_output_tokens")))
        text, cut = words(limit)
        options = request.get("stream_options")
        choices = request.get("n")
        return Ask(
            operation=operation,
            chat="messages" in request,
            model=name,
            stream=request.get("stream") is True and operation != "embeddings",
            input_tokens=count(prompt) + count(request.get("instructions")),
            words=text,
            cut=cut,
            wants_usage=isinstance(options, dict) and options.get("include_usage") is True,
            count=len(prompt) if isinstance(prompt, list) else 1,
            choices=choices if isinstance(choices, int) and 1 <= choices <= 16 else 1,
        )

    def is_sse(self, ask: Ask) -> bool:
        return True

    def error(self, status: int, message: str) -> bytes:
        return _encode({"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}})

    def whole(self, ask: Ask) -> bytes:
        if ask.operation == "embeddings":
            return self._embeddings(ask)
        if ask.operation == "responses":
            return _encode(self._response(ask, "completed"))
        text = " ".join(ask.words)
        finish = "length" if ask.cut else "stop"
        chat = ask.chat
        choices: list[dict[str, Any]] = []
        for index in range(ask.choices):
            said = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
            choices.append({"index": index, **said, "finish_reason": finish, "logprobs": None})
        kind = "chat.completion" if chat else "text_completion"
        return _encode({**self._base(ask, kind), "choices": choices, "usage": self._usage(ask)})

    def pieces(self, ask: Ask) -> Iterator[bytes]:
        if ask.operation == "responses":
            yield from self._response_events(ask)
            return
        base = self._base(ask, "chat.completion.chunk" if ask.chat else "text_completion")
        if ask.wants_usage:
            base["usage"] = None
        for index, word in enumerate(spaced(ask.words)):
            delta = {"content": word} if index else {"role": "assistant", "content": word}
            said: dict[str, Any] = {"delta": delta} if ask.chat else {"text": word}
            yield _data({**base, "choices": [{"index": 0, **said, "finish_reason": None}]})
        finish = "length" if ask.cut else "stop"
        said = {"delta": {}} if ask.chat else {"text": ""}
        yield _data({**base, "choices": [{"index": 0, **said, "finish_reason": finish}]})
        last = b"data: [DONE]\n\n"
        if ask.wants_usage:
            last = _data({**base, "choices": [], "usage": self._usage(ask)}) + last
        yield last

    def _base(self, ask: Ask, kind: str) -> dict[str, Any]:
        return {"id": f"chatcmpl-{ID}", "object": kind, "created": CREATED, "model": ask.model}

    def _usage(self, ask: Ask) -> dict[str, Any]:
        output = len(ask.words) * ask.choices
        return {
            "prompt_tokens": ask.input_tokens,
            "completion_tokens": output,
            "total_tokens": ask.input_tokens + output,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        }

    def _embeddings(self, ask: Ask) -> bytes:
        data = [{"object": "embedding", "index": i, "embedding": [0.0] * 8} for i in range(min(ask.count, 2048))]
        usage = {"prompt_tokens": ask.input_tokens, "total_tokens": ask.input_tokens}
        return _encode({"object": "list", "data": data, "model": ask.model, "usage": usage})

    def _response(self, ask: Ask, status: str) -> dict[str, Any]:
        part = {"type": "output_text", "text": " ".join(ask.words), "annotations": []}
        message = {"type": "message", "id": f"msg-{ID}", "status": status, "role": "assistant", "content": [part]}
        done = status == "completed"
        usage = {
            "input_tokens": ask.input_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": len(ask.words),
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": ask.input_tokens + len(ask.words),
        }
        return {
            "id": f"resp-{ID}",
            "object": "response",
            "created_at": CREATED,
            "status": status,
            "model": ask.model,
            "output": [message] if done else [],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": usage if done else None,
        }

    def _response_events(self, ask: Ask) -> Iterator[bytes]:
        yield _event("response.created", 0, response=self._response(ask, "in_progress"))
        number = 0
        for number, word in enumerate(spaced(ask.words), start=1):
            yield _event(
                "response.output_text.delta",
                number,
                item_id=f"msg-{ID}",
                output_index=0,
                content_index=0,
                delta=word,
                logprobs=[],
            )
        yield _event("response.completed", number + 1, response=self._response(ask, "completed"))


def _data(chunk: dict[str, Any]) -> bytes:
    return b"data: " + _encode(chunk) + b"\n\n"


def _event(name: str, number: int, **fields: Any) -> bytes:
    return b"event: " + name.encode() + b"\n" + _data({"type": name, "sequence_number": number, **fields})


SHAPE = OpenAIShape()
