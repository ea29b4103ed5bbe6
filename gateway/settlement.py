"""From what a response said to one record: usage, price, lines. Pure; the same for every way a call can end."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gateway.admission import Admitted
from gateway.ledger.claims import Owner
from gateway.ledger.record import COMPLETED, Checkpoint, Record
from gateway.tokens.bounds import Bound
from gateway.wire.batches import SUMMED
from gateway.wire.openai_reader import only_announced
from gateway.wire.usage import Reading, Usage
from gateway.worst_case import amounts_of
from pricing.cards import canonical_region
from pricing.money import Line
from pricing.units import SEEN

NOTHING = Usage()


class Ending:
    """How a call ended, seen from outside."""

    __slots__ = (
        "answered", "clean", "cut_by", "ended_ns", "gateway_us", "latency_us", "outcome", "response_bytes", "sent",
        "status", "ttft_us",
    )  # fmt: skip

    def __init__(
        self,
        outcome: str,
        status: int,
        ended_ns: int,
        latency_us: int,
        ttft_us: int | None,
        gateway_us: int,
        response_bytes: int,
        clean: bool,
        answered: bool,
        sent: bool,
        cut_by: str = "",
    ) -> None:
        self.outcome = outcome
        self.status = status
        self.ended_ns = ended_ns
        self.latency_us = latency_us
        self.ttft_us = ttft_us
        self.gateway_us = gateway_us
        self.response_bytes = response_bytes
        self.clean = clean
        """The response ended as its framing says."""
        self.answered = answered
        """A response's head was seen."""
        self.sent = sent
        """The provider may have seen the request."""
        self.cut_by = cut_by
        """The quota that had no more room for the answer."""

    def beside(self) -> Ending:
        """The same for what another model did of it: its bytes and times are the call's own."""
        outcome, status, ended_ns, latency_us = self.outcome, self.status, self.ended_ns, self.latency_us
        return Ending(outcome, status, ended_ns, latency_us, None, 0, 0, self.clean, self.answered, self.sent)


class Most(msgspec.Struct, frozen=True):
    """What a call that broke off can have used at most, where more is known than its bound. None: it is not."""

    input_tokens: int | None = None
    output_tokens: int | None = None


def needs_estimate(call: Admitted, reading: Reading, ending: Ending) -> bool:
    """True where the provider may charge for more than it reported."""
    if not call.facts.billable or not ending.sent:
        return False
    if ending.answered and not 200 <= ending.status < 300:
        return False
    if not ending.answered:
        return ending.outcome not in ("upstream_error", "upstream_timeout")
    if reading.usage is None:
        # an error alone, instead of an answer, costs nothing
        return not reading.failed or (reading.frames > 1 and not only_announced(call.facts, reading))
    return not reading.complete and (reading.partial or not ending.clean)


def merge_estimate(reported: Usage | None, estimated: Usage) -> Usage:
    """What was reported before a break, and the estimate for what came after it: never less than either."""
    if reported is None:
        return estimated
    merged = msgspec.structs.replace(reported)
    merged.input_tokens_total = reported.input_tokens_total or estimated.input_tokens_total
    merged.output_tokens_total = max(reported.output_tokens_total, estimated.output_tokens_total)
    merged.audio_milliseconds = reported.audio_milliseconds or estimated.audio_milliseconds
    return merged


def narrow(call: Admitted, most: Most) -> None:
    """Hold no more than a call that broke off can have used: its quotas count what was held."""
    entry, old = call.entry, call.bound
    tokens_in, tokens_out = old.input_tokens, old.output_tokens
    if most.input_tokens is not None:
        tokens_in = min(tokens_in, most.input_tokens)
    if most.output_tokens is not None:
        tokens_out = min(tokens_out, most.output_tokens)
    call.bound = Bound(tokens_in, tokens_out, old.units)
    call.amounts = amounts_of(call.price, call.bound, call.facts, call.others)
    entry.reserved_nanousd = min(entry.reserved_nanousd, call.amounts.nanousd)
    entry.reserved_input_tokens = call.amounts.input_tokens
    entry.reserved_output_tokens = call.amounts.output_tokens


def within(call: Admitted, estimated: Usage) -> Usage:
    """An estimate, at most what the call had reserved: that is a bound of what it can have used."""
    entry = call.entry
    estimated.input_tokens_total = min(estimated.input_tokens_total, entry.reserved_input_tokens)
    estimated.output_tokens_total = min(estimated.output_tokens_total, entry.reserved_output_tokens)
    return estimated


def price_usage(call: Admitted, usage: Usage, reading: Reading) -> tuple[int, tuple[Line, ...], str, bool]:
    """Cost in nanousd, its lines, where the price came from, and whether one is known."""
    facts = call.facts
    if not facts.billable or reading.waived:
        return 0, (), reading.waived, True
    price = call.price_of(reading.model)
    if price is None:
        reported = reading.reported_cost_nanousd
        if reported is None:
            return 0, (), "", False
        return reported, (Line("reported", 1, "request", reported),), "reported by the provider", True
    # by position: names cost more than the bill
    tier, region = reading.service_tier or facts.service_tier, region_of(call, reading)
    cost, summed = reading.reported_cost_nanousd, facts.api in SUMMED
    bill = price.bill(usage, call.entry.started_ns, tier, region, cost, summed)
    return bill.nanousd, bill.lines, bill.source, True


