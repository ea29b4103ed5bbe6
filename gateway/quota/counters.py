"""All counters of one set of rules, bounded, and for each subject the plan of those that hold for it."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence

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
        self.held: Callable[[], Container[int]] = frozenset
        """The ids of counters in which calls in flight hold something, be it nothing: what they use counts there."""
        self._closed: dict[str, int] = {}
        """Rules of which the ledger has more buckets than fit → until when what was used in those counts."""

    def plan(self, subject: Subject, now_ns: int) -> Plan:
        """The counters that hold for a subject, in the order of the rules."""
        known = self.plans.get(subject)
        if known is not None:
            return known
        wanted = [(rule, bucket_of(rule, subject)) for rule in self._matcher.rules_for(subject)]
        missing = sum((rule.name, bucket) not in self._all for rule, bucket in wanted)
        if missing and len(self._all) + missing > self.most:
            # before the first of the plan is made: it is idle too, and would be forgotten while the plan counts with it
            self._prune(now_ns)
        plan = Plan([self.counter(rule, bucket, now_ns) for rule, bucket in wanted])
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
        if rule.per and self._is_full(rule, now_ns):
            if rule.shared_overflow and bucket != OTHER:
                return self._make(rule, OTHER, now_ns)
            full = msgspec.structs.replace(rule, limits=(0,) * len(rule.limits), raises=[])
            return self._new(full if rule.blocking else rule, bucket, now_ns)
        return self._make(rule, bucket, now_ns)

    def _is_full(self, rule: Rule, now_ns: int) -> bool:
        """Whether a new bucket can't have a counter of its own: there is no room, or what the bucket has used in the
        windows that count may have been counted elsewhere."""
        if len(self._all) >= self.most or now_ns < self._closed.get(rule.name, 0):
            return True
        shared = self._all.get((rule.name, OTHER)) if rule.shared_overflow else None
        if shared is None:
            return False
        shared.current(now_ns)
        return not shared.idle

    def close(self, rule: Rule, until_ns: int) -> None:
        """Make no further counters of a rule until then: there is no room for what the ledger has."""
        self._closed[rule.name] = max(until_ns, self._closed.get(rule.name, 0))

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
        held = self.held()
        gone = [key for key, counter in self._all.items() if counter.idle and id(counter) not in held]
        for key in gone:
            self._all.pop(key).dropped()
        if gone:
            self.plans.clear()

    def take_over(self, old: Counters, new: frozenset[str]) -> None:
        """Keep ``old``'s counters of rules that are not ``new``."""
        kept = {rule.name: rule for rule in self.rules if rule.name not in new}
        self._closed.update((name, until) for name, until in old._closed.items() if name in kept)
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
