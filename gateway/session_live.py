"""Gemini's Live API: a session whose client names the model in its first message.

Nothing goes on to the provider before there is room for that model, and a checkpoint of it is durable: the session's
own entry was written before the model was known.
"""

from __future__ import annotations

from msgspec.structs import replace

from gateway.admission import Admitted
from gateway.caller import Caller
from gateway.ledger.record import Checkpoint
from gateway.near import refusal_of
from gateway.parts import Parts
from gateway.policy import forbidden
from gateway.ports import ClientPort, RequestHead
from gateway.quota.engine import Shortage
from gateway.session import MAX_HELD_BYTES, POLICY_VIOLATION, TRY_AGAIN_LATER, Session
from gateway.tokens.bounds import Bound
from gateway.wire.dialect import Refusal
from gateway.wire.gemini_live import Setup
from gateway.worst_case import amounts_of, listed_price


class LiveSession(Session):
    """A session that waits for the model's name, and is then as any other."""

    named_later = True

    def __init__(self, parts: Parts, caller: Caller, client: ClientPort, head: RequestHead, api: str) -> None:
        super().__init__(parts, caller, client, head, api)
        self._setup: Setup | None = Setup()
        """None: the model has a name."""
        self._unsent: bytearray | None = None
        """What the client has sent while quotas and disk are asked."""

    def _said(self, data: bytes) -> None:
        if self._why:
            return
        if self._unsent is not None:
            self._unsent += data
            if len(self._unsent) > MAX_HELD_BYTES:
                self._close(POLICY_VIOLATION, "too much arrived while the quotas were asked")
        elif self._setup is not None:
            self._set_up(self._setup, data)
        else:
            super()._said(data)

    def _set_up(self, setup: Setup, data: bytes) -> None:
        call = self._call
        assert call is not None
        model = setup.feed(data)
        if setup.failed:
            self._close(POLICY_VIOLATION, "the first message must be a setup that names the model")
        elif model is not None:
            self._setup, self._unsent = None, bytearray(setup.held())
            self._release()
            refused = use_model(self._parts, call, model)
            if refused is not None:
                self._close(POLICY_VIOLATION, refused.message)
            else:
                self._hold(call, self._named)

    def _named(self, short: Shortage | None) -> None:
        """There is room for the model that was named, or not."""
        call, parts = self._call, self._parts
        assert call is not None
        if self._over or self._why:
            self._release()
        elif short is not None:
            self._close(POLICY_VIOLATION, refusal_of(short, parts.clock.now_ns()).message)
        else:
            checkpoint = Checkpoint(
                request_id=call.entry.request_id,
                at_ns=parts.clock.now_ns(),
                model_requested=call.facts.model,
                status=self._status,
                reserved_nanousd=call.amounts.nanousd,
                reserved_input_tokens=call.amounts.input_tokens,
                reserved_output_tokens=call.amounts.output_tokens,
            )
            parts.ledger.checkpoint(checkpoint, self._kept)

    def _kept(self, error: Exception | None) -> None:
        """What is held for the model is durable, or can't be: now the provider may hear of it."""
        unsent, self._unsent = self._unsent, None
        if self._over or self._why:
            return
        if error is not None:
            self._close(TRY_AGAIN_LATER, str(error))
        elif unsent:
            self._said(bytes(unsent))


def use_model(parts: Parts, call: Admitted, model: str) -> Refusal | None:
    """Give a session's call the model that was named, with its bound; why it may not use that one, or None."""
    provider, now_ns = call.provider, parts.clock.now_ns()
    price = forbidden(provider, call.caller.principal, model) or listed_price(parts, provider, model, now_ns)
    if isinstance(price, Refusal):
        return price
    limits = parts.models.facts(provider.price_as, model)
    call.facts.model = call.entry.model_requested = model
    call.price, call.bound = price, Bound(limits.context_window, limits.max_output, {})
    call.amounts = amounts_of(price, call.bound, call.facts)
    call.subject = replace(call.subject, model=model)
    return None
