"""Near a limit, before a call is refused: count exactly, lower the output limit, wait for a turn. In this order."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from gateway.admission import Admitted, for_others, reserve, reserve_lent
from gateway.extension import HEADROOM_TOKENS, LEAST_TOKENS, MARGIN_TOKENS, extendable, first_bound
from gateway.parts import Parts
from gateway.quota.counter import Counter
from gateway.quota.engine import Room, Shortage
from gateway.quota.rule import CONCURRENT, UNITS
from gateway.tokens.bounds import Bound
from gateway.wire.dialect import Refusal
from gateway.wire.facts import UNLIMITED
from gateway.worst_case import amounts_of
from pricing.money import NANO

MIN_OUTPUT_TOKENS = 16
"""A clamp below this would only buy an answer that is of no use; OpenAI's responses API takes no less."""
COUNTED = ("usd", "tokens", "input_tokens")
SOON_RETRY_MS = 1000
"""When to try again where only calls in flight are in the way: they give back what they don't use."""

Done = Callable[["Refusal | None", str], None]


class Near:
    """The slow path of one call. Ends with one call of ``done``: with None when room is reserved."""

    def __init__(self, parts: Parts, call: Admitted, shortage: Shortage, done: Done) -> None:
        self._parts = parts
        self._call = call
        self._shortage = shortage
        self._done = done
        self._cancelled = False
        self._since = 0.0
        """When it began to wait; 0: it has not."""
        self._leave: Callable[[], None] | None = None
        self._asking = False
        """It stands in line, and has asked for more to be lent."""

    def start(self) -> None:
        if self._shortage.behind:
            self._wait()
        else:
            self._lent(self._count)

    def _lent(self, otherwise: Callable[[], None]) -> None:
        """Where room is lent, try with more of it; else ``otherwise``."""

        def done(short: Shortage | None) -> None:
            if self._cancelled:
                self._give_back()
            elif short is None:
                self._done(None, "")
            else:
                self._shortage = short
                otherwise()

        reserve_lent(self._parts, self._call, self._shortage, done)

    def _give_back(self) -> None:
        """What came after the client had gone."""
        held, self._call.reservation = self._call.reservation, None
        if held is not None:
            self._parts.quotas.release(held, self._parts.clock.now_ns())

    def _count(self) -> None:
        call = self._call
        if self._shortage.unit in COUNTED and call.facts.billable and not call.facts.input_open:
            counter, model, facts, body = self._parts.counter, call.facts.model, call.facts, call.body
            self._parts.offload(lambda: counter.count(model, facts, body), None, self._counted)
        else:
            self._clamp()

    def cancel(self) -> None:
        """The client is gone: leave the line, reserve nothing."""
        self._cancelled = True
        if self._leave is not None:
            self._leave()

    def _counted(self, tokens: int | None) -> None:
        if self._cancelled:
            return
        call = self._call
        if tokens is not None and tokens < call.bound.input_tokens:
            call.bound = Bound(tokens, call.bound.output_tokens, call.bound.units)
            call.amounts = amounts_of(call.price, call.bound, call.facts, call.others)
            if not self._try():
                self._lent(self._clamp)
            return
        self._clamp()

    def _try(self) -> bool:
        # for the ledger a call begins when room was found for it: so it is charged to the windows that hold it
        self._call.entry.started_ns = self._parts.clock.now_ns()
        shortage = reserve(self._parts, self._call)
        if shortage is None:
            self._done(None, "")
            return True
        self._shortage = shortage
        return False

    def _clamp(self) -> None:
        """Lower the output limit to what is left, where every rule that is short allows it."""
        call = self._call
        if self._shortage.clamp and not call.facts.output_free:
            limit = self._affordable(self._room())
            if limit >= MIN_OUTPUT_TOKENS and self._clamped_to(limit):
                if not self._try():
                    self._lent(self._extend)
                return
            if call.provider.dialect.clamp(call.facts, call.body, MIN_OUTPUT_TOKENS) is not None:
                self._would_do_with(MIN_OUTPUT_TOKENS)
        self._extend()

    def _extend(self) -> None:
        """Begin with a small reservation that grows with the answer, where every rule that is short allows it."""
        call = self._call
        if not self._shortage.extend or not extendable(call):
            self._wait()
            return
        counter, model = self._parts.counter, call.facts.model
        self._parts.offload(lambda: counter.prepare(model), None, self._extended)

    def _extended(self, _: None) -> None:
        if self._cancelled:
            return
        call = self._call
        room = self._room()
        # the answers that have begun come first: else all of them would be cut short when the budget ends
        first = first_bound(call, self._affordable(room) - room.growing * HEADROOM_TOKENS)
        if first is None:
            self._would_do_with(MARGIN_TOKENS + LEAST_TOKENS)
            self._wait()
            return
        shortage, bound, amounts = self._shortage, call.bound, call.amounts
        call.extends = bound.output_tokens
        call.bound, call.amounts = first, amounts_of(call.price, first, call.facts, call.others)
        if not self._try():

            def otherwise() -> None:
                call.bound, call.amounts, call.extends, self._shortage = bound, amounts, 0, shortage
                self._wait()

            self._lent(otherwise)

    def _would_do_with(self, tokens: int) -> None:
        """The call waits or is refused, but not as one that needs its whole bound: so many output tokens a choice are
        enough for it to begin."""
        call, short = self._call, self._shortage
        output = min(call.bound.output_tokens, tokens * call.facts.choices)
        bound = Bound(call.bound.input_tokens, output, call.bound.units)
        least = amounts_of(call.price, bound, call.facts, call.others).vector()[UNITS.index(short.unit)]
        self._shortage = msgspec.structs.replace(short, least=least, hopeless=least > short.limit)

    def _room(self) -> Room:
        return self._parts.quotas.room(self._call.subject, self._call.entry.started_ns)

    def _affordable(self, room: Room) -> int:
        """Output tokens a choice that fit into what is left."""
        call = self._call
        tokens_in = call.bound.input_tokens
        left = call.bound.output_tokens
        others = call.others
        if room.nanousd is not None:
            tier, region = call.facts.service_tier, call.facts.region
            units = call.bound.units
            usd = max(0, room.nanousd - others.nanousd)
            for price in (call.price, *others.instead):
                if price is not None:
                    most = price.affordable_output(usd, tokens_in, units, service_tier=tier, region=region)
                    left = min(left, most)
        if room.output_tokens is not None:
            left = min(left, room.output_tokens - others.output_tokens)
        if room.tokens is not None:
            left = min(left, room.tokens - tokens_in - others.input_tokens - others.output_tokens)
        return left // max(1, call.facts.choices)

    def _clamped_to(self, limit: int) -> bool:
        """Lower the output limit of what is sent; False where that can't be done."""
        call = self._call
        body = call.provider.dialect.clamp(call.facts, call.body, limit)
        if body is None or (call.facts.max_output != UNLIMITED and limit >= call.facts.max_output):
            return False
        call.bound = Bound(call.bound.input_tokens, limit * call.facts.choices, call.bound.units)
        call.amounts = amounts_of(call.price, call.bound, call.facts, call.others)
        call.body = body
        call.clamped = limit
        return True

    def _wait(self) -> None:
        short, now = self._shortage, self._parts.clock.monotonic()
        self._since = self._since or now
        left = short.rule.queue_seconds - (now - self._since)
        if left > 0 and not short.hopeless and short.unit != "usd":
            place = (short.quota, short.bucket)
            self._leave = self._parts.line.enter(
                short.rule, short.bucket, self._call.subject.key, left, lambda: self._turn(place), self._refuse
            )
            if self._leave is not None:
                return
        self._refuse()

    def _turn(self, place: tuple[str, str]) -> bool:
        """It may be this call's turn. True: it leaves this line, with the room, or because it is another quota that
        has none; those behind it need not wait for that."""
        if self._cancelled:
            return True
        self._call.entry.request_id = self._parts.new_id()
        if self._try():
            return True
        if (self._shortage.quota, self._shortage.bucket) == place:
            if not self._asking and self._parts.quotas.ask(
                self._call.subject,
                self._call.amounts,
                self._call.entry.started_ns,
                self._asked,
                beside=for_others(self._call),
            ):
                self._asking = True
            return False
        self._clamp()
        return True

    def _asked(self, all_of_it: bool) -> None:
        """What was lent is for whoever stands first."""
        self._asking = False
        if all_of_it:
            self._parts.line.pump()

    def _refuse(self) -> None:
        if not self._cancelled:
            now_ns = self._parts.clock.now_ns()
            self._parts.quotas.refused(self._shortage, now_ns)
            self._done(refusal_of(self._shortage, now_ns), self._shortage.quota)


