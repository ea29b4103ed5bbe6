"""One call, from its head to exactly one settlement. Knows no socket: inputs come as method calls, outputs go to ports.

Two rules:

1. Nothing is sent upstream before the ledger says that the open entry is durable.
2. Every path that was opened ends in exactly one settlement, and the end of the answer's body is held until that
   settlement is durable: what a client has seen complete is exact in the ledger.

The client's side and the provider's side end independently. A state follows the call; whether the client is still
there is a separate fact (``_gone``), because a client that hangs up changes who is answered, not what is owed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from gateway import answers
from gateway.admission import Admitted, admit, reserve, upstream_head
from gateway.call_state import ANSWERING, ENDED, HEAD, NEAR, OPENING, SENT
from gateway.caller import Caller, identify
from gateway.coded import undo
from gateway.delivery import HELD_SECONDS
from gateway.following import Following
from gateway.ledger.record import CLIENT_DISCONNECTED, COMPLETED, UPSTREAM_ERROR, UPSTREAM_TIMEOUT
from gateway.ledger.store import LedgerFull, LedgerUnavailable
from gateway.loops import bounded, clamped
from gateway.near import Near, behind_others
from gateway.parts import Parts
from gateway.ports import CredentialUnavailable, Failure, Header, RequestHead
from gateway.preflight import Preflight
from gateway.routing import redirected
from gateway.session import Session
from gateway.sessions import session_of
from gateway.settling import CHECKPOINT_SECONDS
from gateway.wire.cors import is_question
from gateway.wire.dialect import Refusal
from gateway.wire.http_heads import fields_of


class Found:
    """What a head said: it holds for the same bytes as long as the parts are the same and the key is sure."""

    __slots__ = ("caller", "parts", "until")

    def __init__(self, parts: Parts, caller: Caller, until: float) -> None:
        self.parts = parts
        self.caller = caller
        self.until = until


class Exchange(Following):
    """Implements ``gateway.ports.Exchange`` on the parts that were current when the request came."""

    __slots__ = ("_caller", "_near", "_session", "wants_body")

    def _ready(self) -> None:
        Following._ready(self)  # compiled there is no super() here
        self.wants_body = True
        self._caller: Caller | None = None
        self._near: Near | None = None
        self._session: Session | Preflight | None = None
        """A WebSocket, or a browser's question, once the head was one: it takes over."""

    # the request

    def request_head(self, head: RequestHead) -> None:
        received = self._received_at = head.received
        found = head.found
        if type(found) is Found and found.parts is self._parts and received < found.until:
            guard = found.parts.guard
            if not guard.active or not guard.concerns(head.peer):
                self._caller = found.caller
                return
        if head.target in answers.HEALTH_PATHS:
            self.wants_body = False
            self._answer(answers.health(head.target, self._parts.ready()))
            self._to(ENDED)
            return
        if head.method == b"OPTIONS" and is_question(head.headers):
            self.wants_body = False
            self._to(ENDED)
            self._session = asked = Preflight(self._parts, self._client, head)
            asked.start()
            return
        caller = self._caller = identify(self._parts, head)
        if head.upgrade and caller.rejected is None:
            self._session = session_of(self._parts, caller, self._client, head)
            if self._session is not None:
                return
            caller.rejected = answers.UPGRADE_REFUSED
        if caller.rejected is not None:
            self._refuse(caller.rejected, None)
        elif self._parts.trace is None:
            head.found = Found(self._parts, caller, self._parts.keys.holds_until(caller.principal))

    def request_body(self, body: bytes) -> None:
        if self._session is not None:
            self._session.request_body(body)
            return
        if self._state != HEAD:
            return
        parts, caller = self._parts, self._caller
        assert caller is not None
        self._body_at = parts.clock.monotonic()
        if caller.coding and body:
            undo(parts, caller.coding, body, partial(self._read, body))
        else:
            self._read(body, body)

    def _read(self, coded: bytes, plain: bytes | None) -> None:
        """The body is here, as it came and without its content coding."""
        if self._gone:
            return
        parts, caller = self._parts, self._caller
        assert caller is not None
        call = admit(parts, caller, coded, plain)
        if type(call) is Refusal:
            self._refuse(call, None)
            return
        self._call = call
        if call.facts.turns > 1 or call.facts.unbounded:
            refused = bounded(parts, call)
            if refused is not None:
                self._refuse(refused[0], call, refused[1])
                return
        shortage = behind_others(parts, call) or reserve(parts, call)
        if shortage is None:
            self._open()
            return
        self._to(NEAR)
        self._near = Near(parts, call, shortage, self._near_done)
        self._near.start()

    def request_too_large(self) -> None:
        if self._state == HEAD:
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
        self._to(OPENING)
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
        provider = call.provider
        own: Sequence[Header] = ()
        if provider.credential is not None:
            caller = call.caller
            host = provider.endpoint.host_header
            target = provider.base_path + call.target
            try:
                own = provider.credential.headers(caller.method, host, target, caller.headers, call.body)
            except CredentialUnavailable as reason:
                self._fail("credential", str(reason))
                return
        head = upstream_head(call, own)
        self._to(SENT)
        self._sent_at = parts.clock.monotonic()
        self._upstream = provider.upstreams.send(provider.endpoint, head, call.body, call.caller.method, self)

    def _unwritable(self, reason: str) -> None:
        """The ledger can't take the call: nothing was sent, nothing was spent."""
        self._release()
        self._parts.observer.failed("", "", "ledger", reason)
        asked = self._caller.headers if self._caller is not None else ()
        self._answer(answers.failure(503, "ledger_unavailable", reason, None, asked))

    def _release(self) -> None:
        call = self._call
        if call is not None and call.reservation is not None:
            self._parts.quotas.release(call.reservation, self._parts.clock.now_ns())
            call.reservation = None
        self._to(ENDED)

    # the provider's answer

    def upstream_interim(self, status: int, reason: bytes, headers: list[Header]) -> None:
        if not self._gone:
            self._client.interim(status, reason, headers)

    def upstream_head(self, status: int, reason: bytes, headers: list[Header]) -> None:
        call = self._call
        assert call is not None
        self._to(ANSWERING)
        self._status = status
        self._reason = reason
        fields = fields_of(headers)
        meter = self._meter = call.provider.dialect.meter(call.facts, status, fields)
        out = self._out_headers = fields.onward
        if meter.undo_encoding:
            out = self._out_headers = [header for header in out if header[0].lower() != b"content-encoding"]
        elif not meter.rewrites:
            self._declared = fields
        if 300 <= status < 400:
            out = self._out_headers = redirected(call.provider, out)
        out.append((b"x-spendgate-request-id", call.entry.request_id.encode()))
        if call.clamped is not None or call.limited:
            out.append((b"x-spendgate-clamped", clamped(call)))
        self._checkpoint_at = self._sent_at + CHECKPOINT_SECONDS
        if status < 300 and (call.facts.stream or call.extends):
            self._follow(call, meter, headers)
        if self._gone:
            return
        kind = fields.get(b"content-type") or b""
        json = kind == b"application/json" or kind[:16].lower() == b"application/json"
        if not json or call.facts.stream or call.caller.method == b"HEAD":
            self._start()
        elif self._upstream is None or not self._upstream.whole:
            self._timer = self._parts.clock.after(HELD_SECONDS, self._start)

    def upstream_switched(self, status: int, reason: bytes, headers: list[Header]) -> None:
        raise AssertionError("only a session asks to switch protocols")

    def upstream_paused(self) -> None:
        raise AssertionError("only a session asks to switch protocols")

    def upstream_resumed(self) -> None:
        raise AssertionError("only a session asks to switch protocols")

    def upstream_data(self, data: bytes) -> None:
        meter = self._meter
        assert meter is not None
        now = self._parts.clock.monotonic()
        if not self._seen_bytes:
            self._ttft_us = int((now - self._received_at) * 1e6)
        self._seen_bytes += len(data)
        out = meter.feed(data)
        if self._extension is not None:
            out = self._extended(self._extension, out, meter)
        if out and not self._gone:
            self._forward(out, meter)
        if self._cut_by:
            self._cut(meter)
        elif now >= self._checkpoint_at:
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

    # the client

    def client_data(self, data: bytes) -> None:
        if self._session is not None:
            self._session.client_data(data)

    def going_away(self) -> None:
        if self._session is not None:
            self._session.going_away()

    def client_paused(self) -> None:
        if self._session is not None:
            self._session.client_paused()
        if self._upstream is None or self._gone:
            return
        extension, meter = self._extension, self._meter
        if extension is None or meter is None or self._may_wait(extension, meter):
            self._upstream.pause()

    def client_resumed(self) -> None:
        if self._session is not None:
            self._session.client_resumed()
        if self._extension is not None:
            self._extension.client_ready()
        if self._upstream is not None:
            self._upstream.resume()

    def client_gone(self) -> None:
        """Nobody listens any more. What was sent is still owed."""
        self._gone = True
        self._held = []
        if self._session is not None:
            self._session.client_gone()
            return
        if self._state == ENDED:
            return
        if self._near is not None:
            near, self._near = self._near, None
            near.cancel()
            self._release()
            return
        if self._state == HEAD:
            self._to(ENDED)
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

    # refusals

    def _refuse(self, refusal: Refusal, call: Admitted | None, quota: str = "") -> None:
        """Answer in the provider's own shape and note the refusal in the ledger."""
        caller, parts = self._caller, self._parts
        assert caller is not None
        record = answers.rejection(parts, caller, call, refusal, quota, self._received_at)
        self._to(ENDED)
        self.wants_body = False
        reply = answers.refusal(caller, call, refusal, record.request_id)
        # what the client is told, which the provider's own errors may say in another number
        record.status = reply.status
        parts.observer.refused(record, refusal.code)
        # who is refused can look the record up at once; a ledger that fails does not hold up the refusal
        parts.ledger.settle(record, lambda _: self._answer(reply))
