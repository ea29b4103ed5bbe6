"""A WebSocket to a provider: bytes both ways, and a record for each response that the provider says is done.

The session has an open entry of its own, so that a crash leaves a trace, and holds room in the quotas for one response
at a time: what a response cost is settled when it is done, and room for the next is held before the client hears of
it. Where there is none, the session is closed with code 1008. No extension is let through, so that frames can be read
as they are.
"""

from __future__ import annotations

from msgspec.structs import replace

from gateway import answers
from gateway.admission import Admitted
from gateway.caller import Caller
from gateway.identity.found import find_key
from gateway.identity.ring import HIT_SECONDS
from gateway.ledger.record import CLIENT_DISCONNECTED, COMPLETED, UPSTREAM_ERROR, UPSTREAM_TIMEOUT
from gateway.near import refusal_of
from gateway.parts import Parts
from gateway.ports import ClientPort, CredentialUnavailable, Failure, Header, RequestHead, Timer, UpstreamPort
from gateway.quota.engine import Shortage
from gateway.session_account import SessionAccount
from gateway.session_opening import handshake, session_call
from gateway.wire.dialect import Refusal
from gateway.wire.framing.websocket import close_frame
from gateway.wire.http_heads import REASONS, fields_of
from gateway.wire.sockets import talk_of
from gateway.wire.talks import SAMPLE_BYTES, Ended, Listener

POLICY_VIOLATION = 1008
TRY_AGAIN_LATER = 1013
SERVICE_RESTART = 1012
"""Not 1001, which clients take for a session that ended well. Source: IANA's registry of WebSocket close codes."""
MAX_HELD_BYTES = 32 * 1024 * 1024


