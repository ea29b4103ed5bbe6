"""Answers in the shapes of OpenAI, Anthropic and Gemini, told apart by path. Pure: a request in, timed steps out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.ports import Header
from gateway.simulated import anthropic, gemini, openai
from gateway.simulated.text import Ask, Shape
from gateway.wire.cors import ALLOWED, READABLE

JSON: tuple[Header, ...] = ((b"Content-Type", b"application/json"), *READABLE)
SSE: tuple[Header, ...] = ((b"Content-Type", b"text/event-stream"), (b"Cache-Control", b"no-cache"), *READABLE)
_GEMINI = re.compile(r"/models/([^/:]+):(\w+)$")


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider does next, ``after`` seconds from the step before. ``status`` is set on the head alone."""

    after: float = 0.0
    status: int = 0
    headers: tuple[Header, ...] = ()
    data: bytes = b""
    end: bool = False


def answer(method: bytes, target: bytes, body: bytes, first_seconds: float, token_seconds: float) -> list[Step]:
    """The whole answer to a request, as the steps in which it comes."""
    path, _, query = target.decode("latin-1").partition("?")
    if method == b"OPTIONS":
        return [Step(status=ALLOWED.status, headers=tuple(ALLOWED.headers)), Step(end=True)]
    if method == b"GET":
        return _plain(200, openai.models(), first_seconds / 10)
    shape, operation, model = _shape_of(path)
    try:
        request: Any = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        return _plain(400, shape.error(400, f"The body is not valid JSON: {error}"), 0.0)
    if not isinstance(request, dict):
        return _plain(400, shape.error(400, "The body must be a JSON object."), 0.0)
    ask = shape.read(operation, model, request, "alt=sse" in query)
    if isinstance(ask, str):
        return _plain(400, shape.error(400, ask), 0.0)
    if not ask.stream:
        return _plain(200, shape.whole(ask), first_seconds + token_seconds * len(ask.words))
    return list(_streamed(shape, ask, first_seconds, token_seconds))


def _shape_of(path: str) -> tuple[Shape, str, str]:
    match = _GEMINI.search(path)
    if match:
        return gemini.SHAPE, match[2], match[1]
    if path.endswith(("/messages", "/messages/count_tokens")):
        return anthropic.SHAPE, path.rsplit("/", 1)[1], ""
    return openai.SHAPE, path.rsplit("/", 1)[1], ""


def _plain(status: int, body: bytes, after: float) -> list[Step]:
    headers = (*JSON, (b"Content-Length", b"%d" % len(body)))
    return [Step(after=after, status=status, headers=headers), Step(data=body), Step(end=True)]


def _streamed(shape: Shape, ask: Ask, first_seconds: float, token_seconds: float) -> Iterator[Step]:
    yield Step(after=first_seconds, status=200, headers=SSE if shape.is_sse(ask) else JSON)
    for number, data in enumerate(shape.pieces(ask)):
        yield Step(after=token_seconds if number else 0.0, data=data)
    yield Step(end=True)
