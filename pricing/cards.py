"""Rate cards: what the catalogue says and what entries of a configuration lay over it, under given conditions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from fractions import Fraction

import msgspec

from pricing.catalogue import CatalogueModel, Found, Prices, Stepped, Uplift
from pricing.entry import PriceEntry, PriceTier, daily
from pricing.matching import glob
from pricing.moments import holds, start_of
from pricing.money import NANO
from pricing.units import PARTS, TOKENS_PER_RATE, UNITS, WHOLES, Card, Rate

STANDARD = "standard"
"""The tier of a call for which nothing else is said."""

_STANDARD_NAMES = frozenset(
    ("", "auto", "default", "on_demand", "standard", "standard_only", "traffic_type_unspecified")
)
_TIER_PREFIX = "on_demand_"
_TOKEN_ITEMS = frozenset(part.item for part in (*WHOLES, *PARTS))
_NOT_SERVED_ELSEWHERE = frozenset(("", "global", "not_available"))
ANY_REGION = "*"
"""Every region that has no prices of its own."""


class Conditions(msgspec.Struct, frozen=True):
    """What, beside model and time, decides a price."""

    service_tier: str = STANDARD
    region: str = ""

    def context(self) -> dict[str, str]:
        """The catalogue's words for them."""
        tier = self.service_tier
        if tier == STANDARD:
            return {}
        context = {"service_tier": tier}
        if tier == "batch":
            context["processing"] = "batch"
        elif tier == "fast":
            context["speed"] = "fast"
        return context


def canonical_tier(name: str) -> str:
    """One spelling for a tier, whichever provider names it (Google's ``ON_DEMAND_FLEX`` is ``flex``)."""
    lower = name.strip().lower()
    if lower in _STANDARD_NAMES:
        return STANDARD
    return lower.removeprefix(_TIER_PREFIX)


def canonical_region(name: str) -> str:
    """One spelling for a region; empty where a call was served anywhere."""
    lower = name.strip().lower()
    return "" if lower in _NOT_SERVED_ELSEWHERE else lower


class Layered(msgspec.Struct, frozen=True):
    """A card and the layers it was made of."""

    card: Card
    source: str


def applies(entry: PriceEntry, conditions: Conditions, at_ns: int) -> bool:
    """Whether a configured entry holds at a time under these conditions."""
    if entry.service_tier and canonical_tier(entry.service_tier) != conditions.service_tier:
        return False
    if entry.region and canonical_region(entry.region) != conditions.region:
        return False
    if entry.since is not None and at_ns < start_of(entry.since):
        return False
    if not holds(daily(entry), at_ns):
        return False
    return entry.until is None or at_ns < start_of(entry.until)


def layered(
    entries: Sequence[PriceEntry],
    found: Found | None,
    uplifts: Iterable[Uplift],
    conditions: Conditions,
    at_ns: int,
) -> Layered:
    """The card that holds: entries over catalogue, the first entry on top. Entries that name a tier or a region lie
    above those that don't. A discount counts for its own entry and all below."""
    card: Card = {}
    below = ""
    if found is not None:
        card, remark = _of_catalogue(found, uplifts, conditions, at_ns)
        below = f"catalogue {found.version} {found.list_id}/{found.model.id}{remark}"
    owner = dict.fromkeys(card, below)
    holding = [entry for entry in entries if applies(entry, conditions, at_ns)]
    holding.sort(key=lambda entry: -(bool(entry.service_tier) + bool(entry.region)))
    names: list[str] = []
    for entry in reversed(holding):
        named = _rates_of(entry, card)
        if not named and entry.discount_percent is None:
            continue
        text = describe(entry)
        names.insert(0, text)
        card = {**card, **named}
        owner.update(dict.fromkeys(named, text))
        if entry.discount_percent is not None:
            factor = 1 - Fraction(entry.discount_percent) / 100
            card = {item: rate.times(factor) for item, rate in card.items()}
    if below and (not names or below in owner.values()):
        names.append(below)
    return Layered(card, " over ".join(names))


def describe(entry: PriceEntry) -> str:
    """An entry as ``Price.source`` names it."""
    text = f'config prices[{entry.index}] "{entry.model}"'
    if entry.committed:
        text += f" (committed: {entry.committed})"
    if entry.discount_percent is not None:
        text += f" {-entry.discount_percent:+f}%"
    return text


def known_tiers(entries: Iterable[PriceEntry], found: Found | None) -> set[str]:
    """Tiers that have prices of their own."""
    tiers = {canonical_tier(entry.service_tier) for entry in entries if entry.service_tier}
    if found is not None and found.own:
        for variant in found.model.price_variants or ():
            tiers |= {
                canonical_tier(value)
                for key, value in variant.when.items()
                if key in ("service_tier", "processing", "speed")
            }
    return tiers | {STANDARD}


