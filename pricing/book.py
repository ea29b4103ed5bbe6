"""The price book: which price a provider's model has at a time. Immutable; a reload makes a new one.

Order of precedence: the configuration's entries in their order, then the catalogue. A rate that an entry leaves out
comes from what lies below it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from msgspec import structs

from pricing.catalogue import Catalogue
from pricing.entry import PriceEntry, PriceTier
from pricing.matching import MAX_NAME, Matcher, glob, is_glob
from pricing.moments import ALWAYS
from pricing.money import Bill, reported_bill
from pricing.price import Price, Schedule

__all__ = ["Bill", "Price", "PriceBook", "PriceEntry", "PriceTier", "reported_bill"]

REPORTED = "reported"
"""Name of the price list that takes what the provider reports; ``reported:LIST`` also names the list behind it."""
MAX_SLOTS = 4096
"""Names that are remembered. Names come from callers, so their number is bounded."""

_Slot = tuple[int, int, Price | None]
_K = TypeVar("_K")
_V = TypeVar("_V")


def _keep(known: dict[_K, _V], key: _K, value: _V) -> None:
    """Adds to a memory of bounded size; the oldest goes."""
    known.pop(key, None)
    while len(known) >= MAX_SLOTS:
        del known[next(iter(known))]
    known[key] = value


class _Rule:
    """One configured entry with its tests."""

    __slots__ = ("_aliases", "_model", "_provider", "entry")

    def __init__(self, entry: PriceEntry) -> None:
        self.entry = entry
        self._provider: Matcher = glob(entry.provider)
        self._model: Matcher = glob(entry.model)
        self._aliases: tuple[Matcher, ...] = tuple(glob(alias) for alias in entry.aliases)

    def is_for(self, provider: str, list_id: str | None) -> bool:
        return self._provider(provider) or (list_id is not None and self.entry.provider.lower() == list_id)

    def names(self, model: str) -> bool:
        return self._model(model) or self.renames(model)

    def renames(self, model: str) -> bool:
        return any(test(model) for test in self._aliases)


class PriceBook:
    """Prices of a configuration and a catalogue."""

    __slots__ = ("_rules", "_schedules", "_slots", "catalogue", "entries")

    def __init__(self, entries: Iterable[PriceEntry], catalogue: Catalogue) -> None:
        self.entries = tuple(
            entry if entry.index >= 0 else structs.replace(entry, index=place) for place, entry in enumerate(entries)
        )
        self.catalogue = catalogue
        self._rules = tuple(_Rule(entry) for entry in self.entries)
        self._slots: dict[tuple[str, str], _Slot] = {}
        self._schedules: dict[tuple[object, ...], Schedule] = {}

    def find(self, provider: str, model: str, at_ns: int) -> Price | None:
        """The price of ``model`` on the price list ``provider`` at ``at_ns``.

        ``provider`` is a kind, a list's id or ``reported``; ``NAME:LIST`` is LIST with the entries for NAME on top.

        None: no price is known. Remembered by name until the price changes.
        """
        slot = self._slots.get((provider, model))
        if slot is not None and slot[0] <= at_ns < slot[1]:
            return slot[2]
        return self._look_up(provider, model, at_ns)

    def _look_up(self, provider: str, model: str, at_ns: int) -> Price | None:
        if len(model) > MAX_NAME or len(provider) > MAX_NAME:
            return None
        schedule = self._schedule(provider, model)
        if schedule is None:
            since, until = ALWAYS
            price = None
        else:
            since, until = schedule.around(at_ns)
            price = schedule.price_at(at_ns)
        _keep(self._slots, (provider, model), (since, until, price))
        return price

    def _schedule(self, provider: str, model: str) -> Schedule | None:
        listed = provider.lower()
        own, colon, rest = listed.partition(":")
        if colon and own != REPORTED:
            listed = rest
        else:
            own = ""
        reported = listed == REPORTED or listed.startswith(REPORTED + ":")
        if reported:
            listed = listed.partition(":")[2] or self.catalogue.names.reported
        list_id = self.catalogue.list_id(listed)
        rules = [rule for rule in self._rules if rule.is_for(listed, list_id) or (own and rule.is_for(own, None))]
        name = model.lower()
        priced_as = next(
            (rule.entry.model for rule in rules if not is_glob(rule.entry.model) and rule.renames(name)), model
        )
        rules = [rule for rule in rules if rule.names(name) or rule.names(priced_as.lower())]
        found = self.catalogue.find(listed, priced_as)
        if not rules and found is None:
            return None
        key = (
            tuple(id(rule) for rule in rules),
            (found.version, found.list_id, found.model.id, found.own, found.remark) if found is not None else None,
            reported,
        )
        schedule = self._schedules.get(key)
        if schedule is None:
            schedule = Schedule([rule.entry for rule in rules], found, self.catalogue, reported)
            _keep(self._schedules, key, schedule)
        return schedule
