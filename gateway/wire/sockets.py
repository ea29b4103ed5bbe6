"""WebSockets that are metered: OpenAI's realtime API, its responses over WebSocket, and Gemini's Live API.

Sources: OpenAI API reference (Realtime: WebSocket; server events session.created, response.created,
response.done, conversation.item.input_audio_transcription.completed, error: ``error.event_id``, "the event_id of the
client event that caused the error"), guide "WebSocket
mode" of the Responses API.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote_plus

from gateway.wire.dialect import Dialect, Header
from gateway.wire.dialects.openai import DIALECT as OPENAI
from gateway.wire.facts import Facts
from gateway.wire.framing.websocket import Messages
from gateway.wire.gemini_live import LiveTalk, is_live
from gateway.wire.json_read import parse
from gateway.wire.meter import header
from gateway.wire.numbers import table, text
from gateway.wire.openai_reader import OpenAIReader
from gateway.wire.openai_shape import OpenAIShape
from gateway.wire.paths import plain_path, query_values
from gateway.wire.talks import SAMPLE_BYTES, Ended, Listener, unreported
from gateway.wire.usage import Reading

LIVE = "live"
RESPONSES = "responses"
REALTIME = "realtime"
GOOGLES = ("gemini", "vertex")
START = "response.created"
ENDS = frozenset(("response.done", "response.completed", "response.incomplete", "response.failed"))
HEARD = "conversation.item.input_audio_transcription.completed"
"""What the client said has been written down, by a model of its own that is billed apart from the responses."""
SESSIONS = frozenset(("session.created", "session.updated", "transcription_session.created",
                      "transcription_session.updated"))  # fmt: skip
ERROR = "error"
_MARKS = tuple(f'"{name}"'.encode() for name in (START, *ENDS, HEARD, *SESSIONS, ERROR))
"""A message that holds none of them is no event that matters; one that does may also have them among its words."""
_KEPT = frozenset((b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-protocol"))


def socket_api(dialect: Dialect, target: bytes, headers: Sequence[Header]) -> str:
    """``realtime``, ``responses`` or ``live`` where this upgrade is one that is metered; empty for any other."""
    if header(headers, b"upgrade").lower() != b"websocket":
        return ""
    path = plain_path(target)
    if dialect.kind in GOOGLES and is_live(path):
        return LIVE
    if not isinstance(dialect, OpenAIShape):
        return ""
    if path.endswith("/realtime"):
        return REALTIME
    return RESPONSES if path.endswith("/responses") else ""


def socket_model(target: bytes) -> str:
    """The model that the query names (``model``, or Azure's ``deployment``); of several the first."""
    return next(iter(socket_models(target)), "")


def socket_models(target: bytes) -> list[str]:
    """All that it names, each once: which of several counts is the provider's secret."""
    values = [*query_values(target, b"model"), *query_values(target, b"deployment")]
    return list(dict.fromkeys(text(unquote_plus(value.decode("latin-1"))) for value in values if value))


def handshake_headers(headers: Sequence[Header]) -> list[Header]:
    """What the provider needs to answer the client's own handshake; extensions are left out, so that none is agreed."""
    kept = [item for item in headers if item[0].lower() in _KEPT]
    return [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"), *kept]


class Talk:
    """Reads what a provider says in one session. State is bounded: one message and a sample of the response in
    progress."""

    def __init__(self, facts: Facts, dialect: Dialect) -> None:
        self._facts = facts
        self._dialect = dialect if isinstance(dialect, OpenAIShape) else OPENAI
        self._messages = Messages()
        self._sample: list[bytes] | None = None
        """Messages of the response in progress; None: no response is in progress."""
        self._began_ns = 0
        self._aside = False
        """Whether it is of no conversation: one of the conversation's own goes before it."""
        self._running = 0
        """Responses in progress that are of no conversation."""
        self._model = self._heard_by = ""
        """Models that the session's own events name."""

    @property
    def begun(self) -> int:
        """Bytes since the last end of a frame."""
        return self._messages.begun

    def feed(self, data: bytes, now_ns: int) -> list[Ended]:
        """What these bytes end."""
        return [ended for message in self._messages.feed(data) if (ended := self._message(message, now_ns))]

    def unfinished(self) -> Ended | None:
        """The response in progress, as far as it came; afterwards none is in progress."""
        sample, self._sample = self._sample, None
        return None if sample is None else Ended(unreported(sample), self._began_ns, self._aside, untold=True)

    def _message(self, message: bytes, now_ns: int) -> Ended | None:
        event = table(parse(message)) if any(mark in message for mark in _MARKS) else {}
        kind = text(event.get("type"))
        if kind == START:
            aside = _is_aside(event)
            self._running += aside
            if not aside or self._sample is None:
                self._sample, self._began_ns, self._aside = [], now_ns, aside
        elif kind in ENDS:
            reading = self._read(message)
            reading.model = reading.model or self._model
            aside, began_ns = _is_aside(event), 0
            self._running = max(0, self._running - aside)
            sample = None
            if self._aside or not aside:
                sample, self._sample, began_ns = self._sample, None, self._began_ns
            if reading.usage is None and sample:
                told = unreported(sample)
                reading.sample, reading.decoded_bytes = told.sample, told.decoded_bytes
            return Ended(reading, began_ns, aside)
        elif kind == HEARD:
            reading = self._read(message)
            reading.model = self._heard_by
            return Ended(reading, now_ns) if reading.usage is not None else None
        elif kind in SESSIONS:
            model, heard_by = session_models(event)
            self._model, self._heard_by = model or self._model, heard_by or self._heard_by
        elif kind == ERROR and self._facts.api == RESPONSES and self._sample is None:
            # in place of the response that was asked for
            reading = self._read(message)
            return Ended(reading, now_ns) if reading.failed else None
        elif (
            kind == ERROR
            and self._facts.api == REALTIME
            and (refused := text(table(event.get("error")).get("event_id")))
        ):
            return Ended(Reading(), now_ns, refused=refused, running=self._running)
        elif self._sample is not None and sum(map(len, self._sample)) < SAMPLE_BYTES:
            self._sample.append(message)
        return None

    def _read(self, message: bytes) -> Reading:
        reader = OpenAIReader(self._dialect, self._facts, 200)
        reader.frame(message)
        return reader.reading


def talk_of(api: str, facts: Facts, dialect: Dialect) -> Listener:
    """What reads the sessions of an API."""
    return LiveTalk(facts) if api == LIVE else Talk(facts, dialect)


def _is_aside(event: dict[str, Any]) -> bool:
    """A response that is of no conversation: its ``conversation_id`` is null."""
    response = table(event.get("response"))
    return "conversation_id" in response and response["conversation_id"] is None


def session_models(event: dict[str, Any]) -> tuple[str, str]:
    """The models that a session's event names: who answers, and who writes down what is said. Empty where none is."""
    session = table(event.get("session"))
    heard = table(table(table(session.get("audio")).get("input")).get("transcription"))
    heard = heard or table(session.get("input_audio_transcription"))
    return text(session.get("model")), text(heard.get("model"))
