"""Gemini's Live API: a session over WebSocket, each turn of which reports what it used.

The client's first message is ``setup``, which names the model. A message of the server's may hold ``usageMetadata``
beside its content: the use of one turn, whose prompt is the session so far. Google sends JSON in binary frames.

Sources: https://ai.google.dev/api/live (BidiGenerateContentSetup, BidiGenerateContentServerMessage, UsageMetadata);
Vertex AI, "Gemini Live API reference"; messages as users recorded them (discuss.ai.google.dev 188765, googleapis/
python-genai issues 1342 and 1917).
"""

from __future__ import annotations

from typing import Any

from gateway.wire.facts import Facts
from gateway.wire.framing.websocket import Messages
from gateway.wire.gemini_searches import Searches
from gateway.wire.gemini_shape import read_usage
from gateway.wire.json_read import parse
from gateway.wire.numbers import table, text
from gateway.wire.talks import SAMPLE_BYTES, Ended, unreported
from gateway.wire.usage import Reading, Usage

REPORT = b'"usageMetadata"'
CONTENT = b'"serverContent"'
SETUP_BYTES = 1024 * 1024
"""A longer first message is refused."""


def is_live(path: str) -> bool:
    """True for the paths of sessions, on the Gemini API and on Vertex."""
    return path.startswith("/ws/google.") and path.endswith(("BidiGenerateContent", "BidiGenerateContentConstrained"))


class Setup:
    """Waits for the client's first message, which names the model."""

    def __init__(self) -> None:
        self._messages = Messages(masked=True, binary=True)
        self._held: list[bytes] = []
        self._size = 0
        self.failed = False
        """The client began with something else, or with too much."""

    def feed(self, data: bytes) -> str | None:
        """The model, empty where the message names none; None where it is not there yet."""
        self._held.append(data)
        self._size += len(data)
        for message in self._messages.feed(data):
            setup = table(parse(message)).get("setup")
            self.failed = not isinstance(setup, dict)
            return text(table(setup).get("model")).rpartition("/")[2]
        self.failed = self._messages.broken or self._size > SETUP_BYTES
        return None

    def held(self) -> bytes:
        """All that the client has sent."""
        return b"".join(self._held)


class LiveTalk:
    """Reads what the server says. State is bounded: one message and a sample of the turn in progress."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._messages = Messages(binary=True)
        self._sample: list[bytes] | None = None
        """Messages of the turn in progress; None: none is."""
        self._began_ns = 0
        self._searches = Searches()

    @property
    def begun(self) -> int:
        return self._messages.begun

    def feed(self, data: bytes, now_ns: int) -> list[Ended]:
        return [ended for message in self._messages.feed(data) if (ended := self._message(message, now_ns))]

    def unfinished(self) -> Ended | None:
        sample, self._sample = self._sample, None
        return None if sample is None else Ended(unreported(sample), self._began_ns, untold=True)

    def _message(self, message: bytes, now_ns: int) -> Ended | None:
        if CONTENT not in message and REPORT not in message:
            return None
        document = table(parse(message))
        content = table(document.get("serverContent"))
        self._searches.take(content.get("groundingMetadata"))
        if _says(content):
            if self._sample is None:
                self._sample, self._began_ns = [], now_ns
            if b'"text"' in message and sum(map(len, self._sample)) < SAMPLE_BYTES:
                self._sample.append(message)
        usage = Usage()
        if not read_usage(table(document.get("usageMetadata")), usage, {}, pictures=True):
            return None
        began_ns = self._began_ns if self._sample is not None else now_ns
        usage.web_searches_seen = self._searches.charged(self._facts.model)
        self._sample, self._searches = None, Searches()
        return Ended(Reading(usage=usage, source="response", complete=True), began_ns)


def _says(content: dict[str, Any]) -> bool:
    """True where the model says something, or has begun to hear."""
    return any(content.get(name) for name in ("modelTurn", "outputTranscription", "inputTranscription"))