def region_of(call: Admitted, reading: Reading) -> str:
    """Where a call was served: as the answer says, if it names a region, else as the request asks."""
    told = reading.region
    if not told:
        return call.facts.region
    return told if canonical_region(told) else call.facts.region or told


def keep_reported(usage: Usage, lines: tuple[Line, ...]) -> None:
    """Usage is what was reported: searches that were only seen in the answer stay where a price charges for them."""
    if usage.web_searches_seen and all(line.item != SEEN for line in lines):
        usage.web_searches_seen = 0


def record_of(call: Admitted, reading: Reading, ending: Ending, estimated: Usage | None) -> Record:
    """The one record of ``call``. ``estimated``: usage for what the provider did not report; None: nothing is due."""
    entry = call.entry
    if estimated is not None:
        usage, source = merge_estimate(reading.usage, within(call, estimated)), "estimated"
    elif reading.usage is not None and call.facts.billable:
        usage, source = reading.usage, reading.source
    else:
        usage, source = NOTHING, "none"
    if source == "none" and not (ending.status < 300 and call.facts.billable and ending.outcome == COMPLETED):
        cost, price, priced = 0, "", True
        lines: tuple[Line, ...] = ()
    else:
        cost, lines, price, priced = price_usage(call, usage, reading)
        keep_reported(usage, lines)
    # by position: so many names cost twenty times as much
    return Record(
        entry.request_id,
        entry.started_ns,
        ending.ended_ns,
        entry.team,
        entry.workflow,
        entry.key_id,
        entry.tags,
        entry.provider,
        entry.api,
        entry.method,
        entry.path,
        entry.model_requested,
        reading.model or entry.model_requested,
        entry.stream,
        ending.status,
        ending.outcome,
        usage,
        source,
        cost,
        lines,
        price,
        priced,
        reading.reported_cost_nanousd,
        entry.quotas,
        ending.cut_by,
        entry.reserved_nanousd,
        entry.reserved_input_tokens,
        entry.reserved_output_tokens,
        ending.latency_us,
        ending.ttft_us,
        ending.gateway_us,
        entry.request_bytes,
        ending.response_bytes,
        entry.trace_id,
        reading.service_tier or call.facts.service_tier,
        region_of(call, reading),
        entry.prompt_hash,
        entry.span,
        reading.claim,
        True,
        (reading.claim != "" or call.facts.hidden) and source == "estimated",
        reading.begun_as,
    )


def beside_of(call: Admitted, reading: Reading, ending: Ending, new_id: Callable[[], str]) -> list[Record]:
    """A record for each other model that worked on the same answer, at its own price. What was held for them is in
    the reservation of the call."""
    found = []
    for one in reading.beside if call.facts.billable else ():
        facts = msgspec.structs.replace(call.facts, api=one.api, model=one.model)
        entry = msgspec.structs.replace(
            call.entry,
            request_id=new_id(),
            api=one.api,
            model_requested=one.model,
            reserved_nanousd=0,
            reserved_input_tokens=0,
            reserved_output_tokens=0,
            request_bytes=0,
        )
        price = call.book.find(call.provider.price_as, one.model, entry.started_ns)
        told = Reading(
            usage=one.usage, source="response", service_tier=reading.service_tier, region=reading.region, complete=True
        )
        one_call = msgspec.structs.replace(call, facts=facts, entry=entry, price=price)
        record = record_of(one_call, told, ending.beside(), None)
        record.opened = False
        found.append(record)
    return found


def charged(call: Admitted) -> Admitted:
    """A call that fetched what is to be charged now."""
    return msgspec.structs.replace(call, facts=msgspec.structs.replace(call.facts, billable=True))


def owns(owner: Owner, call: Admitted) -> bool:
    """Whether a call is of those who began what it fetched."""
    entry = call.entry
    return (owner.team, owner.workflow, owner.key_id, owner.tags) == (
        entry.team,
        entry.workflow,
        entry.key_id,
        entry.tags,
    )


def owned(call: Admitted, owner: Owner, request_id: str) -> Admitted:
    """What others fetched, for the record of those who began it."""
    entry = msgspec.structs.replace(
        call.entry,
        request_id=request_id,
        team=owner.team,
        workflow=owner.workflow,
        key_id=owner.key_id,
        tags=owner.tags,
        model_requested=owner.model_requested,
        request_bytes=0,
    )
    subject = msgspec.structs.replace(
        call.subject,
        team=owner.team,
        workflow=owner.workflow,
        key=owner.key_id,
        model=owner.model_requested,
        tags=tuple(sorted(owner.tags.items())),
    )
    return msgspec.structs.replace(charged(call), entry=entry, subject=subject, reservation=None)


def checkpoint_of(call: Admitted, reading: Reading, usage: Usage, status: int, at_ns: int, seen: int) -> Checkpoint:
    """How far ``call`` has come, priced, should nobody come back."""
    cost, lines, price, priced = price_usage(call, usage, reading)
    keep_reported(usage, lines)
    return Checkpoint(
        request_id=call.entry.request_id,
        at_ns=at_ns,
        model=reading.model,
        usage=usage,
        cost_nanousd=cost,
        cost_lines=lines,
        price=price,
        priced=priced,
        reported_cost_nanousd=reading.reported_cost_nanousd,
        service_tier=reading.service_tier or call.facts.service_tier,
        region=region_of(call, reading),
        status=status,
        response_bytes=seen,
        reserved_nanousd=call.entry.reserved_nanousd,
        reserved_input_tokens=call.entry.reserved_input_tokens,
        reserved_output_tokens=call.entry.reserved_output_tokens,
    )
