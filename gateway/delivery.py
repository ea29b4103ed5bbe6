"""What the client gets of one call: the head, the body as it comes, and its end once the call is settled."""

from __future__ import annotations

from collections.abc import Sequence

from gateway import answers
from gateway.admission import Admitted
from gateway.call_state import ALLOWED, ANSWERING, ENDED, HEAD, transition
from gateway.ledger.record import COMPLETED, Record
from gateway.parts import Parts
from gateway.ports import ClientPort, Header, Timer
from gateway.wire.dialect import Meter
from gateway.wire.http_heads import REASONS, Fields
from pricing.money import dollars

HELD_BODY_BYTES = 262_144
"""A whole JSON answer up to this size is sent in one piece, with its cost in the head."""
HELD_SECONDS = 0.05
"""…and waits no longer than this for its end."""


class Delivery:
    """Holds back only what would complete an answer that is not settled yet."""

    __slots__ = (
        "_beside_nanousd", "_call", "_client", "_declared", "_failure", "_gone", "_held", "_held_bytes", "_length",
        "_meter", "_out_headers", "_outcome", "_parts", "_reason", "_record", "_released", "_replied", "_started",
        "_state", "_status", "_timer", "_trailers", "_written",
    )  # fmt: skip

    def __init__(self, parts: Parts, client: ClientPort) -> None:
        self._parts = parts
        self._client = client
        self._state = HEAD
        self._gone = False
        """The client is no longer there."""
        self._replied = False
        """A whole answer went to the client."""
        self._started = False
        """The head of the provider's answer went to the client."""
        self._released = False
        """Bytes that had been held for the end were let go: the provider goes on after its terminal event."""
        self._call: Admitted | None = None
        self._meter: Meter | None = None
        self._timer: Timer | None = None
        self._record: Record | None = None
        self._beside_nanousd = 0
        """What other models cost that worked on the answer."""
        self._outcome = COMPLETED
        self._failure = ""
        self._status = 0
        self._reason = b""
        self._declared: Fields | None = None
        """What came with the answer's head, where its length is the body's own."""
        self._length: int | None = None
        self._trailers: Sequence[Header] = ()
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._out_headers: list[Header] = []
        self._written = 0
        self._ready()

    def _ready(self) -> None:
        """The fields that a subclass adds."""

    def _to(self, state: int) -> None:
        assert ALLOWED[self._state][state], transition(self._state, state)
        self._state = state

    # the body as it comes

    def _start(self) -> None:
        """Send the head and what was held of the body."""
        if self._started or self._gone or self._state != ANSWERING:
            return
        self._head()
        held = self._held
        if held:
            self._held = []
            self._held_bytes = 0
            for piece in held:
                self._forward(piece, self._meter)

    def _head(self) -> None:
        self._started = True
        if self._declared is not None:
            self._length = self._declared.content_length
        self._client.start(self._status, self._reason, self._out_headers, self._length)

    def _forward(self, data: bytes, meter: Meter | None) -> None:
        """Pass bytes on at once, but for those that would complete the answer before it is settled."""
        if not self._started:
            self._held.append(data)
            self._held_bytes += len(data)
            if self._held_bytes > HELD_BODY_BYTES:
                self._start()
            return
        if meter is not None and meter.terminal and not self._released:
            self._hold_end(data)
            return
        written = self._written + len(data)
        if self._length is not None and written >= self._length:
            self._held.append(data)
            return
        self._written = written
        self._client.write(data)

    def _hold_end(self, data: bytes) -> None:
        """The provider's terminal event came: it waits for the settlement, unless the provider goes on."""
        if not self._held:
            self._timer = self._parts.clock.after(HELD_SECONDS, self._flush_held)
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > HELD_BODY_BYTES:
            self._flush_held()

    def _flush_held(self) -> None:
        self._released = True
        held = b"".join(self._held)
        self._held = []
        self._held_bytes = 0
        if held:
            self._written += len(held)
            self._client.write(held)

    # the end

    def _settled(self, error: Exception | None) -> None:
        """The record is durable: the client may see the end."""
        self._to(ENDED)
        if self._gone or self._replied:
            return
        self._replied = True
        if self._status == 0:
            self._client_failure()
        elif self._outcome != COMPLETED:
            self._break_off()
        elif self._started:
            self._flush_held()
            self._client.finish(self._trailers)
        else:
            self._whole()

    def _whole(self) -> None:
        """Head, cost and body in one write."""
        record = self._record
        assert record is not None
        if record.priced and record.usage_source != "none":
            cost = dollars(record.cost_nanousd + self._beside_nanousd)
            self._out_headers.append((b"x-spendgate-cost-usd", cost.encode()))
        held = self._held
        body = held[0] if len(held) == 1 else b"".join(held)
        if self._trailers or self._status == 304:
            # only a chunked body has trailers, and what a 304 declares is the length of another answer's body
            self._head()
            self._client.write(body)
            self._client.finish(self._trailers)
            return
        self._client.reply(self._status, self._reason, self._out_headers, body)

    def _client_failure(self) -> None:
        """The provider never answered: the gateway says so in its own name."""
        call = self._call
        assert call is not None
        asked, request_id = call.caller.headers, call.entry.request_id
        self._client_reply(answers.upstream_failure(call.provider.name, self._failure, request_id, asked))

    def _break_off(self) -> None:
        """The provider broke off: so does the connection, never with a clean end."""
        if not self._started:
            self._head()
        self._flush_held()
        self._client.abort()

    def _answer(self, reply: answers.Reply) -> None:
        """An answer of the gateway's own, where none has gone out."""
        if not self._gone and not self._replied:
            self._replied = True
            self._client_reply(reply)

    def _client_reply(self, reply: answers.Reply) -> None:
        self._client.reply(reply.status, REASONS.get(reply.status, b""), reply.headers, reply.body)
