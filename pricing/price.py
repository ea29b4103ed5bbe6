"""The price of one model at one time, under every tier and region, ready to bill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pricing.cards import (
    STANDARD,
    Conditions,
    canonical_tier,
    known_regions,
    known_tiers,
    layered,
    region_among,
    uplifts_of,
)
from pricing.catalogue import Catalogue, Found
from pricing.ceiling import Ceiling
from pricing.entry import PriceEntry, daily
from pricing.moments import Changes
from pricing.money import Bill, reported_bill
from pricing.sheet import Sheet
from pricing.units import UsageLike

_MAX_SPELLINGS = 64
_MAX_SPANS = 4
_ONLY_ON_REQUEST = frozenset(("batch", "fast", "flex"))
"""Tiers that no provider chooses on its own."""


class Price:
    """What calls of one model cost from ``since_ns`` up to ``until_ns``. Immutable to its users."""

    __slots__ = (
        "_asked",
        "_ceilings",
        "_schedule",
        "_sheets",
        "_spellings",
        "_standard",
        "_tiers",
        "since_ns",
        "source",
        "until_ns",
    )

    def __init__(self, schedule: Schedule, since_ns: int, until_ns: int, standard: Sheet) -> None:
        self._schedule = schedule
        self.since_ns = since_ns
        self.until_ns = until_ns
        self._standard = standard
        self._sheets: dict[Conditions, Sheet] = {Conditions(): standard}
        self._spellings: dict[tuple[str, str], Sheet] = {}
        self._tiers: dict[str, Sheet] = {}
        """Spellings of tiers where no region is named, as is usual."""
        self._ceilings: dict[tuple[frozenset[str], frozenset[str]], Ceiling] = {}
        self._asked: dict[str | tuple[str | None, str | None], Ceiling] = {}
        """By tier, where no region is asked for, as is usual; else by both."""
        self.source = standard.source
        """Where it comes from: ``config prices[2] "gpt-4o*"``, ``catalogue genai-prices 0.2.3 openai/gpt-4o``."""
        if schedule.reported:
            self.source = f"reported by the provider, else {standard.source}"

    def bill(
        self,
        usage: UsageLike,
        at_ns: int,
        service_tier: str = "",
        region: str = "",
        reported_cost_nanousd: int | None = None,
        summed: bool = False,
    ) -> Bill:
        """What ``usage`` costs in a call that began at ``at_ns``.

        ``service_tier`` and ``region`` are those that the response confirms, else those that were asked for.
        ``reported_cost_nanousd`` is the bill where the price list is ``reported``; otherwise it changes nothing.
        ``summed``: ``usage`` is that of many calls (see ``Sheet.bill_sum``).
        Never raises for what a provider may report.
        """
        if not self.since_ns <= at_ns < self.until_ns:
            other = self.at(at_ns)
            if other is not self:
                return other.bill(usage, at_ns, service_tier, region, reported_cost_nanousd, summed)
        if reported_cost_nanousd is not None and self._schedule.reported and reported_cost_nanousd >= 0:
            return reported_bill(reported_cost_nanousd)
        if summed:
            return self.sheet(service_tier, region).bill_sum(usage)
        if not service_tier and not region:
            return self._standard.bill(usage)
        sheet = self._tiers.get(service_tier) if not region else self._spellings.get((service_tier, region))
        return (sheet if sheet is not None else self.sheet(service_tier, region)).bill(usage)

    def at(self, at_ns: int) -> Price:
        """The price of the same model at another time; this one where none is known for then."""
        if self.since_ns <= at_ns < self.until_ns:
            return self
        return self._schedule.price_at(at_ns) or self

    def sheet(self, service_tier: str = "", region: str = "") -> Sheet:
        """The rates under these conditions, compiled once. A tier or region without prices of its own has the standard
        ones."""
        schedule = self._schedule
        tier, place = canonical_tier(service_tier), region_among(schedule.regions, region)
        conditions = Conditions(tier if tier in schedule.tiers else STANDARD, place)
        found = self._sheets.get(conditions)
        if found is None:
            found = self._sheets[conditions] = schedule.sheet(conditions, self.since_ns)
        if not region:
            if len(self._tiers) < _MAX_SPELLINGS:
                self._tiers[service_tier] = found
        elif len(self._spellings) < _MAX_SPELLINGS:
            self._spellings[service_tier, region] = found
        return found

    def ceiling(
        self,
        input_tokens: int,
        output_tokens: int,
        units: Mapping[str, int],
        service_tier: str | None = None,
        region: str | None = None,
    ) -> int:
        """Nanodollars that no bill exceeds for a usage with at most these totals, whatever its parts.

        ``units``: bounds of the other units by usage field (``web_search_requests``…); a unit that is absent is 0.
        ``service_tier``: the tier that the request asks for narrows the bound to tiers the provider may then bill
        (``""``: any that it chooses itself); None: any tier at all. ``region``: the one that the request asks for
        (``""``: none) counts, with those that only the answer tells; None: every region.
        """
        key = service_tier if service_tier is not None and region == "" else (service_tier, region)
        found = self._asked.get(key)
        if found is None:
            found = self._ceiling(service_tier, region)
            if len(self._asked) < _MAX_SPELLINGS:
                self._asked[key] = found
        return found.cost(input_tokens, output_tokens, units)

    def affordable_output(
        self,
        nanousd: int,
        input_tokens: int,
        units: Mapping[str, int],
        *,
        service_tier: str | None = None,
        region: str | None = None,
    ) -> int:
        """The most output tokens whose ``ceiling`` is within ``nanousd``; 0 also where not even the input fits;
        ``UNBOUNDED`` where output is free."""
        return self._ceiling(service_tier, region).affordable_output(nanousd, input_tokens, units)

    def _ceiling(self, service_tier: str | None, region: str | None) -> Ceiling:
        """The bound over all tiers and regions that may then be billed, compiled once."""
        schedule = self._schedule
        regions = schedule.regions
        if region is not None:
            regions = schedule.told | {region_among(regions, region)}
        tiers = schedule.tiers
        if service_tier is not None and service_tier.strip().lower() in ("", "auto"):
            tiers = tiers - _ONLY_ON_REQUEST
        elif service_tier is not None:
            tiers = (tiers & {canonical_tier(service_tier)}) | {STANDARD}
        found = self._ceilings.get((tiers, regions))
        if found is None:
            found = Ceiling(self.sheet(tier, place) for tier in sorted(tiers) for place in sorted(regions))
            self._ceilings[tiers, regions] = found
        return found


class Schedule:
    """All prices that some model names ever have: entries and catalogue model, over time."""

    __slots__ = (
        "_changes",
        "_entries",
        "_found",
        "_minimum_audio_ms",
        "_prices",
        "_uplifts",
        "regions",
        "reported",
        "tiers",
        "told",
    )

    def __init__(
        self, entries: Sequence[PriceEntry], found: Found | None, catalogue: Catalogue, reported: bool = False
    ) -> None:
        self._entries = tuple(entries)
        self._found = found
        self._uplifts = uplifts_of(found, catalogue.uplifts)
        billed_as = f"{found.list_id}/{found.model.id}" if found is not None else ""
        self._minimum_audio_ms = catalogue.names.minimum_audio_ms.get(billed_as, 0)
        self.reported = reported
        """The provider's own figure comes first."""
        self.tiers = frozenset(known_tiers(self._entries, found))
        self.regions = frozenset(known_regions(self._entries, self._uplifts))
        self.told = frozenset(known_regions(self._entries, self._uplifts, told=True))
        """Without those that requests ask for."""
        priced = found.model.every() if found is not None else ()
        constraints = [one.constraint for one in priced if one.constraint is not None]
        constraints += [span for entry in self._entries if (span := daily(entry)) is not None]
        moments = [moment for entry in self._entries for moment in (entry.since, entry.until) if moment is not None]
        moments += [uplift.since for uplift in self._uplifts if uplift.since is not None]
        self._changes = Changes(constraints, moments)
        self._prices: list[Price] = []

    def around(self, at_ns: int) -> tuple[int, int]:
        """The span around a moment in which nothing changes."""
        return self._changes.around(at_ns)

    def price_at(self, at_ns: int) -> Price | None:
        """The price that holds then; None where none is known."""
        for price in self._prices:
            if price.since_ns <= at_ns < price.until_ns:
                return price
        standard = self.sheet(Conditions(), at_ns)
        if not standard.card and self._found is None:
            return None
        since, until = self.around(at_ns)
        price = Price(self, since, until, standard)
        self._prices = [price, *self._prices[: _MAX_SPANS - 1]]
        return price

    def sheet(self, conditions: Conditions, at_ns: int) -> Sheet:
        """Compiles the rates that hold then under these conditions."""
        made = layered(self._entries, self._found, self._uplifts, conditions, at_ns)
        return Sheet(made.card, made.source, self._minimum_audio_ms)
