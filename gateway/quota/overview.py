"""How all counters stand, over all processes: what the admin port, the metrics and the events show."""

from __future__ import annotations

from collections import deque

from gateway.quota.accounts import Account
from gateway.quota.counter import Counter, Span
from gateway.quota.engine import Quotas
from gateway.quota.leases import Lender
from gateway.quota.rule import CONCURRENT


def show(quotas: Quotas, lender: Lender, now_ns: int) -> None:
    """Bring ``quotas`` to what the lender knows, and tell of thresholds that were crossed."""
    touched, lender.touched = lender.touched, set()
    for account in touched:
        counter = quotas.counters.counter(account.rule, account.bucket, now_ns)
        _copy(account, counter, now_ns)
        if counter.rule.warn_at:
            quotas.notices.warn(counter, now_ns)


def _copy(account: Account, counter: Counter, now_ns: int) -> None:
    counter.current(now_ns)
    flying: dict[int, list[int]] = {}
    for start, share in sorted(account.shares.items()):
        for process, stand in share.stands.items():
            flying[process] = stand.reserved
        span = _span(counter, start, share.end_ns)
        if span is not None:
            for position, unit in enumerate(counter.rule.units):
                if unit != CONCURRENT:
                    span.used[position], span.reserved[position] = share.used(position), share.reserved(position)
    for position, unit in enumerate(counter.rule.units):
        if unit == CONCURRENT:
            counter.span.reserved[position] = sum(reserved[position] for reserved in flying.values())
    counter.recount()


def _span(counter: Counter, start_ns: int, end_ns: int) -> Span | None:
    """The part of a counter that begins then, if it counts."""
    if counter.span.start_ns == start_ns:
        return counter.span
    if start_ns > counter.span.start_ns:
        return None
    if not counter.rule.rolling_ns or not end_ns > counter.span.start_ns - counter.rule.rolling_ns:
        return None
    for part in counter.parts:
        if part.start_ns == start_ns:
            return part
    part = Span(counter, start_ns, end_ns)
    counter.parts = deque(sorted((*counter.parts, part), key=lambda one: one.start_ns))
    return part
