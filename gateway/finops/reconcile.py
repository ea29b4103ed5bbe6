"""A provider's statement beside the ledger, by day, model and project, and why they differ.

The causes of a difference sum to it, exactly. They are found in the order of what is certain: what the statement
rounds away, usage that the gateway did not see, calls without a price, calls whose cost the gateway had to estimate
(within what they can have cost), calls that ran over midnight; at last a price that is off by the same share every day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from fractions import Fraction

import msgspec

from gateway.statements.charge import Charge, model_key

CAUSES = {
    "rounding": "the statement's amounts are rounded",
    "unpriced": "calls that had no price",
    "estimated": "calls whose cost was an estimate: recovered after a crash, broken off, or without a report of usage",
    "midnight": "calls that began on one day and ended on the next",
    "price": "the same usage at another price: see [[prices]]",
    "bypassed": "usage that did not come through the gateway",
    "unbilled": "calls that the statement does not charge for",
}
"""Cause → what it means, in the order in which they are shown."""
SAME_SHARE = Fraction(1, 1000)
"""How far days may be from one share for it to be taken for a price."""


class Side(msgspec.Struct):
    """What the ledger holds of one day, model and project."""

    nanousd: int = 0
    """Adjustments included."""
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    unpriced: int = 0
    estimated_nanousd: int = 0
    """Of it: of calls whose cost is an estimate…"""
    estimated_most_nanousd: int = 0
    """…and what those can have cost at most."""
    over_midnight_nanousd: int = 0
    """Of it: of calls that ended on a later day."""
    bypassed_nanousd: int = 0
    """Of it: booked by earlier statements as usage that did not come through the gateway."""


class Cell(msgspec.Struct, kw_only=True):
    """One day, model and project on both sides."""

    day: date
    model: str
    """As the ledger has it, else as the statement."""
    project: str
    stated: int = 0
    tolerance: int = 0
    requests: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    ledger: Side = msgspec.field(default_factory=Side)
    causes: dict[str, int] = msgspec.field(default_factory=dict)

    @property
    def difference(self) -> int:
        """What the statement says more, in nanodollars: the sum of the causes."""
        return self.stated - self.ledger.nanousd

    @property
    def rest(self) -> int:
        """What no cause explains yet."""
        return self.difference - sum(self.causes.values())

    def blame(self, cause: str, nanousd: int) -> None:
        """A part of the difference has a cause."""
        if nanousd:
            self.causes[cause] = self.causes.get(cause, 0) + nanousd


Key = tuple[date, tuple[str, ...], str]


def cells(
    charges: Iterable[Charge], ledger: Mapping[tuple[date, str, str], Side], *, models: bool, projects: bool
) -> list[Cell]:
    """Both sides by day, by model where the statement names them, by project where both do."""
    found: dict[Key, Cell] = {}

    def cell(day: date, model: str, project: str) -> Cell:
        model, project = model if models else "", project if projects else ""
        key = (day, model_key(model), project)
        if key not in found:
            found[key] = Cell(day=day, model=model, project=project)
        return found[key]

    for (day, model, project), side in ledger.items():
        known = cell(day, model, project).ledger
        for name in Side.__struct_fields__:
            setattr(known, name, getattr(known, name) + getattr(side, name))
    for charge in charges:
        one = cell(charge.day, charge.model, charge.project)
        one.stated += charge.nanousd or 0
        one.tolerance += charge.quantum
        for name in ("requests", "input_tokens", "output_tokens"):
            count = getattr(charge, name)
            if count is not None:
                setattr(one, name, (getattr(one, name) or 0) + count)
    for one in found.values():
        # each line was rounded by half a quantum at most; the ledger's own lines by half a nanodollar
        one.tolerance = one.tolerance // 2 + one.ledger.calls
    return [found[key] for key in sorted(found)]


def explain(rows: Sequence[Cell]) -> None:
    """Find the causes of each difference."""
    for one in rows:
        if abs(one.difference) <= one.tolerance:
            one.blame("rounding", one.difference)
            continue
        _usage(one)
        if one.rest < 0:
            # a statement that was revised: what it charges less is first what nobody's calls explained
            one.blame("bypassed", max(one.rest, min(0, -one.ledger.bypassed_nanousd)))
        if one.rest > 0 and one.ledger.unpriced:
            one.blame("unpriced", one.rest)
        side = one.ledger
        low, high = -side.estimated_nanousd, side.estimated_most_nanousd - side.estimated_nanousd
        one.blame("estimated", max(low, min(high, one.rest)))
    _midnight(rows)
    _prices(rows)
    for one in rows:
        if abs(one.rest) <= one.tolerance:
            one.blame("rounding", one.rest)
        one.blame("bypassed" if one.rest > 0 else "unbilled", one.rest)


def _usage(one: Cell) -> None:
    """Where the statement tells tokens: what the gateway did not see of them."""
    if one.input_tokens is None or one.output_tokens is None or one.difference <= 0:
        return
    stated = one.input_tokens + one.output_tokens
    seen = one.ledger.input_tokens + one.ledger.output_tokens
    if stated > seen:
        one.blame("bypassed", min(one.rest, one.stated * (stated - seen) // stated))


def _midnight(rows: Sequence[Cell]) -> None:
    """What is missing on one day and too much on the next, up to the cost of the calls in between."""
    known = {(one.day, model_key(one.model), one.project): one for one in rows}
    for (day, model, project), one in known.items():
        after = known.get((day + timedelta(days=1), model, project))
        if after is None or one.rest >= 0 or after.rest <= 0:
            continue
        moved = min(-one.rest, after.rest, one.ledger.over_midnight_nanousd)
        one.blame("midnight", -moved)
        after.blame("midnight", moved)


def _prices(rows: Sequence[Cell]) -> None:
    """Models that are off by the same share on every day on which both sides have them, on two at least; or whose
    tokens are known to agree."""
    models: dict[tuple[str, ...], list[Cell]] = {}
    for one in rows:
        if one.stated > 0 and one.ledger.nanousd > 0:
            models.setdefault(model_key(one.model), []).append(one)
    for group in models.values():
        for one in group:
            if _same_tokens(one):
                one.blame("price", one.rest)
        open_cells = [one for one in group if abs(one.rest) > one.tolerance]
        if len(open_cells) < 2:
            continue
        share = Fraction(sum(one.rest for one in open_cells), sum(one.ledger.nanousd for one in open_cells))
        if all(
            abs(one.rest - share * one.ledger.nanousd) <= one.tolerance + SAME_SHARE * one.ledger.nanousd
            for one in open_cells
        ):
            for one in open_cells:
                one.blame("price", one.rest)


def _same_tokens(one: Cell) -> bool:
    return (one.input_tokens, one.output_tokens) == (one.ledger.input_tokens, one.ledger.output_tokens)
