"""The Responses API over WebSocket: each of the client's messages asks for a response, and is a call of its own.

A message that asks (``response.create``) names a model, and may bound its output. It goes to the provider when that
model may be used, the quotas hold what it may cost at most, and its open entry is durable, as for a call over HTTP. The
session itself holds nothing. A response for which no message asked (OpenAI makes one after ``response.steer``) is
booked when it is done.

Source: OpenAI's SDK (``ResponsesClientEvent``, ``ResponseCreate``, ``ResponseSteerEvent``), guide "WebSocket mode".
"""

from __future__ import annotations

from collections import deque

from msgspec.structs import replace

from gateway.admission import Admitted
from gateway.caller import Caller
from gateway.ledger.record import CLIENT_DISCONNECTED, COMPLETED, Record
from gateway.ledger.rows import held_of
from gateway.loops import bounded
from gateway.near import refusal_of
from gateway.parts import Parts
from gateway.policy import forbidden
from gateway.ports import ClientPort, RequestHead
from gateway.quota.engine import Amounts, Shortage
from gateway.session import POLICY_VIOLATION, TRY_AGAIN_LATER
from gateway.session_read import ReadSession
from gateway.settlement import beside_of, record_of
from gateway.wire.dialect import Refusal
from gateway.wire.openai_asks import asks
from gateway.wire.talks import Ended
from gateway.wire.usage import Reading, Usage
from gateway.worst_case import worst_case


class AskedSession(ReadSession):
    """Each message that asks is a call."""

    named_later = True

    def __init__(self, parts: Parts, caller: Caller, client: ClientPort, head: RequestHead, api: str) -> None:
        super().__init__(parts, caller, client, head, api)
        self._asked: deque[Admitted] = deque()
        """What the provider was asked for and has not done, in order."""

    # the client

    def _wanted(self, message: bytes) -> bytes | None:
        return asks(message)

    def _ask(self, wanted: bytes) -> None:
        session = self._call
        assert session is not None
        call = asked_call(self._parts, session, wanted)
        if isinstance(call, Refusal):
            self._close(POLICY_VIOLATION, call.message)
            return
        self._release()
        self._hold(call, lambda short: self._granted(call, short))

    def _granted(self, call: Admitted, short: Shortage | None) -> None:
        """There is room for what a message asks for, or not."""
        if self._over or self._why:
            self._give_back(call)
        elif short is not None:
            self._close(POLICY_VIOLATION, refusal_of(short, self._parts.clock.now_ns()).message)
        else:
            self._enter(call, lambda error: self._entered(call, error))

    def _entered(self, call: Admitted, error: Exception | None) -> None:
        """What a message asks for is durable, or can't be."""
        if error is not None:
            self._give_back(call)
            self._close(TRY_AGAIN_LATER, str(error))
            return
        self._parts.observer.started(call.provider.name)
        if self._over or self._why:
            # it never went on
            self._give_back(call)
            self._write(
                record_of(call, Reading(), self._ending(CLIENT_DISCONNECTED, call.entry.started_ns), None), call
            )
            return
        self._asked.append(call)
        self._next()

    # the provider

    def _response(self, ended: Ended) -> None:
        self._holding += 1
        self._parts.ledger.settle(self._booked(ended, COMPLETED), self._recorded)

    def _booked(self, ended: Ended, outcome: str, call: Admitted | None = None) -> Record:
        parts, session = self._parts, self._call
        assert session is not None
        now_ns = parts.clock.now_ns()
        if self._asked:
            call, opened = self._asked.popleft(), True
        else:
            entry = replace(
                session.entry, request_id=parts.new_id(), api=self._api, started_ns=ended.began_ns or now_ns
            )
            call, opened = replace(session, entry=entry, reservation=None), False
            parts.observer.started(call.provider.name)
        reading, ending = ended.reading, self._ending(outcome, call.entry.started_ns)
        estimated = Usage() if outcome != COMPLETED else None
        if reading.usage is None and reading.sample:
            estimated = parts.estimator.estimate(call.facts, call.body, reading, call.provider.name, call.facts.model)
        for record in beside_of(call, reading, ending, parts.new_id):
            subject = replace(call.subject, model=record.model)
            parts.quotas.book(subject, Amounts(*held_of(record)), record.started_ns)
            parts.observer.started(record.provider)
            self._write(record, call)
        record = record_of(call, reading, ending, estimated)
        record.opened = opened
        used = Amounts(*held_of(record))
        held, call.reservation = call.reservation, None
        if held is None:
            parts.quotas.book(call.subject, used, record.started_ns)
        elif parts.quotas.settle(held, used, now_ns):
            parts.observer.exceeded(call.provider.kind, self._api)
        parts.observer.settled(record, call.provider.kind)
        return record

    def _write(self, record: Record, call: Admitted) -> None:
        self._parts.observer.settled(record, call.provider.kind)
        self._parts.ledger.settle(record)

    # the end

    def _end(self, outcome: str) -> None:
        if self._over:
            return
        broken = self._broken(outcome)
        unfinished = self._talk.unfinished() if self._talk is not None else None
        if unfinished is not None:
            self._parts.ledger.settle(self._booked(unfinished, broken))
        while self._asked:
            # the provider may have begun what it has not told of
            self._parts.ledger.settle(self._booked(Ended(Reading(), 0), broken))
        super()._end(outcome)


def asked_call(parts: Parts, session: Admitted, message: bytes) -> Admitted | Refusal:
    """The call that one message of a session asks for, with its own bound."""
    provider, principal = session.provider, session.caller.principal
    facts = provider.dialect.read(b"POST", session.target, b"application/json", message)
    if facts.malformed:
        return Refusal(status=400, code="invalid_request", message=facts.malformed)
    model = facts.model = facts.model or session.facts.model
    facts.stream = True
    facts.region = session.facts.region
    now_ns = parts.clock.now_ns()
    limits = parts.models.facts(provider.price_as, model)
    worst = forbidden(provider, principal, model) or worst_case(parts, provider, principal, facts, limits, now_ns)
    if isinstance(worst, Refusal):
        return worst
    price, limit, amounts, others = worst
    entry = replace(
        session.entry,
        request_id=parts.new_id(),
        started_ns=now_ns,
        api=facts.api,
        model_requested=model,
        quotas=(),
        reserved_nanousd=amounts.nanousd,
        reserved_input_tokens=amounts.input_tokens,
        reserved_output_tokens=amounts.output_tokens,
        request_bytes=len(message),
        service_tier=facts.service_tier,
        region=facts.region,
    )
    call = replace(
        session,
        facts=facts,
        body=message,
        price=price,
        subject=replace(session.subject, model=model),
        bound=limit,
        amounts=amounts,
        entry=entry,
        reservation=None,
        entered=amounts,
        others=others,
    )
    refused = bounded(parts, call) if facts.turns > 1 or facts.unbounded else None
    if refused is None and call.limited:
        return Refusal(status=429, code="quota_unbounded", message=f"A message must set {facts.bounded_by} here.")
    return refused[0] if refused is not None else call
