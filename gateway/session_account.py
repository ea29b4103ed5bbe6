"""What a session holds in the quotas and writes into the ledger: for its own call, and for each of its responses."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from gateway.admission import Admitted, reserve, reserve_lent
from gateway.ledger.record import Record
from gateway.ledger.rows import held_of
from gateway.ledger.store import Done, LedgerFull, LedgerUnavailable
from gateway.parts import Parts
from gateway.quota.engine import Amounts, Shortage
from gateway.settlement import Ending, record_of
from gateway.wire.facts import Facts
from gateway.wire.talks import Ended
from gateway.wire.usage import Reading, Usage


class SessionAccount:
    """Quotas, ledger and metrics of one session, which take the same numbers. Knows no socket."""

    def __init__(self, parts: Parts, api: str) -> None:
        self._parts = parts
        self._api = api
        self._call: Admitted | None = None
        """The session's own."""
        self._status = 0
        self._bytes = 0

    # how a call begins: the session's own, and those that it makes

    def _hold(self, call: Admitted, then: Callable[[Shortage | None], None]) -> None:
        """Hold what a call may cost; ``then`` hears which quota has no room for it, once nothing more is lent."""
        short = reserve(self._parts, call)
        if short is None:
            then(None)
        else:
            reserve_lent(self._parts, call, short, then)

    def _enter(self, call: Admitted, then: Done) -> None:
        """Write down that a call begins; ``then`` hears when that is durable, or why it can't be."""
        try:
            self._parts.ledger.open(call.entry, then)
        except (LedgerFull, LedgerUnavailable) as error:
            then(error)

    def _give_back(self, call: Admitted) -> None:
        held, call.reservation = call.reservation, None
        if held is not None:
            self._parts.quotas.release(held, self._parts.clock.now_ns())

    def _release(self) -> None:
        """What the session itself holds."""
        if self._call is not None:
            self._give_back(self._call)

    # how one ends

    def _booked(self, ended: Ended, outcome: str, call: Admitted | None = None) -> Record:
        """The record of one response; quotas and metrics take the same numbers. ``call``: what holds room for it, if
        not the session's own."""
        call, parts = call or self._call, self._parts
        assert call is not None
        reading, estimated = ended.reading, Usage() if ended.untold else None
        if reading.usage is None and reading.sample:
            estimated = parts.estimator.estimate(call.facts, b"", reading, call.provider.name, call.facts.model)
        now_ns = parts.clock.now_ns()
        asked_ns = now_ns if call is self._call else call.entry.started_ns
        entry = replace(
            call.entry, request_id=parts.new_id(), api=self._api, started_ns=min(ended.began_ns or asked_ns, now_ns)
        )
        record = record_of(replace(call, entry=entry), reading, self._ending(outcome, entry.started_ns), estimated)
        record.opened = False
        used, held = Amounts(*held_of(record)), call.reservation
        call.reservation = None
        if held is None:
            # there was no room for it, or none yet, and it came all the same
            parts.quotas.book(call.subject, used, record.started_ns)
        else:
            # room was held when the response before it ended, which may be hours ago
            parts.quotas.began(held, record.started_ns)
            if parts.quotas.settle(held, used, now_ns):
                parts.observer.exceeded(call.provider.kind, self._api)
        parts.observer.started(record.provider)
        parts.observer.settled(record, call.provider.kind)
        return record

    def _booked_itself(self, outcome: str) -> Record:
        """The session's own record: it used nothing beside its responses."""
        call = self._call
        assert call is not None
        self._release()
        facts = Facts(api=call.entry.api, model=call.facts.model, stream=True, region=call.facts.region)
        ending = self._ending(outcome, call.entry.started_ns)
        record = record_of(replace(call, facts=facts), Reading(), ending, None)
        self._parts.observer.settled(record, call.provider.kind)
        return record

    def _ending(self, outcome: str, started_ns: int) -> Ending:
        now_ns = self._parts.clock.now_ns()
        return Ending(
            outcome=outcome,
            status=self._status,
            ended_ns=now_ns,
            latency_us=(now_ns - started_ns) // 1000,
            ttft_us=None,
            gateway_us=0,
            response_bytes=self._bytes,
            clean=True,
            answered=self._status != 0,
            sent=True,
        )
