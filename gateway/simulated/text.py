"""The words of the simulated model, and how it counts tokens: one for each word, so that sums are easy to check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

ANSWER = (
    "This answer comes from the simulated provider. It needs no network and no key, speaks the shapes of OpenAI, "
    "Anthropic and Gemini, reports its usage as they do, and costs what the price list says. Point the gateway at a "
    "real provider when you are ready: the same call, the same ledger, the same quotas."
)
WORDS = ANSWER.split()
DEFAULT_LENGTH = len(WORDS)
MAX_LENGTH = 4096


class Ask(msgspec.Struct, kw_only=True):
    """What was asked for, and the words that answer it."""

    operation: str
    model: str
    stream: bool
    input_tokens: int
    words: list[str]
    cut: bool
    """The output limit ended the answer."""
    wants_usage: bool = True
    sse: bool = True
    count: int = 1
    """Inputs of an embedding."""
    choices: int = 1
    chat: bool = True
    """False: a plain completion without messages."""


class Shape(Protocol):
    """One provider's way to take a request and to answer."""

    def read(self, operation: str, model: str, request: dict[str, Any], sse: bool) -> Ask | str:
        """What is asked, or what is wrong with the request."""
        ...

    def whole(self, ask: Ask) -> bytes: ...

    def pieces(self, ask: Ask) -> Iterator[bytes]: ...

    def is_sse(self, ask: Ask) -> bool: ...

    def error(self, status: int, message: str) -> bytes: ...


def words(limit: object) -> tuple[list[str], bool]:
    """The answer within an output limit, and whether the limit cut it."""
    wanted = DEFAULT_LENGTH
    if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0:
        length = min(limit, wanted, MAX_LENGTH)
        return list(WORDS[:length]), length < wanted
    return list(WORDS), False


def count(value: object) -> int:
    """Words in all strings of a JSON value."""
    if isinstance(value, str):
        return len(value.split())
    if isinstance(value, list):
        return sum(count(item) for item in value)
    if isinstance(value, dict):
        return sum(count(item) for item in value.values())
    return 0


def spaced(text: list[str]) -> Iterator[str]:
    """Words as a stream gives them: each but the first with the space before it."""
    for index, word in enumerate(text):
        yield word if index == 0 else " " + word
