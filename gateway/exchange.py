"""One call, from its head to exactly one settlement. Knows no socket: inputs come as method calls, outputs go to ports.

Two rules:

1. Nothing is sent upstream before the ledger says that the open entry is durable.
2. Every path that was opened ends in exactly one settlement, and the end of the answer's body is held until that
   settlement is durable: what a client has seen complete is exact in the ledger.

The client's side and the provider's side end independently. ``State`` follows the call; whether the client is still
there is a separate fact (``_gone``), because a client that hangs up changes who is answered, not what is owed.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from gateway import answers
from gateway.admission import Admitted, Caller, admit, identify, reserve
from gateway.extension import Extension, framing_of
from gateway.ledger.record import (
    CLIENT_DISCONNECTED,
    COMPLETED,
    UPSTREAM_ERROR,
    UPSTREAM_TIMEOUT,
)
from gateway.ledger.rows import held_of
from gateway.ledger.store import LedgerFull, LedgerUnavailable
from gateway.near import Near
from gateway.parts import Parts
from gateway.ports import (
    ClientPort,
    CredentialUnavailable,
    Failure,
    Header,
    RequestHead,
    Timer,
    UpstreamPort,
)
from gateway.quota.engine import Amounts
from gateway.session import Session
from gateway.settlement import Ending, checkpoint_of, merge_estimate, needs_estimate, record_of, within
from gateway.wire.dialect import Meter, Refusal
from gateway.wire.http_heads import content_length, forward_response_headers, request_head_bytes
from gateway.wire.sockets import socket_api
from gateway.wire.usage import Reading, Usage

HELD_BODY_BYTES = 262_144
"""A whole JSON answer up to this size is sent in one piece, with its cost in the head."""
HELD_SECONDS = 0.05
"""…and waits no longer than this for its end."""
CHECKPOINT_SECONDS = 1.0
NO_READING = Reading()


class State(IntEnum):
    """Where a call stands."""

    HEAD = 0
    """Waiting for the request's head, then its body."""
    NEAR = 1
    """A quota is short: counting exactly, clamping, or waiting in line."""
    OPENING = 2
    """Reserved; the open entry is on its way to the disk."""
    SENT = 3
    """On its way to the provider; no head has come back."""
    ANSWERING = 4
    """The provider's head is here; its body is coming."""
    SETTLING = 5
    """The provider's side is over; the record is on its way to the disk."""
    ENDED = 6
    """Settled, or refused before anything was opened."""


TRANSITIONS: dict[State, tuple[State, ...]] = {
    State.HEAD: (State.NEAR, State.OPENING, State.ENDED),
    State.NEAR: (State.OPENING, State.ENDED),
    State.OPENING: (State.SENT, State.SETTLING, State.ENDED),
    State.SENT: (State.ANSWERING, State.SETTLING),
    State.ANSWERING: (State.SETTLING,),
    State.SETTLING: (State.ENDED,),
    State.ENDED: (),
}
_ALLOWED = tuple(frozenset(TRANSITIONS[state]) for state in State)


