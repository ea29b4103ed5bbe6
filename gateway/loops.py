"""Calls whose answer is a loop of the provider's own tools, under a rule that lets through only what has a bound.

Each turn of such a loop reads the whole context again, and some have no documented end. A rule with
``unbounded = "refuse"`` holds the context window for every turn that can be; where turns or searches have no end, a
limit is put into the request, if every such rule allows a clamp, else the call is refused.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.admission import Admitted
from gateway.parts import Parts
from gateway.quota.rule import UNITS, Rule
from gateway.tokens.bounds import bound, looped
from gateway.wire.dialect import Refusal
from gateway.wire.facts import SEARCHES
from gateway.wire.tool_limits import limited
from gateway.worst_case import Others, amounts_of, limits_of, others_of

LIMITS = (SEARCHES, 10, 3, 1)
"""What is tried as a limit; the first that fits into what is left is taken."""
COUNTED = frozenset(UNITS.index(name) for name in ("usd", "tokens", "input_tokens"))


def bounded(parts: Parts, call: Admitted) -> tuple[Refusal, str] | None:
    """Hold what is proven, for rules that ask for it; where nothing is, the refusal and the quota that refuses."""
    rules = list(_strict(parts, call))
    if not rules or not call.facts.billable:
        return None
    if call.facts.unbounded:
        if not (call.facts.bounded_by and all(rule.clamp for rule in rules)) or not _limit(parts, call):
            return _refusal(rules[0], call), rules[0].name
    else:
        _hold(parts, call)
    return None


def clamped(call: Admitted) -> bytes:
    """What was lowered or set, for ``x-spendgate-clamped``: output tokens a choice, and a limit on tools."""
    return b", ".join(filter(None, (b"" if call.clamped is None else b"%d" % call.clamped, call.limited)))


def _strict(parts: Parts, call: Admitted) -> Iterator[Rule]:
    for counter in parts.quotas.counters.plan(call.subject, call.entry.started_ns).counters:
        rule = counter.rule
        if rule.proven and rule.blocking and not COUNTED.isdisjoint(rule.units):
            yield rule


def _hold(parts: Parts, call: Admitted) -> None:
    """Hold the context of every turn."""
    known = limits_of(parts, call.provider, call.facts)
    call.bound = looped(bound(call.facts, known), call.facts, known)
    if call.facts.others:
        principal, now_ns = call.caller.principal, call.entry.started_ns
        found = others_of(parts, call.provider, principal, call.facts, bound(call.facts, known), now_ns)
        assert isinstance(found, Others)
        call.others = found
    call.amounts = amounts_of(call.price, call.bound, call.facts, call.others)


def _limit(parts: Parts, call: Admitted) -> bool:
    """Put a limit into the request: the largest that fits, else the smallest. False: that can't be done."""
    name, caller, original = call.facts.bounded_by, call.caller, call.body
    for most in LIMITS:
        body = limited(original, name, most)
        if body is None:
            return False
        facts = call.provider.dialect.read(caller.method, call.target, caller.content_type, body)
        if facts.unbounded:
            return False
        # whether usage was asked for is what the client said, before the gateway asked
        facts.asks_usage = call.facts.asks_usage
        call.facts, call.body, call.limited = facts, body, b"%b=%d" % (name.encode(), most)
        _hold(parts, call)
        room = parts.quotas.room(call.subject, call.entry.started_ns)
        amounts = call.amounts
        needs = ((room.nanousd, amounts.nanousd), (room.input_tokens, amounts.input_tokens),
                 (room.tokens, amounts.input_tokens + amounts.output_tokens))  # fmt: skip
        if all(left is None or wanted <= left for left, wanted in needs):
            break
    return True


def _refusal(rule: Rule, call: Admitted) -> Refusal:
    how = f" Set {call.facts.bounded_by}." if call.facts.bounded_by else ""
    return Refusal(
        status=429,
        code="quota_unbounded",
        message=f'Quota "{rule.name}" lets only calls through whose cost has an upper bound, and this one has none: '
        f"{call.facts.unbounded}.{how}",
        model=call.facts.model,
    )
