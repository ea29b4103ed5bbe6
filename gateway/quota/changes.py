"""Which rules a reload changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.quota.rule import Rule
from gateway.quota.terms import Event


def changed_rules(old: Sequence[Rule], new: Sequence[Rule], now_ns: int) -> Iterator[Event]:
    """An event for each rule that came, went or says something else."""
    before = {rule.name: rule for rule in old}
    after = {rule.name: rule for rule in new}
    for name in [*after, *(name for name in before if name not in after)]:
        if name not in before:
            detail = "the rule is new"
        elif name not in after:
            detail = "the rule is gone"
        elif before[name].source != after[name].source:
            detail = "the rule was changed"
        else:
            continue
        yield Event(kind="rule_changed", quota=name, at_ns=now_ns, detail=detail, who="configuration")
