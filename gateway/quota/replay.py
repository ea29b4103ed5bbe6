"""Counters rebuilt from the ledger: at a start, for a new rule, and to prove that none has drifted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from gateway.ledger.view import Spent, UsageView
from gateway.quota.counter import Span
from gateway.quota.counters import OTHER
from gateway.quota.engine import Quotas
from gateway.quota.matcher import Matcher, bucket_of
from gateway.quota.rule import CONCURRENT, UNITS, Rule, Subject
from gateway.quota.terms import Amounts
from gateway.quota.windows import FOREVER, ROLLING_PARTS


class Difference(msgspec.Struct, frozen=True):
    """A counter that does not agree with the ledger."""

    quota: str
    bucket: str
    unit: str
    counted: int
    ledger: int


MANY = 1 << 40
NEAR_NS = 60_000_000_000
"""A call begins no longer than this after its id was made."""
MOST_AHEAD = 2000
"""Windows to come that are looked into."""
Photo = dict[tuple[str, str], tuple[int, ...]]
"""What is used, by rule and bucket."""


def load(quotas: Quotas, view: UsageView, now_ns: int, rules: Iterable[Rule] | None = None) -> None:
    """Set what is used, of all rules or of ``rules``, from the ledger."""
    for rule in quotas.rules:
        if not rule.per:
            quotas.counters.counter(rule, "", now_ns)
    by_window: dict[tuple[int, int], list[Rule]] = {}
    last_ns = view.last_start_ns(now_ns - NEAR_NS)
    for rule in quotas.rules if rules is None else rules:
        for span in (*spans_of(rule, now_ns), *spans_ahead(rule, now_ns, last_ns)):
            by_window.setdefault(span, []).append(rule)
    for (start_ns, end_ns), group in sorted(by_window.items(), key=lambda item: item[0]):
        matcher = Matcher(group)
        for spent in view.spent(start_ns, min(end_ns, FOREVER)):
            subject = subject_of(spent)
            for rule in matcher.rules_for(subject):
                _add(quotas, rule, bucket_of(rule, subject), spent, start_ns, end_ns, now_ns)


def new_rules(quotas: Quotas, old: Quotas) -> list[Rule]:
    """Rules that ``old`` did not have in this form: their use must be loaded."""
    before = {rule.name: rule.source for rule in old.rules}
    return [rule for rule in quotas.rules if before.get(rule.name) != rule.source]


def photo(quotas: Quotas, now_ns: int) -> Photo:
    """What all counters hold as used at this moment."""
    taken: Photo = {}
    for counter in quotas.counters:
        counter.current(now_ns)
        taken[counter.rule.name, counter.bucket] = tuple(map(counter.used, range(len(counter.rule.units))))
    return taken


def differences(live: Photo, rules: Iterable[Rule], view: UsageView, now_ns: int) -> list[Difference]:
    """Where ``live`` is not what the ledger says. The ledger must hold all that was settled when ``live`` was taken,
    and nothing that came later."""
    kept = list(rules)
    true = Quotas(kept, max_counters=MANY)
    load(true, view, now_ns)
    should = photo(true, now_ns)
    folded = {name for name, bucket in live if bucket == OTHER}
    live, should = _folded(live, folded), _folded(should, folded)
    found = []
    for rule in kept:
        for name, bucket in sorted(live.keys() | should.keys()):
            if name != rule.name:
                continue
            zero = (0,) * len(rule.units)
            pairs = zip(rule.units, live.get((name, bucket), zero), should.get((name, bucket), zero), strict=True)
            for unit, counted, right in pairs:
                if counted != right and unit != CONCURRENT:
                    found.append(Difference(name, bucket, UNITS[unit], counted, right))
    return found


def _folded(taken: Photo, rules: set[str]) -> Photo:
    """Counters of ``rules`` in one: past the bound their buckets are counted together."""
    sums: Photo = {}
    for (name, bucket), used in taken.items():
        key = (name, OTHER if name in rules else bucket)
        sums[key] = tuple(a + b for a, b in zip(sums.get(key, (0,) * len(used)), used, strict=True))
    return sums


def _add(quotas: Quotas, rule: Rule, bucket: str, spent: Spent, start_ns: int, end_ns: int, now_ns: int) -> None:
    counter = quotas.counters.counter(rule, bucket, now_ns)
    if quotas.counters.known(rule.name, counter.bucket) is not counter:
        quotas.counters.close(rule, end_ns + rule.rolling_ns)
    span = counter.span
    if start_ns > span.start_ns:
        span = counter.ahead.setdefault(start_ns, Span(counter, start_ns, end_ns))
    elif span.start_ns != start_ns:
        span = next((part for part in counter.parts if part.start_ns == start_ns), span)
        if span.start_ns != start_ns:
            span = Span(counter, start_ns, end_ns)
            counter.parts.append(span)
    vector = Amounts(spent.nanousd, spent.input_tokens, spent.output_tokens, spent.requests).vector()
    for position, unit in enumerate(rule.units):
        if unit != CONCURRENT:
            span.used[position] += vector[unit]
    counter.recount()


def spans_of(rule: Rule, now_ns: int) -> Iterator[tuple[int, int]]:
    """The windows of a rule that count now: one, or the parts of a rolling one."""
    start, end = rule.window(now_ns)
    yield start, end
    if rule.rolling_ns:
        part = end - start
        for number in range(1, ROLLING_PARTS + 1):
            yield start - number * part, end - number * part


def spans_ahead(rule: Rule, now_ns: int, last_ns: int) -> Iterator[tuple[int, int]]:
    """The windows to come in which calls were made, by a clock that was set back since: they are not empty when they
    begin."""
    _, end = rule.window(now_ns)
    for _ in range(MOST_AHEAD):
        if last_ns < end:
            return
        start, end = rule.window(end)
        yield start, end


def subject_of(spent: Spent) -> Subject:
    """Who spent it."""
    tags = tuple(sorted(spent.tags.items()))
    return Subject(spent.team, spent.workflow, spent.key_id, spent.provider, spent.model_requested, tags)