def behind_others(parts: Parts, call: Admitted) -> Shortage | None:
    """The quota for whose room others stand in line already; None: the call may try at once."""
    line = parts.line
    if not line.busy:
        return None
    for counter in parts.quotas.counters.plan(call.subject, call.entry.started_ns).counters:
        rule = counter.rule
        if rule.blocking and rule.queue_seconds and line.waited_for(rule.name, counter.bucket):
            return _behind(counter, call)
    return None


def _behind(counter: Counter, call: Admitted) -> Shortage:
    rule = counter.rule
    units = [(position, unit) for position, unit in enumerate(rule.units) if UNITS[unit] != "usd"]
    position, unit = units[-1]
    now_ns = call.entry.started_ns
    return Shortage(
        quota=rule.name,
        bucket=counter.bucket,
        unit=UNITS[unit],
        limit=rule.limit(position, now_ns),
        used=counter.used(position),
        reserved=counter.reserved(position),
        wanted=call.amounts.vector()[unit],
        resets_ns=None if unit == CONCURRENT else counter.reopens_ns(now_ns),
        hopeless=False,
        clamp=False,
        extend=False,
        rule=rule,
        behind=True,
    )


def refusal_of(short: Shortage, now_ns: int) -> Refusal:
    """What the caller is told: the quota, its limit, what is spent, and when it resets."""
    bucket = f" ({short.bucket})" if short.bucket else ""
    if short.unknown:
        return Refusal(
            status=503,
            code="quota_store_unavailable",
            message=f'What is left of quota "{short.quota}"{bucket} can\'t be known now: gateways share it, and '
            "their store can't be reached. Try again.",
            retry_after_ms=SOON_RETRY_MS,
        )
    parts = [
        f'Quota "{short.quota}"{bucket} has no room for this call: limit {_amount(short.unit, short.limit)}, '
        f"used {_amount(short.unit, short.used)}, held by calls in flight {_amount(short.unit, short.reserved)}, "
        f"this call may use up to {_amount(short.unit, short.wanted)}."
    ]
    retry_ms = None
    limits = {"limit": str(short.limit), "remaining": str(max(0, short.limit - short.used - short.reserved))}
    limits["unit"] = "requests" if short.unit == "concurrent" else short.unit
    if short.resets_ns is not None:
        reset = datetime.fromtimestamp(short.resets_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        until_ms = max(1, (short.resets_ns - now_ns) // 1_000_000)
        limits |= {"reset": reset, "reset_seconds": str(-(-until_ms // 1000))}
    if not short.limit:
        parts.append("The limit is 0: no call gets through.")
    elif short.hopeless:
        parts.append("The call alone is larger than the limit: lower its output limit or send less input.")
    elif short.held_up:
        retry_ms = SOON_RETRY_MS
        parts.append("Try again when some of the calls in flight have ended.")
    elif short.resets_ns is not None:
        retry_ms = until_ms
    if short.resets_ns is not None:
        parts.append(f"It resets at {reset}.")
    elif short.unit != "concurrent":
        parts.append("It never resets: ask your platform team for a raise.")
    return Refusal(
        status=429,
        code="quota_exceeded",
        message=" ".join(parts),
        retry_after_ms=retry_ms,
        limits={} if short.unit == "usd" else limits,
    )


def _amount(unit: str, value: int) -> str:
    if unit == "usd":
        return f"${value / NANO:.6f}"
    return f"{value} {UNITS[3] if unit.endswith('tokens') else unit}"
