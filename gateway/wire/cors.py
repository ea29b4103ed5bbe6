"""What a page in a browser may call and read at another origin (CORS): the question before a call, and the fields of an
answer. Pure.

Before a call that carries a key, a browser asks whether the page may make it. The question never carries the key.
Sources: Fetch standard, "CORS protocol" and "CORS-preflight fetch" (https://fetch.spec.whatwg.org/#http-cors-protocol);
what providers let in: googleapis/js-genai#1723 (Gemini lists fields, and answers 403 to others),
anthropics/anthropic-sdk-typescript#504 (a field that the caller must send).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.wire.dialect import Header, Reply

OWN_PREFIX = b"x-spendgate-"
UNTOLD_SECONDS = 5.0
"""A browser remembers an answer so long that does not say how long it holds."""
LONGEST_SECONDS = 600.0
MAX_REMEMBERED = 256
READABLE: tuple[Header, ...] = ((b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", b"*"))
"""No cookie counts here: who may read an answer has sent a key, or got nothing of worth."""
ALLOWED = Reply(
    204,
    [
        (b"access-control-allow-origin", b"*"),
        (b"access-control-allow-methods", b"*"),
        (b"access-control-allow-headers", b"*, authorization"),
    ],
    b"",
)
"""Any page may try: the call itself is let in by its key, or not at all."""
_ASKED_METHOD = b"access-control-request-method"
_ASKED_FIELDS = b"access-control-request-headers"
_ALLOWED_ORIGIN = b"access-control-allow-origin"
_HOLDS = b"access-control-max-age"
Key = tuple[bytes | Header, ...]
_PASSED_ON = frozenset(
    (
        b"accept",
        b"accept-encoding",
        b"accept-language",
        b"cache-control",
        b"origin",
        b"pragma",
        b"priority",
        b"referer",
        b"user-agent",
    )
)


def is_question(headers: Sequence[Header]) -> bool:
    """True where a request with method OPTIONS is a browser's question before a call."""
    names = {name.lower() for name, _ in headers}
    return b"origin" in names and _ASKED_METHOD in names


def readable(headers: Sequence[Header]) -> tuple[Header, ...]:
    """What an answer of the gateway's own to this request lacks so that a page can read it; nothing where none asks."""
    return READABLE if any(len(name) == 6 and name.lower() == b"origin" for name, _ in headers) else ()


class Question(msgspec.Struct, frozen=True):
    """A question as it goes to the provider."""

    headers: tuple[Header, ...]
    """What a browser says in one. Nothing else passes: no credential, no cookie, nothing by which a server could take
    it for another request."""
    own: bytes
    """The gateway's own fields that the page wants to send, which no provider hears of."""

    def key(self, target: bytes) -> Key:
        """What the answer depends on."""
        asked = ((name.lower(), value) for name, value in self.headers)
        return target.partition(b"?")[0], *(one for one in asked if one[0] == b"origin" or _asks(one[0]))


def question_of(headers: Sequence[Header]) -> Question:
    """Of a request that is one."""
    kept: list[Header] = []
    own: list[bytes] = []
    for header in headers:
        name = header[0].lower()
        if name == _ASKED_FIELDS:
            asked = [field.strip(b" \t") for field in header[1].split(b",")]
            own += [field for field in asked if field.lower().startswith(OWN_PREFIX)]
            others = [field for field in asked if field and not field.lower().startswith(OWN_PREFIX)]
            if len(others) == len(asked):
                kept.append(header)
            elif others:
                kept.append((header[0], b",".join(others)))
        elif name in _PASSED_ON or _asks(name) or name.startswith(b"sec-fetch-"):
            kept.append(header)
    return Question(tuple(kept), b", ".join(own))


def _asks(lower: bytes) -> bool:
    return lower.startswith(b"access-control-request-")


def answer_of(question: Question, reply: Reply) -> Reply:
    """The provider's answer for the browser: where it lets the page in, the gateway's own fields may come too."""
    if not question.own or not _lets_in(reply):
        return reply
    return Reply(reply.status, [*reply.headers, (b"access-control-allow-headers", question.own)], reply.body)


def _lets_in(reply: Reply) -> bool:
    return 200 <= reply.status < 300 and any(name.lower() == _ALLOWED_ORIGIN for name, _ in reply.headers)


class Remembered:
    """What a provider answered lately, and how many questions it is asked now. An answer holds as long as a browser may
    believe it."""

    __slots__ = ("_answers", "asking")

    def __init__(self) -> None:
        self._answers: dict[Key, tuple[float, Reply]] = {}
        self.asking = 0

    def find(self, key: Key, now: float) -> Reply | None:
        """An answer that still holds. ``now``: monotonic seconds."""
        found = self._answers.get(key)
        return found[1] if found is not None and now < found[0] else None

    def keep(self, key: Key, reply: Reply, now: float) -> None:
        """Remember an answer that lets a page in."""
        if not _lets_in(reply):
            return
        if len(self._answers) >= MAX_REMEMBERED:
            del self._answers[next(iter(self._answers))]
        self._answers[key] = now + _seconds(reply), reply


def _seconds(reply: Reply) -> float:
    told = next((value for name, value in reply.headers if name.lower() == _HOLDS), b"").strip()
    return min(float(told), LONGEST_SECONDS) if told.isdigit() else UNTOLD_SECONDS
