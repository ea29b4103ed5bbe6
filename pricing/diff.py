"""What another price book would change: for calls that were made, and model by model between two catalogues."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pricing.book import PriceBook
from pricing.cards import card_of
from pricing.catalogue import Catalogue, CatalogueModel
from pricing.explain import exact
from pricing.money import NANO, dollars
from pricing.units import PARTS, TOKENS_PER_RATE, WHOLES, Rate, UsageLike

_TOKENS = frozenset(part.item for part in (*WHOLES, *PARTS))


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one kind to price again."""

    provider: str
    """Price list."""
    model: str
    usage: UsageLike
    at_ns: int
    count: int = 1
    """Calls with just this usage."""
    service_tier: str = ""
    region: str = ""
    reported_cost_nanousd: int | None = None
    model_requested: str = ""
    """Priced by this name where the model's own has no price."""
    summed: bool = False
    """``usage`` is the sum of many requests'."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What the other book makes of the calls of one model."""

    provider: str
    model: str
    calls: int
    before_nanousd: int
    after_nanousd: int
    unpriced_before: int
    """Calls for which the first book has no price; they count 0."""
    unpriced_after: int
    source_before: str
    """Of the last call, as the others."""
    source_after: str

    @property
    def nanousd(self) -> int:
        """What the change adds."""
        return self.after_nanousd - self.before_nanousd


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two books over the same calls."""

    before_nanousd: int
    after_nanousd: int
    changes: tuple[Change, ...]
    """Only models whose cost, price or source differs; the largest difference first."""


def compare(before: PriceBook, after: PriceBook, calls: Iterable[Call]) -> Comparison:
    """Prices every call under both books. Each call is rounded as it would be billed, then multiplied."""
    rows: dict[tuple[str, str], Change] = {}
    for call in calls:
        old_cost, old_source, old_known = _bill(before, call)
        new_cost, new_source, new_known = _bill(after, call)
        row = rows.get((call.provider, call.model))
        rows[call.provider, call.model] = Change(
            provider=call.provider,
            model=call.model,
            calls=call.count + (row.calls if row else 0),
            before_nanousd=old_cost * call.count + (row.before_nanousd if row else 0),
            after_nanousd=new_cost * call.count + (row.after_nanousd if row else 0),
            unpriced_before=(0 if old_known else call.count) + (row.unpriced_before if row else 0),
            unpriced_after=(0 if new_known else call.count) + (row.unpriced_after if row else 0),
            source_before=old_source,
            source_after=new_source,
        )
    changed = [
        row
        for row in rows.values()
        if row.nanousd or row.unpriced_before != row.unpriced_after or row.source_before != row.source_after
    ]
    changed.sort(key=lambda row: (-abs(row.nanousd), row.provider, row.model))
    return Comparison(
        before_nanousd=sum(row.before_nanousd for row in rows.values()),
        after_nanousd=sum(row.after_nanousd for row in rows.values()),
        changes=tuple(changed),
    )


def _bill(book: PriceBook, call: Call) -> tuple[int, str, bool]:
    price = book.find(call.provider, call.model, call.at_ns)
    if price is None and call.model_requested:
        price = book.find(call.provider, call.model_requested, call.at_ns)
    if price is None:
        return 0, "", False
    bill = price.bill(
        call.usage,
        at_ns=call.at_ns,
        service_tier=call.service_tier,
        region=call.region,
        reported_cost_nanousd=call.reported_cost_nanousd,
        summed=call.summed,
    )
    return bill.nanousd, bill.source, True


class ModelChange(msgspec.Struct, frozen=True):
    """How one model of a catalogue differs in another."""

    list_id: str
    model: str
    what: str
    """``added``, ``removed`` or ``changed``."""
    details: tuple[str, ...] = ()
    """One sentence for each rate that differs today, or what else does."""


def compare_catalogues(before: Catalogue, after: Catalogue) -> tuple[ModelChange, ...]:
    """Every model that is new, gone or priced differently, in the order of lists and names."""
    changes: list[ModelChange] = []
    for list_id in sorted(before.lists.keys() | after.lists.keys()):
        old, new = _models(before, list_id), _models(after, list_id)
        for model in sorted(old.keys() | new.keys()):
            if model not in new:
                changes.append(ModelChange(list_id, model, "removed"))
            elif model not in old:
                changes.append(ModelChange(list_id, model, "added"))
            elif old[model] != new[model]:
                changes.append(ModelChange(list_id, model, "changed", _details(old[model], new[model])))
    return tuple(changes)


def _models(catalogue: Catalogue, list_id: str) -> dict[str, CatalogueModel]:
    prices = catalogue.lists.get(list_id)
    return {model.id: model for model in prices.models} if prices is not None else {}


def _details(old: CatalogueModel, new: CatalogueModel) -> tuple[str, ...]:
    before, after = card_of(old.conditional()[-1].prices), card_of(new.conditional()[-1].prices)
    out = [
        f"{item}: {_shown(item, before.get(item))} -> {_shown(item, after.get(item))}"
        for item in sorted(before.keys() | after.keys())
        if before.get(item) != after.get(item)
    ]
    if [one.constraint for one in old.conditional()] != [one.constraint for one in new.conditional()]:
        out.append("other dates or times of day")
    if old.price_variants != new.price_variants:
        out.append("other tiers")
    if old.match != new.match:
        out.append("other names")
    if old.context_window != new.context_window:
        out.append(f"context window: {old.context_window} -> {new.context_window}")
    return tuple(out) or ("other earlier prices",)


def _shown(item: str, rate: Rate | None) -> str:
    if rate is None:
        return "none"
    per, name = (TOKENS_PER_RATE, "million") if item in _TOKENS else (1, "one")
    text = f"${exact(rate.base * per / NANO)} per {name}"
    return text + "".join(f", ${exact(higher * per / NANO)} above {start}" for start, higher in rate.steps)


def catalogue_text(changes: Iterable[ModelChange]) -> str:
    """Changes between two catalogues for a terminal, one model a line and its details below."""
    out = []
    for change in changes:
        out.append(f"{change.what:<8} {change.list_id}/{change.model}")
        out += [f"         {detail}" for detail in change.details]
    return "\n".join(out) + "\n" if out else "nothing changes\n"


def comparison_text(comparison: Comparison) -> str:
    """What a price change would have meant for calls that were made, for a terminal."""
    out = []
    for change in comparison.changes:
        out.append(
            f"{change.provider}/{change.model}: {change.calls} calls, ${dollars(change.before_nanousd)} -> "
            f"${dollars(change.after_nanousd)} ({_signed(change.nanousd)})"
        )
        if change.source_before != change.source_after:
            out.append(f"  {change.source_before or 'no price'} -> {change.source_after or 'no price'}")
    difference = comparison.after_nanousd - comparison.before_nanousd
    out.append(
        f"total ${dollars(comparison.before_nanousd)} -> ${dollars(comparison.after_nanousd)} ({_signed(difference)})"
    )
    return "\n".join(out) + "\n"


def _signed(nanousd: int) -> str:
    return ("-$" if nanousd < 0 else "+$") + dollars(abs(nanousd))
