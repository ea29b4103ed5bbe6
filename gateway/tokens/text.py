"""The text in requests and answers of any dialect, for counting: strings by the keys under which providers put them."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.wire.framing.aws_eventstream import EventStream
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
SCHEMA_KEYS = ("tools", "functions", "toolConfig", "tool_config", "response_format", "output_config", "format")
ARGUMENT_KEYS = frozenset(("args", "arguments", "input"))
"""Where they hold an object, it is what a tool is called with, and its own keys are text too."""
_PAYLOAD = re.compile(rb'\{"[\x20-\xff]*\}')
"""A message's payload, where checksums are wrong: it has no control characters, what is around it has."""
_NEVER = frozenset(
    ("id", "model", "object", "type", "role", "usage", "signature", "data", "url", "embedding", "obfuscation")
)
_SSE_DATA = re.compile(rb"^data:[ ]?(.*?)\r?$", re.MULTILINE)


def request_text(body: bytes) -> str:
    """All text of a JSON request: messages, system, names and descriptions of tools. Empty where it is no JSON."""
    return "\n".join(_strings(parse(body), 0))


def prompt_text(body: bytes) -> str:
    """As ``request_text``, but tools and schemas as the JSON that models are shown. Empty where it is no JSON."""
    document = parse(body)
    if not isinstance(document, dict):
        return "\n".join(_strings(document, 0))
    shown = [document.pop(key) for key in SCHEMA_KEYS if document.get(key)]
    return "\n".join([*_strings(document, 0), *(_json(value) for value in shown)])


def _json(value: Any) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (ValueError, RecursionError):
        return "\n".join(_strings(value, 0))


def answer_text(sample: bytes) -> str:
    """The text of (the beginning of) an answer: JSON, SSE, or one JSON document a line."""
    pieces: list[str] = []
    for document in _documents(sample):
        pieces.extend(_strings(document, 0))
    return "".join(pieces)


def spoken_text(sample: bytes) -> str:
    """As ``answer_text``, but each text once, and without what an answer repeats of its request: for estimates."""
    return "".join(text for document in _documents(sample) for text in _strings(_said(document), 0))


def _said(document: Any) -> Any:
    """What of a document is the answer itself: Responses repeat the request, and say each text again at its end;
    some chunks of chats hold each piece twice."""
    if not isinstance(document, dict):
        return document
    choices = document.get("choices")
    if isinstance(choices, list):
        return [choice.get("delta", choice) if isinstance(choice, dict) else choice for choice in choices]
    kind = document.get("type")
    if isinstance(kind, str) and kind.startswith("response."):
        return document if kind.endswith(".delta") else None
    return document.get("output") if document.get("object") == "response" else document


def _documents(sample: bytes) -> Iterator[Any]:
    if sample[:1] == b"\x00":
        # no text begins so: the length of a message
        events = EventStream()
        for message in events.feed(sample):
            document = parse(message.payload)
            inner = document.get("bytes") if isinstance(document, dict) else None
            yield _wrapped(inner) if isinstance(inner, str) else document
        if events.broken:
            yield from map(parse, _PAYLOAD.findall(sample))
        return
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


def _wrapped(coded: str) -> Any:
    """A family's own event inside a message of Bedrock's."""
    try:
        return parse(b64decode(coded, validate=True))
    except ValueError:
        return None


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
            if isinstance(item, dict) and key in ARGUMENT_KEYS:
                yield _json(item)
            elif isinstance(item, dict | list):
                yield from _strings(item, depth + 1)
            elif isinstance(item, str) and key in TEXT_KEYS:
                yield item
