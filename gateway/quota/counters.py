"""All counters of one set of rules, bounded, and for each subject the plan of those that hold for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from gateway.quota.counter import Counter
from gateway.quota.matcher import Matcher, bucket_of
from gateway.quota.rule import Rule, Subject

MAX_PLANS = 20_000
OTHER = "other"
"""The bucket in which counters past the bound are counted together, where a rule says so."""
Make = Callable[[Rule, str, int], Counter]
"""Makes the counter of a rule and a bucket, at a time."""


class Plan:
    """The counters that hold for one subject."""

    __slots__ = ("counters", "names")

    def __init__(self, counters: list[Counter]) -> None:
        self.counters = counters
        self.names = tuple(counter.rule.name for counter in counters)


class Counters:
    """Found by rule and bucket. Plans are remembered: a subject that calls again costs one look-up."""

    def __init__(self, rules: Sequence[Rule], max_counters: int, make: Make = Counter) -> None:
        self.rules = tuple(rules)
        self.plans: dict[Subject, Plan] = {}
        self._matcher = Matcher(rules)
        self.most = max_counters
        self._new = make
        self._all: dict[tuple[str, str], Counter] = {}

    def plan(self, subject: Subject, now_ns: int) -> Plan:
        """The counters that hold for a subject, in the order of the rules."""
        known = self.plans.get(subject)
        if known is not None:
            return known
        rules = self._matcher.rules_for(subject)
        plan = Plan([self.counter(rule, bucket_of(rule, subject), now_ns) for rule in rules])
        if len(self.plans) >= MAX_PLANS:
            for old in list(self.plans)[: MAX_PLANS // 10]:
                del self.plans[old]
        self.plans[subject] = plan
        return plan

    def counter(self, rule: Rule, bucket: str, now_ns: int) -> Counter:
        """The counter of a bucket; past the bound one that is shared or full, as the rule says."""
        counter = self._all.get((rule.name, bucket))
        if counter is not None:
            return counter
        if len(self._all) >= self.most and rule.per:
            self._prune(now_ns)
            if len(self._all) >= self.most:
                if rule.shared_overflow and bucket != OTHER:
                    return self._make(rule, OTHER, now_ns)
                full = msgspec.structs.replace(rule, limits=(0,) * len(rule.limits), raises=[])
                return self._new(full if rule.blocking else rule, bucket, now_ns)
        return self._make(rule, bucket, now_ns)

    def _make(self, rule: Rule, bucket: str, now_ns: int) -> Counter:
        key = (rule.name, bucket)
        counter = self._all.get(key)
        if counter is None:
            counter = self._all[key] = self._new(rule, bucket, now_ns)
        return counter

    def _prune(self, now_ns: int) -> None:
        """Forget counters whose windows are past and that nothing holds."""
        for counter in self._all.values():
            counter.current(now_ns)
        gone = [key for key, counter in self._all.items() if counter.idle]
        for key in gone:
            self._all.pop(key).dropped()
        if gone:
            self.plans.clear()

    def take_over(self, old: Counters, new: frozenset[str]) -> None:
        """Keep ``old``'s counters of rules that are not ``new``."""
        kept = {rule.name: rule for rule in self.rules if rule.name not in new}
        for key, counter in old._all.items():
            rule = kept.get(key[0])
            if rule is not None:
                counter.adopt(rule)
                self._all[key] = counter

    def known(self, rule: str, bucket: str) -> Counter | None:
        """The counter of a rule and a bucket, if there is one."""
        return self._all.get((rule, bucket))

    def owns(self, counter: Counter) -> bool:
        return self._all.get((counter.rule.name, counter.bucket)) is counter

    def __iter__(self) -> Iterator[Counter]:
        return iter(list(self._all.values()))

    def __len__(self) -> int:
        return len(self._all)
