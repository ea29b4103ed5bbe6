"""Shared costs spread over those who caused them: integers, whose sum is always the cost that was spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import msgspec

from gateway.config.shared import SharedCostConfig
from gateway.config.values import moment_ns, nanousd
from gateway.reports.spend import SpendRow
from pricing.money import half_even

Group = tuple[str, ...]


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """What one team (and workflow) pays, in nanodollars."""

    group: Group
    direct: int
    shared: dict[str, int]
    """Name of the shared cost → this group's part."""

    @property
    def total(self) -> int:
        return self.direct + sum(self.shared.values())


def split(total: int, weights: Mapping[Group, int]) -> dict[Group, int]:
    """``total`` in whole nanodollars in proportion to ``weights``, by largest remainder. Evenly, where all are 0."""
    if not weights:
        return {}
    whole = sum(weights.values())
    if whole <= 0:
        weights = dict.fromkeys(weights, 1)
        whole = len(weights)
    sign = -1 if total < 0 else 1
    parts = {group: divmod(abs(total) * weight, whole) for group, weight in weights.items()}
    left = abs(total) - sum(part for part, _ in parts.values())
    first = sorted(parts, key=lambda group: (-parts[group][1], group))[:left]
    return {group: sign * (part + (group in first)) for group, (part, _) in parts.items()}


def allocate(
    rows: Sequence[SpendRow],
    costs: Sequence[SharedCostConfig],
    since_ns: int,
    until_ns: int,
    at_provider: Mapping[str, Sequence[SpendRow]] | None = None,
) -> list[Share]:
    """A month's direct cost and shares of each group of ``rows`` (by team, or by team and workflow), the dearest first.

    ``at_provider``: for each provider that a shared cost names, the part of ``rows`` that was called there. The total
    is the direct cost plus every shared cost, exactly. A shared cost without any group to bear it falls to the group
    ``("unattributed",)``.
    """
    direct = {row.group: row.cost_nanousd for row in rows}
    depth = max((len(group) for group in direct), default=1)
    nobody: Group = ("unattributed", *[""] * (depth - 1))
    shared: dict[Group, dict[str, int]] = {group: {} for group in direct}
    for cost in costs:
        counted = rows if cost.provider is None else (at_provider or {}).get(cost.provider, ())
        own = {row.group: row.cost_nanousd for row in counted}
        tokens = {row.group: row.input_tokens + row.output_tokens for row in counted}
        amount = amount_of(cost, sum(own.values()), since_ns, until_ns)
        if not amount:
            continue
        parts = _parts(cost, amount, own, tokens, depth) or {nobody: amount}
        for group, part in parts.items():
            if part:
                known = shared.setdefault(group, {})
                known[cost.name] = known.get(cost.name, 0) + part
    shares = [Share(group=group, direct=direct.get(group, 0), shared=parts) for group, parts in shared.items()]
    return sorted(shares, key=lambda share: (-share.total, share.group))


def amount_of(cost: SharedCostConfig, direct: int, since_ns: int, until_ns: int) -> int:
    """What a shared cost comes to in a month: its dollars, its share of ``direct``, or what is missing to a minimum;
    nothing in a month in which it does not hold."""
    begin = max(since_ns, moment_ns(cost.from_)) if cost.from_ is not None else since_ns
    end = min(until_ns, moment_ns(cost.until)) if cost.until is not None else until_ns
    if end <= begin:
        return 0
    if cost.percent is not None:
        rate = Fraction(cost.percent) / 100 * direct
        return half_even(rate.numerator, rate.denominator)
    if cost.minimum_usd is not None:
        return max(0, nanousd(cost.minimum_usd) - direct)
    return nanousd(cost.usd) if cost.usd is not None else 0


def _parts(
    cost: SharedCostConfig, amount: int, direct: Mapping[Group, int], tokens: Mapping[Group, int], depth: int
) -> dict[Group, int]:
    if cost.by == "even":
        return split(amount, dict.fromkeys(direct, 1))
    if cost.by == "tokens":
        return split(amount, tokens)
    if cost.by == "spend":
        return split(amount, {group: max(0, value) for group, value in direct.items()})
    teams = split(amount, {(team,): _weight(share) for team, share in cost.shares.items()})
    out: dict[Group, int] = {}
    for team, part in teams.items():
        own = {group: max(0, value) for group, value in direct.items() if group[:1] == team}
        out.update(split(part, own or {(*team, *[""] * (depth - 1)): 1}))
    return out


def _weight(share: float) -> int:
    return round(share * 10**6)