def known_regions(entries: Iterable[PriceEntry], uplifts: Iterable[Uplift], *, told: bool = False) -> set[str]:
    """Regions that have prices of their own. ``told``: without those that a request itself asks for."""
    regions = {canonical_region(entry.region) for entry in entries if entry.region}
    for uplift in uplifts:
        if not (told and uplift.asked):
            regions |= {canonical_region(region) for region in uplift.regions}
    return regions | {""}


def region_among(known: Collection[str], name: str) -> str:
    """The region of ``known`` whose prices hold where a call is served."""
    region = canonical_region(name)
    if region in known:
        return region
    return ANY_REGION if ANY_REGION in known else ""


def uplifts_of(found: Found | None, uplifts: Iterable[Uplift]) -> tuple[Uplift, ...]:
    """The surcharges that a model of the catalogue may bear."""
    if found is None or not found.own:
        return ()
    return tuple(
        one
        for one in uplifts
        if one.list == found.list_id
        and any(glob(text)(found.model.id.lower()) for text in one.models)
        and not any(glob(text)(found.model.id.lower()) for text in one.except_models)
    )


def bears(uplift: Uplift, region: str, at_ns: int) -> bool:
    """Whether what is served there then is charged with it."""
    if uplift.since is not None and at_ns < start_of(uplift.since):
        return False
    return region in uplift.regions or ANY_REGION in uplift.regions


def _of_catalogue(found: Found, uplifts: Iterable[Uplift], conditions: Conditions, at_ns: int) -> tuple[Card, str]:
    prices = _standard_prices(found.model, at_ns)
    overrides: Prices = {}
    remark = found.remark
    context = conditions.context()
    if context and found.own:
        for variant in found.model.price_variants or ():
            if holds(variant.constraint, at_ns) and variant.when.items() <= context.items():
                for key, price in variant.prices.items():
                    if price is not None:
                        overrides.setdefault(key, price)
        if overrides:
            remark += f" {conditions.service_tier}"
    card = card_of({**prices, **overrides})
    if conditions.region:
        for uplift in uplifts:
            if bears(uplift, conditions.region, at_ns):
                factor = 1 + Fraction(uplift.percent) / 100
                card = {item: rate.times(factor) if item in _TOKEN_ITEMS else rate for item, rate in card.items()}
                place = "regional" if conditions.region == ANY_REGION else conditions.region
                remark += f" {place} {uplift.percent:+f}%"
    return card, remark


def _standard_prices(model: CatalogueModel, at_ns: int) -> Prices:
    """The last prices whose constraint holds, else the first."""
    conditional = model.conditional()
    for one in reversed(conditional):
        if holds(one.constraint, at_ns):
            return one.prices
    return conditional[0].prices if conditional else {}


def card_of(prices: Prices) -> Card:
    """Catalogue prices as exact rates. Raises ``ValueError`` for a price that is negative or not a number."""
    card: Card = {}
    for part in (*WHOLES, *PARTS):
        price = prices.get(part.catalogue)
        if price is not None:
            card[part.item] = _rate(price, TOKENS_PER_RATE)
    for unit in UNITS:
        for key, per in unit.catalogue:
            price = prices.get(key)
            if price is not None:
                card[unit.item] = _rate(price, per)
                break
    return card


def _rate(price: Decimal | Stepped, per: int) -> Rate:
    if isinstance(price, Decimal):
        return Rate(_nano(price, per))
    steps = sorted(price.tiers, key=lambda step: step.start)
    return Rate(_nano(price.base, per), tuple((step.start, _nano(step.price, per)) for step in steps))


def _nano(dollars: Decimal, per: int) -> Fraction:
    if not dollars.is_finite() or dollars < 0:
        raise ValueError(f"a price is a number of dollars, 0 or more, not {dollars}")
    return Fraction(dollars) * NANO / per


def _rates_of(entry: PriceEntry, below: Card) -> Card:
    """The rates that an entry names, with their long-context steps."""
    card: Card = {}
    tiers = sorted(entry.tiers, key=lambda tier: tier.above_input_tokens)
    for part in (*WHOLES, *PARTS):
        base: Decimal | None = getattr(entry, part.config)
        steps = _steps(tiers, part.config)
        if base is not None:
            card[part.item] = Rate(_nano(base, TOKENS_PER_RATE), steps)
        elif steps:
            under = below.get(part.item)
            card[part.item] = Rate(under.base if under is not None else steps[0][1], steps)
    for unit in UNITS:
        for field, per in unit.config:
            price: Decimal | None = getattr(entry, field)
            if price is not None:
                card[unit.item] = Rate(_nano(price, per))
                break
    return card


def _steps(tiers: Sequence[PriceTier], field: str) -> tuple[tuple[int, Fraction], ...]:
    steps = []
    for tier in tiers:
        price: Decimal | None = getattr(tier, field)
        if price is not None:
            steps.append((tier.above_input_tokens, _nano(price, TOKENS_PER_RATE)))
    return tuple(steps)
