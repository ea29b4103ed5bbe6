"""Other rules while calls go on: made ready beside those that hold, then put in their place in one step.

What a new or changed rule counts as used is read from the ledger as of the moment at which the change began; what is
settled from then on is noted, and added when it takes effect. What calls in flight hold moves with them. So no call is
counted twice, and none is forgotten, whenever it was reserved and settled.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.ledger.view import UsageView
from gateway.quota.engine import Quotas
from gateway.quota.replay import load, new_rules
from gateway.quota.rule import Rule


class RuleChange:
    """One change of ``quotas``' rules. It begins when it is made; until ``take_effect`` the old rules hold."""

    def __init__(
        self, quotas: Quotas, rules: Sequence[Rule], max_counters: int = 100_000, *, anew: bool = False
    ) -> None:
        """``anew``: what was counted so far is not right any more, for no rule."""
        self._quotas = quotas
        self._staged = Quotas(rules, max_counters=max_counters)
        self.new = list(self._staged.rules) if anew else new_rules(self._staged, quotas)
        """Rules whose use must be loaded."""
        quotas.note_settlements()

    def load(self, view: UsageView, now_ns: int) -> None:
        """Read what the new rules count as used. ``view`` holds what was settled before the change began, no more."""
        load(self._staged, view, now_ns, self.new)

    def take_effect(self, now_ns: int) -> None:
        """From now on the new rules hold."""
        self._quotas.replace_rules(self._staged.counters, frozenset(rule.name for rule in self.new), now_ns)

    def abandon(self) -> None:
        """The old rules go on to hold."""
        self._quotas.forget_settlements()
