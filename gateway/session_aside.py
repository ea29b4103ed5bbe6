"""The realtime API: a conversation that makes one response after the other, and others beside it at any time.

For the conversation's next response the session holds room, see ``gateway.session``. Each message that asks for one
aside (``response.create`` out of band) goes to the provider when there is room for that one too, and what the session
holds in all is durable: so many of them can be made at once. Where the provider refuses such a message, nothing is held
for it any more, if the client gave it an ``event_id``: nothing else tells which message was refused.
"""

from __future__ import annotations

from collections import deque

from msgspec.structs import replace

from gateway.admission import Admitted
from gateway.caller import Caller
from gateway.ledger.record import COMPLETED, Checkpoint
from gateway.near import refusal_of
from gateway.parts import Parts
from gateway.ports import ClientPort, RequestHead
from gateway.quota.engine import Shortage
from gateway.session import POLICY_VIOLATION, TRY_AGAIN_LATER
from gateway.session_read import ReadSession
from gateway.wire.openai_asks import asks_aside, id_of
from gateway.wire.talks import Ended
from gateway.wire.usage import Reading

MAX_IDS = 256
"""Of so many messages, the last ones, it is known what the client called them."""


class RealtimeSession(ReadSession):
    """Holds room for each response that is asked for aside."""

    whole = False
    masked = None

    def __init__(self, parts: Parts, caller: Caller, client: ClientPort, head: RequestHead, api: str) -> None:
        super().__init__(parts, caller, client, head, api)
        self._aside: list[Admitted] = []
        """What the provider was asked for aside and has not done."""
        self._ids: deque[str] = deque(maxlen=MAX_IDS)
        """What the client called its messages that asked for it."""

    # the client

    def _wanted(self, message: bytes) -> bytes | None:
        return asks_aside(message)

    def _ask(self, wanted: bytes) -> None:
        session = self._call
        assert session is not None
        parts = self._parts
        entry = replace(session.entry, request_id=parts.new_id(), started_ns=parts.clock.now_ns())
        call = replace(session, entry=entry, reservation=None)
        self._ids.append(id_of(wanted))
        self._hold(call, lambda short: self._granted(call, short))

    def _granted(self, call: Admitted, short: Shortage | None) -> None:
        """There is room for it, or not."""
        parts = self._parts
        if self._over or self._why:
            self._give_back(call)
        elif short is not None:
            self._close(POLICY_VIOLATION, refusal_of(short, parts.clock.now_ns()).message)
        else:
            parts.ledger.checkpoint(self._holds(len(self._aside) + 2), lambda error: self._kept(call, error))

    def _kept(self, call: Admitted, error: Exception | None) -> None:
        """That it is held is durable, or can't be."""
        if error is None and not (self._over or self._why):
            self._aside.append(call)
            self._next()
            return
        self._give_back(call)
        if error is not None:
            self._close(TRY_AGAIN_LATER, str(error))

    def _holds(self, responses: int) -> Checkpoint:
        """What is held for so many responses, should nobody come back."""
        call, parts = self._call, self._parts
        assert call is not None
        amounts = call.amounts
        return Checkpoint(
            request_id=call.entry.request_id,
            at_ns=parts.clock.now_ns(),
            status=self._status,
            reserved_nanousd=amounts.nanousd * responses,
            reserved_input_tokens=amounts.input_tokens * responses,
            reserved_output_tokens=amounts.output_tokens * responses,
        )

    # the provider

    def _response(self, ended: Ended) -> None:
        if ended.refused:
            self._refused(ended)
            return
        if not (ended.aside and self._aside):
            super()._response(ended)
            return
        self._holding += 1
        record = self._booked(ended, COMPLETED, self._aside.pop())
        self._parts.ledger.settle(record, self._done_aside)

    def _refused(self, ended: Ended) -> None:
        """The provider refused a message: where it asked for a response aside, nothing is held for that any more."""
        if self._over or ended.refused not in self._ids or ended.running >= len(self._aside):
            return
        self._ids.remove(ended.refused)
        self._give_back(self._aside.pop())
        self._parts.ledger.checkpoint(self._holds(len(self._aside) + 1))

    def _done_aside(self, error: Exception | None) -> None:
        """Its record is durable: no more is held for it."""
        if error is None and not self._over:
            self._parts.ledger.checkpoint(self._holds(len(self._aside) + 1))
        self._recorded(error)

    # the end

    def _end(self, outcome: str) -> None:
        if self._over:
            return
        ledger, broken = self._parts.ledger, self._broken(outcome)
        unfinished = self._talk.unfinished() if self._talk is not None else None
        if unfinished is not None:
            aside = unfinished.aside and bool(self._aside)
            ledger.settle(self._booked(unfinished, broken, self._aside.pop() if aside else None))
        while self._aside:
            # the provider may have begun what it has not told of
            ledger.settle(self._booked(Ended(Reading(), 0, aside=True, untold=True), broken, self._aside.pop()))
        super()._end(outcome)
