"""The text in requests and answers of any dialect, for counting: strings by the keys under which providers put them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from gateway.wire.json_read import parse

TEXT_KEYS = frozenset(
    (
        "content", "text", "delta", "arguments", "reasoning", "reasoning_content", "thinking", "partial_json",
        "refusal", "response", "generation", "outputText", "completion", "message", "output", "input", "prompt",
        "system", "instructions", "name", "description", "query", "documents", "partial", "thought", "summary", "title",
        "contents", "message_stream", "answer", "functionCall", "function_call", "args", "parameters", "inputText",
        "inputs", "generated_text", "results", "choices", "candidates", "parts", "tool_calls", "function", "tools",
        "content_block", "messages", "contentBlockDelta", "toolUse", "reasoningText", "reasoningContent",
        "input_schema", "properties", "enum", "systemInstruction", "system_instruction", "system_prompt", "item",
        "texts", "toolConfig", "toolSpec", "inputSchema", "json", "functionDeclarations", "json_schema", "schema",
    )
)  # fmt: skip
_NEVER = frozenset(
    ("id", "model", "object", "type", "role", "usage", "signature", "data", "url", "embedding", "obfuscation")
)
_SSE_DATA = re.compile(rb"^data:[ ]?(.*?)\r?$", re.MULTILINE)


def request_text(body: bytes) -> str:
    """All text of a JSON request: messages, system, tools. Empty where it is no JSON."""
    return "\n".join(_strings(parse(body), 0))


def answer_text(sample: bytes) -> str:
    """The text of (the beginning of) an answer: JSON, SSE, or one JSON document a line."""
    pieces: list[str] = []
    for document in _documents(sample):
        pieces.extend(_strings(document, 0))
    return "".join(pieces)


def _documents(sample: bytes) -> Iterator[Any]:
    stripped = sample.lstrip()
    if stripped.startswith((b"data:", b"event:", b":", b"id:", b"retry:")):
        sources = [match[1] for match in _SSE_DATA.finditer(sample)]
    else:
        whole = parse(stripped)
        if whole is not None:
            yield whole
            return
        sources = stripped.strip(b"[],\r\n ").split(b"\n")
    for source in sources:
        document = parse(source.strip().strip(b","))
        if document is not None:
            yield document


def _strings(value: Any, depth: int) -> Iterator[str]:
    if depth > 40:
        return
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key in _NEVER or item is None:
                continue
            if isinstance(item, dict | list):
                yield from _strings(item, depth + 1)
            elif isinstance(item, str) and key in TEXT_KEYS:
                yield item