class Exchange:
    """Implements ``gateway.ports.Exchange`` on the parts that were current when the request came."""

    __slots__ = (
        "_body_at",
        "_call",
        "_caller",
        "_checkpoint_at",
        "_client",
        "_cut_by",
        "_ended_at",
        "_extension",
        "_failure",
        "_gone",
        "_held",
        "_held_bytes",
        "_length",
        "_limits",
        "_meter",
        "_near",
        "_out_headers",
        "_outcome",
        "_parts",
        "_reason",
        "_received_at",
        "_record",
        "_released",
        "_replied",
        "_seen_bytes",
        "_sent_at",
        "_session",
        "_started",
        "_state",
        "_status",
        "_timer",
        "_trailers",
        "_ttft_us",
        "_upstream",
        "_written",
        "wants_body",
    )

    def __init__(self, parts: Parts, client: ClientPort) -> None:
        self._parts = parts
        self._client = client
        self._state = State.HEAD
        self._gone = False
        self._replied = False
        """A whole answer of the gateway's own went to the client."""
        self._released = False
        """Bytes that had been held for the end were let go: the provider goes on after its terminal event."""
        self._started = False
        """The head of the provider's answer went to the client."""
        self.wants_body = True
        self._caller: Caller | None = None
        self._call: Admitted | None = None
        self._near: Near | None = None
        self._upstream: UpstreamPort | None = None
        self._meter: Meter | None = None
        self._timer: Timer | None = None
        self._session: Session | None = None
        """A WebSocket, once the head asked for one: it takes over."""
        self._extension: Extension | None = None
        """The stream's reservation grows with it."""
        self._cut_by = ""
        self._failure = ""
        self._outcome = COMPLETED
        self._status = 0
        self._reason = b""
        self._out_headers: list[Header] = []
        self._length: int | None = None
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._written = 0
        self._seen_bytes = 0
        self._trailers: Sequence[Header] = ()
        self._ttft_us: int | None = None
        self._received_at = 0.0
        self._body_at = 0.0
        self._sent_at = 0.0
        self._ended_at = 0.0
        self._checkpoint_at = 0.0

    def _to(self, state: State) -> None:
        assert state in _ALLOWED[self._state], f"{self._state.name} -> {state.name}"
        self._state = state

    # the request

    def request_head(self, head: RequestHead) -> None:
        self._received_at = head.received
        if head.target in answers.HEALTH_PATHS:
            self._answer(answers.health(head.target, self._parts.ready()))
            self._to(State.ENDED)
            return
        caller = self._caller = identify(self._parts, head)
        if head.upgrade and caller.rejected is None:
            api = socket_api(caller.provider.dialect, caller.target, head.headers) if caller.provider else ""
            if api:
                self._session = Session(self._parts, caller, self._client, head, api)
                return
            caller.rejected = answers.UPGRADE_REFUSED
        if caller.rejected is not None:
            self._refuse(caller.rejected, None)

    def request_body(self, body: bytes) -> None:
        if self._session is not None:
            self._session.request_body(body)
            return
        if self._state is not State.HEAD:
            return
        parts = self._parts
        self._body_at = parts.clock.monotonic()
        assert self._caller is not None
        call = admit(parts, self._caller, body, len(body))
        if isinstance(call, Refusal):
            self._refuse(call, None)
            return
        self._call = call
        shortage = reserve(parts, call)
        if shortage is None:
            self._open()
            return
        self._to(State.NEAR)
        self._near = Near(parts, call, shortage, self._near_done)
        self._near.start()

    def request_too_large(self) -> None:
        if self._state is State.HEAD:
            self._refuse(answers.TOO_LARGE, None)

    def _near_done(self, refusal: Refusal | None, quota: str) -> None:
        """The near-limit steps ended: with room reserved, or with the refusal that remains."""
        self._near = None
        if refusal is not None:
            self._refuse(refusal, self._call, quota)
        elif self._gone:
            self._release()
        else:
            self._open()

    def _open(self) -> None:
        call = self._call
        assert call is not None
        self._to(State.OPENING)
        try:
            self._parts.ledger.open(call.entry, self._opened)
        except (LedgerFull, LedgerUnavailable) as error:
            self._unwritable(str(error))

    def _opened(self, error: Exception | None) -> None:
        """The open entry is durable, or can't be."""
        if error is not None:
            self._unwritable(str(error))
            return
        call = self._call
        assert call is not None
        parts = self._parts
        parts.observer.started(call.provider.name)
        if self._gone:
            self._settle(CLIENT_DISCONNECTED)
            return
        caller, provider = call.caller, call.provider
        endpoint = provider.endpoint
        target = provider.base_path + call.target
        headers: Sequence[Header] = caller.headers
        if provider.credential is not None:
            try:
                own = provider.credential.headers(caller.method, endpoint.host_header, target, headers, call.body)
            except CredentialUnavailable as reason:
                self._fail("credential", str(reason))
                return
            replaced = provider.credential.replaces
            if replaced:
                headers = [header for header in headers if header[0].lower() not in replaced]
            headers = [*headers, *own]
        elif caller.passthrough:
            headers = [*headers, *caller.passthrough]
        head = request_head_bytes(
            caller.method,
            target,
            headers,
            endpoint.host_header,
            len(call.body),
            plain=not call.facts.asks_usage or call.extends > 0,
        )
        self._to(State.SENT)
        self._sent_at = parts.clock.monotonic()
        self._upstream = provider.upstreams.send(endpoint, head, call.body, caller.method, self)

    def _unwritable(self, reason: str) -> None:
        """The ledger can't take the call: nothing was sent, nothing was spent."""
        self._release()
        self._parts.observer.failed("", "", "ledger", reason)
        self._answer(answers.failure(503, "ledger_unavailable", reason, None))

    def _release(self) -> None:
        call = self._call
        if call is not None and call.reservation is not None:
            self._parts.quotas.release(call.reservation, self._parts.clock.now_ns())
            call.reservation = None
        self._to(State.ENDED)

    # the provider's answer

    def upstream_interim(self, status: int, headers: list[Header]) -> None:
        if not self._gone:
            self._client.interim(status, headers)

    def upstream_head(self, status: int, reason: bytes, headers: list[Header]) -> None:
        call = self._call
        assert call is not None
        self._to(State.ANSWERING)
        self._status = status
        self._reason = reason
        meter = self._meter = call.provider.dialect.meter(call.facts, status, headers)
        changed = meter.rewrites or meter.undo_encoding
        self._length = None if changed else content_length(headers)
        out = forward_response_headers(headers, keep_encoding=not meter.undo_encoding)
        out.append((b"x-spendgate-request-id", call.entry.request_id.encode()))
        if call.clamped is not None:
            out.append((b"x-spendgate-clamped", b"%d" % call.clamped))
        self._out_headers = out
        self._checkpoint_at = self._sent_at + CHECKPOINT_SECONDS
        if call.extends and status < 300:
            self._extension = Extension(
                self._parts, call, call.extends, b"" if meter.undo_encoding else framing_of(headers)
            )
        if self._gone:
            return
        if call.facts.stream or call.caller.method == b"HEAD" or not answers.is_json(headers):
            self._start()
        else:
            self._timer = self._parts.clock.after(HELD_SECONDS, self._start)

    def upstream_switched(self, status: int, reason: bytes, headers: list[Header]) -> None:
        raise AssertionError("only a session asks to switch protocols")

    def upstream_data(self, data: bytes) -> None:
        meter = self._meter
        assert meter is not None
        if not self._seen_bytes:
            self._first_byte()
        self._seen_bytes += len(data)
        out = meter.feed(data)
        if self._extension is not None:
            out = self._extended(self._extension, out, meter)
        if out and not self._gone:
            self._forward(out, meter)
        if self._cut_by:
            self._cut(meter)
        elif self._parts.clock.monotonic() >= self._checkpoint_at:
            self._checkpoint(meter)
        elif self._gone and self._seen_bytes > self._parts.on_disconnect.max_bytes:
            self._cancel()

    def upstream_end(self, trailers: list[Header]) -> None:
        self._upstream = None
        self._trailers = trailers
        meter = self._meter
        assert meter is not None
        tail = meter.flush()
        if self._extension is not None:
            tail = self._extension.feed(tail) + self._extension.flush()
        if tail and not self._gone:
            self._held.append(tail)
        self._settle(CLIENT_DISCONNECTED if self._gone else COMPLETED, clean=True)

    def upstream_failed(self, failure: Failure, detail: str) -> None:
        self._upstream = None
        self._fail(failure, detail)

    def _fail(self, failure: str, detail: str) -> None:
        self._failure = failure
        call = self._call
        assert call is not None
        self._parts.observer.failed(call.entry.request_id, call.provider.name, failure, detail)
        if self._meter is not None:
            self._held.append(self._meter.flush())
        timeout = failure.endswith("_timeout")
        outcome = UPSTREAM_TIMEOUT if timeout else UPSTREAM_ERROR
        self._settle(CLIENT_DISCONNECTED if self._gone else outcome)

    def _first_byte(self) -> None:
        self._ttft_us = int((self._parts.clock.monotonic() - self._received_at) * 1e6)

    def _extended(self, extension: Extension, data: bytes, meter: Meter) -> bytes:
        """Hold more for what the answer says; where there is no room it ends."""
        out = extension.feed(data)
        if not meter.terminal:
            short = extension.hold()
            if short is not None:
                self._cut_by = short.name
            elif extension.grew:
                extension.grew = False
                self._checkpoint(meter)
        return out

    def _cut(self, meter: Meter) -> None:
        """The budget has ended: so does the answer, in the provider's own way."""
        call, extension = self._call, self._extension
        assert call is not None
        assert extension is not None
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abort()
        meter.flush()
        end = call.provider.dialect.cut(call.facts, extension.last) if extension.clean else None
        if end is not None and not self._gone:
            self._held.append(end)
            self._settle(COMPLETED)
        else:
            self._settle(CLIENT_DISCONNECTED if self._gone else UPSTREAM_ERROR)

    # towards the client

    def _start(self) -> None:
        """Send the head and what was held of the body."""
        if self._started or self._gone or self._state is not State.ANSWERING:
            return
        self._started = True
        self._client.start(self._status, self._reason, self._out_headers, self._length)
        held = self._held
        if held:
            self._held = []
            self._held_bytes = 0
            for piece in held:
                self._forward(piece, self._meter)

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

    def client_data(self, data: bytes) -> None:
        if self._session is not None:
            self._session.client_data(data)

    def client_paused(self) -> None:
        if self._session is not None:
            self._session.client_paused()
        if self._upstream is not None and not self._gone:
            self._upstream.pause()

    def client_resumed(self) -> None:
        if self._session is not None:
            self._session.client_resumed()
        if self._upstream is not None:
            self._upstream.resume()

    def client_gone(self) -> None:
        """Nobody listens any more. What was sent is still owed."""
        self._gone = True
        self._held = []
        if self._session is not None:
            self._session.client_gone()
            return
        if self._state is State.ENDED:
            return
        if self._near is not None:
            near, self._near = self._near, None
            near.cancel()
            self._release()
            return
        if self._state is State.HEAD:
            self._to(State.ENDED)
            return
        if self._upstream is None:
            return
        if self._parts.on_disconnect.policy == "cancel":
            self._cancel()
            return
        self._upstream.resume()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._parts.clock.after(self._parts.on_disconnect.max_seconds, self._cancel)

    def _cancel(self) -> None:
        """Close upstream and settle with what is known."""
        if self._state not in (State.SENT, State.ANSWERING):
            return
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abort()
        if self._meter is not None:
            self._meter.flush()
        self._settle(CLIENT_DISCONNECTED)

    # the settlement

    def _checkpoint(self, meter: Meter) -> None:
        call, parts = self._call, self._parts
        assert call is not None
        self._checkpoint_at = parts.clock.monotonic() + CHECKPOINT_SECONDS
        if not call.facts.billable:
            return
        reading = meter.reading()
        usage = reading.usage
        if usage is None or not reading.complete:
            quick = parts.estimator.quick(call.facts, call.body, reading, call.provider.name, call.facts.model)
            usage = merge_estimate(usage, within(call, quick))
        now_ns = parts.clock.now_ns()
        parts.ledger.checkpoint(checkpoint_of(call, reading, usage, self._status, now_ns, self._seen_bytes))

    def _settle(self, outcome: str, clean: bool = False) -> None:
        call, parts = self._call, self._parts
        assert call is not None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._outcome = outcome
        self._to(State.SETTLING)
        clock = parts.clock
        now = self._ended_at = clock.monotonic()
        sent_at = self._sent_at or now
        ending = Ending(
            outcome=outcome,
            status=self._status,
            ended_ns=clock.now_ns(),
            latency_us=int((now - self._received_at) * 1e6),
            ttft_us=self._ttft_us,
            gateway_us=int((sent_at - self._body_at) * 1e6),
            request_bytes=call.entry.request_bytes,
            response_bytes=self._seen_bytes,
            clean=clean,
            answered=self._status != 0,
            sent=self._sent_at != 0.0,
            cut_by=self._cut_by,
        )
        reading = self._meter.reading() if self._meter is not None else NO_READING
        if needs_estimate(call, reading, ending):
            estimate = parts.estimator.estimate
            facts, body, provider, model = call.facts, call.body, call.provider.name, call.facts.model
            parts.offload(
                lambda: estimate(facts, body, reading, provider, model),
                Usage(),
                lambda usage: self._book(reading, ending, usage),
            )
        else:
            self._book(reading, ending, None)

    def _book(self, reading: Reading, ending: Ending, estimated: Usage | None) -> None:
        """Price the call and write it down: ledger, quotas and metrics take the same numbers."""
        call, parts = self._call, self._parts
        assert call is not None
        record = record_of(call, reading, ending, estimated)
        self._record = record
        usage = record.usage
        if call.reservation is not None:
            actual = Amounts(*held_of(record))
            if parts.quotas.settle(call.reservation, actual, ending.ended_ns):
                parts.observer.exceeded(call.provider.kind, call.facts.api)
            call.reservation = None
        if record.usage_source == "response" and record.outcome == COMPLETED:
            parts.estimator.observe(record.provider, record.model_requested, len(call.body), self._seen_bytes, usage)
        parts.observer.settled(record, call.provider.kind)
        parts.ledger.settle(record, self._settled)

    def _settled(self, error: Exception | None) -> None:
        """The record is durable: the client may see the end."""
        self._to(State.ENDED)
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
        if record.priced and record.usage_source != "none":
            self._out_headers.append((b"x-spendgate-cost-usd", answers.usd(record.cost_nanousd)))
        held = self._held
        body = held[0] if len(held) == 1 else b"".join(held)
        self._client.reply(self._status, self._reason, self._out_headers, body)

    def _client_failure(self) -> None:
        """The provider never answered: the gateway says so in its own name."""
        call = self._call
        assert call is not None
        name = call.provider.name
        self._client_reply(answers.upstream_failure(name, self._failure, call.entry.request_id))

    def _break_off(self) -> None:
        """The provider broke off: so does the connection, never with a clean end."""
        if not self._started:
            self._started = True
            self._client.start(self._status, self._reason, self._out_headers, self._length)
        self._flush_held()
        self._client.abort()

    # refusals

    def _refuse(self, refusal: Refusal, call: Admitted | None, quota: str = "") -> None:
        """Answer in the provider's own shape and note the refusal in the ledger."""
        caller, parts = self._caller, self._parts
        assert caller is not None
        record = answers.rejection(parts, caller, call, refusal, quota, self._received_at)
        self._to(State.ENDED)
        self.wants_body = False
        parts.observer.refused(record, refusal.code)
        reply = answers.refusal(caller, call, refusal, record.request_id)
        # who is refused can look the record up at once; a ledger that fails does not hold up the refusal
        parts.ledger.settle(record, lambda _: self._answer(reply))

    def _answer(self, reply: answers.Reply) -> None:
        self.wants_body = False
        if not self._gone and not self._replied:
            self._replied = True
            self._client_reply(reply)

    def _client_reply(self, reply: answers.Reply) -> None:
        self._client.reply(reply.status, b"", reply.headers, reply.body)