class Session(SessionAccount):
    """Implements ``gateway.ports.Exchange`` for one upgraded connection."""

    wants_body = True
    named_later = False
    """Messages name the model: nothing is held before one does."""

    def __init__(self, parts: Parts, caller: Caller, client: ClientPort, head: RequestHead, api: str) -> None:
        super().__init__(parts, api)
        self._caller = caller
        self._client = client
        self._head = head
        self._upstream: UpstreamPort | None = None
        self._talk: Listener | None = None
        self._switched = False
        self._over = False
        self._gone = False
        self._holding = 0
        """Records on their way to the disk: what came behind them waits."""
        self._following = False
        """Room for the next response is being asked for."""
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._secret = find_key(head.headers, head.target).secret if caller.principal.key_id else None
        """The client's key; None: nobody's."""
        self._look_at = parts.clock.monotonic() + HIT_SECONDS
        """When the client's key is asked for again, before anything of the client's goes on."""
        self._looking: Timer | None = None
        """Asks for it of a client that says nothing."""
        self._early: list[bytes] = []
        """What the client sent before the provider agreed."""
        self._why = ""
        """Why the session must close once what is held has been sent, and a frame that is begun has ended."""
        self._code = POLICY_VIOLATION
        self._outcome = COMPLETED
        self._failure = "reset"
        self._cut = False
        """The provider broke off."""

    # the request

    def request_head(self, head: RequestHead) -> None:
        return

    def request_body(self, body: bytes) -> None:
        parts, caller = self._parts, self._caller
        call = session_call(parts, caller, self._api, named_later=self.named_later)
        if isinstance(call, Refusal):
            self._refuse(call, "")
            return
        self._call = call
        self._talk = talk_of(self._api, call.facts, call.provider.dialect)
        self._hold(call, self._admitted)

    def _admitted(self, short: Shortage | None) -> None:
        call, parts = self._call, self._parts
        assert call is not None
        if self._gone:
            self._over = True
            self._release()
        elif short is not None:
            self._refuse(refusal_of(short, parts.clock.now_ns()), short.quota)
        else:
            self._enter(call, self._opened)

    def request_too_large(self) -> None:
        self._refuse(answers.TOO_LARGE, "")

    def _refuse(self, refusal: Refusal, quota: str) -> None:
        self._over = True
        record = answers.rejection(self._parts, self._caller, self._call, refusal, quota, self._head.received)
        reply = answers.refusal(self._caller, self._call, refusal, record.request_id)
        self._parts.observer.refused(record, refusal.code)
        self._parts.ledger.settle(record, lambda _: self._reply(reply))

    def _reply(self, reply: answers.Reply) -> None:
        if not self._gone:
            self._client.reply(reply.status, REASONS.get(reply.status, b""), reply.headers, reply.body)

    def _opened(self, error: Exception | None) -> None:
        call, parts = self._call, self._parts
        assert call is not None
        if error is not None:
            self._over = True
            self._release()
            self._reply(answers.failure(503, "ledger_unavailable", str(error), None))
            return
        parts.observer.started(call.provider.name)
        if self._gone:
            self._end(CLIENT_DISCONNECTED)
            return
        # should a response break off, its estimate must not wait for a vocabulary
        parts.offload(lambda: parts.counter.prepare(call.facts.model), None, lambda _: None)
        provider = call.provider
        try:
            head = handshake(call)
        except CredentialUnavailable as reason:
            self._fail("credential", str(reason))
            return
        self._upstream = provider.upstreams.send(provider.endpoint, head, b"", b"GET", self)

    # the provider

    def upstream_interim(self, status: int, reason: bytes, headers: list[Header]) -> None:
        return

    def upstream_switched(self, status: int, reason: bytes, headers: list[Header]) -> None:
        self._switched = True
        self._status = status
        kept = [header for header in headers if header[0].lower() != b"sec-websocket-extensions"]
        self._client.switch(status, reason, [*kept, self._own()])
        self._look()
        early, self._early = self._early, []
        for data in early:
            self._said(data)

    def _own(self) -> Header:
        assert self._call is not None
        return b"x-spendgate-request-id", self._call.entry.request_id.encode()

    def upstream_head(self, status: int, reason: bytes, headers: list[Header]) -> None:
        """The provider refused the upgrade: its answer passes through."""
        self._status = status
        if not self._gone:
            fields = fields_of(headers)
            self._client.start(status, reason, [*fields.onward, self._own()], fields.content_length)

    def upstream_data(self, data: bytes) -> None:
        self._bytes += len(data)
        if not self._switched:
            if not self._gone:
                self._client.write(data)
            return
        assert self._talk is not None
        ended = self._talk.feed(data, self._parts.clock.now_ns())
        self._forward(data, any(not one.refused for one in ended))
        for one in ended:
            self._response(one)
        if self._why and not self._holding:
            self._say_why()

    def _forward(self, data: bytes, ends: bool) -> None:
        """Pass on what the provider said; where it ``ends`` something that is to be written down, only after that."""
        if self._holding or ends or self._why:
            self._held.append(data)
            self._held_bytes += len(data)
            if self._held_bytes > MAX_HELD_BYTES:
                # the ledger is busy, and not even a word may go before what is held
                self._held, self._held_bytes = [], 0
                self._finish(COMPLETED)
        elif not self._gone:
            self._client.write(data)

    def _flush(self) -> None:
        held, self._held, self._held_bytes = self._held, [], 0
        if held and not self._gone:
            self._client.write(b"".join(held))

    def _response(self, ended: Ended) -> None:
        """One response is done, or something was heard: book it, hold room for the next."""
        call, parts = self._call, self._parts
        assert call is not None
        self._holding += 1
        parts.ledger.settle(self._booked(ended, COMPLETED), self._recorded)
        if self._following:
            # what is asked for already is for the one after this
            return
        self._following = True
        self._holding += 1
        following = replace(call, entry=replace(call.entry, started_ns=parts.clock.now_ns()))
        self._hold(following, lambda short: self._held_for(following, short))

    def _held_for(self, following: Admitted, short: Shortage | None) -> None:
        """There is room for the next response, or not."""
        call, parts = self._call, self._parts
        assert call is not None
        self._following = False
        call.reservation = following.reservation
        if short is not None:
            self._why = refusal_of(short, parts.clock.now_ns()).message
        if self._over:
            self._release()
        self._recorded(None)

    def _recorded(self, error: Exception | None) -> None:
        """A response's record is durable: the client may hear that it is done."""
        self._holding -= 1
        if self._holding:
            return
        if self._why:
            self._say_why()
        else:
            self._flush()

    # the end

    def going_away(self) -> None:
        if self._switched:
            self._close(SERVICE_RESTART, "the gateway stops", CLIENT_DISCONNECTED)

    def _close(self, code: int, why: str, outcome: str = COMPLETED) -> None:
        """Close both sides with a reason, as soon as it may be said. Nothing of the client's goes on from now."""
        if self._over:
            return
        self._code, self._why, self._outcome = code, why, outcome
        if not self._holding:
            self._say_why()

    def _say_why(self) -> None:
        """Close, unless the client has the beginning of a frame alone: then the rest of it comes first."""
        begun = self._talk.begun if self._talk is not None else 0
        if self._over or (begun > self._held_bytes and not self._gone):
            return
        held, self._held, self._held_bytes = b"".join(self._held), [], 0
        if not self._gone:
            self._client.write(held[: len(held) - begun] + close_frame(self._code, self._why))
        self._finish(self._outcome)

    def _finish(self, outcome: str) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abort()
        self._end(outcome)

    def upstream_end(self, trailers: list[Header]) -> None:
        self._upstream = None
        self._end(COMPLETED)

    def upstream_failed(self, failure: Failure, detail: str) -> None:
        self._upstream = None
        self._fail(failure, detail)

    def _fail(self, failure: str, detail: str) -> None:
        call = self._call
        assert call is not None
        self._parts.observer.failed(call.entry.request_id, call.provider.name, failure, detail)
        self._failure, self._cut = failure, True
        early = UPSTREAM_TIMEOUT if failure.endswith("_timeout") else UPSTREAM_ERROR
        self._end(COMPLETED if self._switched else early)

    def client_data(self, data: bytes) -> None:
        """Nothing of the client's goes on before the provider agreed, nor once its key has ended."""
        if self._over:
            return
        if not self._switched:
            self._early.append(data)
            if sum(map(len, self._early)) > SAMPLE_BYTES:
                self._client.abort()
                self.client_gone()
            return
        if self._parts.clock.monotonic() >= self._look_at:
            self._look()
        self._said(data)

    def _look(self) -> None:
        """Whether the client's key still holds; a session whose key has ended is closed, also a silent one."""
        secret = self._secret
        if self._looking is not None:
            self._looking.cancel()
        if self._over or self._why or not secret:
            self._look_at = float("inf")
            return
        now, keys = self._parts.clock.monotonic(), self._parts.keys.newest()
        principal = keys.identify(secret)
        if principal is None:
            self._close(POLICY_VIOLATION, "the key of this session has expired or was revoked")
            return
        self._look_at = min(keys.holds_until(principal), now + HIT_SECONDS)
        wait = self._look_at - now
        self._looking = self._parts.clock.after(wait if wait > 0 else HIT_SECONDS, self._look)

    def _said(self, data: bytes) -> None:
        """Bytes of a client that may go on."""
        if self._upstream is not None and data and not self._why:
            self._upstream.write(data)

    def upstream_paused(self) -> None:
        if not self._gone:
            self._client.pause()

    def upstream_resumed(self) -> None:
        if not self._gone:
            self._client.resume()

    def client_paused(self) -> None:
        if self._upstream is not None:
            self._upstream.pause()

    def client_resumed(self) -> None:
        if self._upstream is not None:
            self._upstream.resume()

    def client_gone(self) -> None:
        self._gone = True
        self._early = []
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abort()
            self._end(CLIENT_DISCONNECTED)

    def _end(self, outcome: str) -> None:
        """Settle what is in progress, then the session itself."""
        if self._over:
            return
        self._over = True
        if self._looking is not None:
            self._looking.cancel()
        ledger = self._parts.ledger
        unfinished = self._talk.unfinished() if self._talk is not None else None
        if unfinished is not None:
            ledger.settle(self._booked(unfinished, self._broken(outcome)))
        ledger.settle(self._booked_itself(outcome), lambda _: self._ended())

    def _broken(self, outcome: str) -> str:
        """How a response ends that is not done, in a session that ends so."""
        return outcome if outcome != COMPLETED else UPSTREAM_ERROR

    def _ended(self) -> None:
        """All is durable: what was held may go, and the session end."""
        self._flush()
        if self._gone:
            return
        if self._switched:
            self._client.close()
        elif self._status:
            if self._cut:
                self._client.abort()
            else:
                self._client.finish()
        else:
            call = self._call
            assert call is not None
            self._reply(answers.upstream_failure(call.provider.name, self._failure, call.entry.request_id))
