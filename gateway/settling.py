"""How a call is written down: progress while it streams, and exactly one settlement however it ends."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from gateway.admission import Admitted
from gateway.call_state import SETTLING
from gateway.delivery import Delivery
from gateway.ledger.claims import Owner
from gateway.ledger.record import COMPLETED, Record
from gateway.ledger.rows import held_of
from gateway.quota.engine import Amounts, Subject
from gateway.settlement import (
    Ending,
    Most,
    beside_of,
    charged,
    checkpoint_of,
    merge_estimate,
    narrow,
    needs_estimate,
    owned,
    owns,
    record_of,
    within,
)
from gateway.wire.dialect import Meter
from gateway.wire.usage import Reading, Usage
from gateway.worst_case import learn, unnamed

CHECKPOINT_SECONDS = 1.0
NO_READING = Reading()


class Settling(Delivery):
    """From what the meter read to the ledger, the quotas and the metrics, which take the same numbers."""

    __slots__ = (
        "_body_at", "_checkpoint_at", "_cut_by", "_made", "_received_at", "_seen_bytes", "_sent_at", "_ttft_us",
    )  # fmt: skip

    def _ready(self) -> None:
        self._received_at = self._body_at = self._sent_at = self._checkpoint_at = 0.0
        self._ttft_us: int | None = None
        self._seen_bytes = 0
        self._made: Callable[[], int] | None = None
        """Output tokens that were made at most when the gateway closed the stream. Blocking. None: it did not, or
        nothing says so."""
        self._cut_by = ""
        """The quota that had no more room for the answer."""

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
        self._to(SETTLING)
        clock = parts.clock
        now = clock.monotonic()
        sent_at = self._sent_at
        ending = Ending(
            outcome,
            self._status,
            clock.now_ns(),
            int((now - self._received_at) * 1e6),
            self._ttft_us,
            int(((sent_at or now) - self._body_at) * 1e6),
            self._seen_bytes,
            clean,
            self._status != 0,
            sent_at != 0.0,
            self._cut_by,
        )
        reading = self._meter.reading() if self._meter is not None else NO_READING
        if reading.claim and call.facts.fetches:
            self._fetched(call, reading, ending)
        elif reading.claim and reading.usage is not None and (reading.complete if call.facts.stream else ending.clean):
            self._reported(call, reading, ending)
        else:
            self._reckon(call, reading, ending)

    def _fetched(self, call: Admitted, reading: Reading, ending: Ending) -> None:
        """The answer tells of a use that has an id of its own: it is charged once, to whoever began it."""

        def told(first: bool, owner: Owner | None) -> None:
            # what began a batch named no model
            model = (owner.model_requested if owner is not None else "") or reading.model
            reading.model = reading.model or model
            if first and owner is not None and not owns(owner, call):
                began = replace(owner, model_requested=model)
                self._book_owners(owned(call, began, self._parts.new_id()), reading, ending)
                first = False
            if first:
                self._call = self._named(charged(call), model)
            else:
                self._call = replace(call, facts=replace(call.facts, billable=False))
                if reading.usage is not None or not reading.begun_as:
                    # else: where the results lie is told, whose they are is to be remembered
                    reading.claim = ""
            self._reckon(self._call, reading, ending)

        ended = reading.complete if call.facts.stream else ending.clean
        if reading.usage is None and reading.failed and ended and ending.status < 300:
            # what failed and reported nothing costs nothing, as where it is not made in the background
            reading.usage, reading.source = Usage(), "response"
        if reading.usage is None or not ended:
            # of what broke off only a part may have been told
            told(False, None)
        else:
            self._parts.ledger.claim(call.provider.name, reading.claim, reading.begun_as, told)

    def _reported(self, call: Admitted, reading: Reading, ending: Ending) -> None:
        """The call that began a use reports it itself: it costs nothing here where somebody fetched it meanwhile."""

        def told(first: bool, owner: Owner | None) -> None:
            if not first:
                self._call = replace(call, facts=replace(call.facts, billable=False))
                reading.claim = ""
            self._reckon(self._call if self._call is not None else call, reading, ending)

        self._parts.ledger.claim(call.provider.name, reading.claim, reading.begun_as, told)

    def _named(self, call: Admitted, model: str) -> Admitted:
        """What was fetched is of a model, which no request to fetch names: it counts in the quotas of that one."""
        entry, quotas = call.entry, self._parts.quotas
        if call.reservation is not None:
            quotas.release(call.reservation, entry.started_ns)
        subject = replace(call.subject, model=model)
        names = quotas.counters.plan(subject, entry.started_ns).names
        entry = replace(entry, model_requested=model, quotas=names)
        return replace(call, entry=entry, subject=subject, reservation=None)

    def _book_owners(self, call: Admitted, reading: Reading, ending: Ending) -> None:
        """A record of what others began than those who fetched it, before the fetch's own."""
        parts = self._parts
        call.entry.quotas = parts.quotas.counters.plan(call.subject, call.entry.started_ns).names
        if reading.beside:
            self._book_beside(call, reading, ending, False)
        record = record_of(call, reading, ending.beside(), None)
        record.opened = False
        self._write_beside(record, call.subject)

    def _write_beside(self, record: Record, subject: Subject) -> Amounts:
        """Write down what no call was opened for; answers what it counts in quotas."""
        parts, call = self._parts, self._call
        assert call is not None
        used = Amounts(*held_of(record))
        self._beside_nanousd += record.cost_nanousd
        parts.quotas.book(subject, used, record.started_ns)
        parts.observer.started(record.provider)
        parts.observer.settled(record, call.provider.kind)
        parts.ledger.settle(record)
        return used

    def _reckon(self, call: Admitted, reading: Reading, ending: Ending) -> None:
        parts = self._parts
        if needs_estimate(call, reading, ending):
            parts.offload(
                lambda: self._estimate(call, reading),
                (Usage(), Most()),
                lambda found: self._book(reading, ending, *found),
            )
        else:
            self._book(reading, ending, None)

    def _estimate(self, call: Admitted, reading: Reading) -> tuple[Usage, Most]:
        """What a call used for which no report came, and what it can have used at most. Blocking."""
        facts, body, model, parts = call.facts, call.body, call.facts.model, self._parts
        usage = parts.estimator.estimate(facts, body, reading, call.provider.name, model)
        if call.reservation is None or not call.reservation.spans:
            return usage, Most()
        return usage, Most(parts.counter.count(model, facts, body), self._made() if self._made is not None else None)

    def _book(self, reading: Reading, ending: Ending, estimated: Usage | None, most: Most | None = None) -> None:
        """Price the call and write it down."""
        call, parts = self._call, self._parts
        assert call is not None
        if most is not None and (ending.outcome != COMPLETED or ending.cut_by):
            narrow(call, most)
        # while the call still holds room for them: nothing may take it in between
        if reading.beside:
            self._book_beside(call, reading, ending, estimated is not None)
        record = self._record = record_of(call, reading, ending, estimated)
        reservation = call.reservation
        if reservation is not None:
            call.reservation = None
            exceeded = parts.quotas.settle(reservation, Amounts(*held_of(record)), ending.ended_ns)
            # what was used before could not be held here
            if exceeded and not call.facts.fetches:
                parts.observer.exceeded(call.provider.kind, call.facts.api)
        elif call.facts.fetches:
            parts.quotas.book(call.subject, Amounts(*held_of(record)), record.started_ns)
        if record.usage_source == "response" and record.outcome == COMPLETED and not call.facts.fetches:
            self._teach(record)
        # a name with a price of its own needs no other's
        if (call.price is None or parts.answered) and call.facts.billable and reading.model:
            name = call.facts.model or unnamed(call.facts.api)
            learn(parts, call.provider, name, reading.model, call.entry.started_ns)
        parts.observer.settled(record, call.provider.kind)
        parts.ledger.settle(record, self._settled)

    def _book_beside(self, call: Admitted, reading: Reading, ending: Ending, whole: bool) -> None:
        """Other models worked on the answer: their records are written before the call's own. ``whole``: all that the
        call held may be counted, of which this is a part."""
        parts, entry = self._parts, call.entry
        for record in beside_of(call, reading, ending, parts.new_id):
            used = self._write_beside(record, replace(call.subject, model=record.model))
            if whole:
                entry.reserved_nanousd = max(0, entry.reserved_nanousd - used.nanousd)
                entry.reserved_input_tokens = max(0, entry.reserved_input_tokens - used.input_tokens)
                entry.reserved_output_tokens = max(0, entry.reserved_output_tokens - used.output_tokens)

    def _teach(self, record: Record) -> None:
        """A call whose usage was reported teaches the estimates of its model."""
        call, estimator, meter = self._call, self._parts.estimator, self._meter
        assert call is not None
        facts, body, provider, model, usage = call.facts, call.body, record.provider, call.facts.model, record.usage
        if not estimator.observe(provider, model, usage, len(body), self._seen_bytes, facts.stream):
            return
        if meter is not None:
            seen = Reading(model=record.model, sample=meter.sample(), decoded_bytes=meter.reading().decoded_bytes)
            self._parts.offload(
                lambda: estimator.counted(facts, body, seen, model),
                Usage(),
                lambda counted: estimator.learn(provider, model, counted, usage),
            )
