"""The public price catalogue: data made from genai-prices, read at run time without that package.

The file holds genai-prices' own schema (providers, models, match clauses, prices, conditions, variants), so that a
newer ``data.json`` of that project can be read in its place. Nothing is compiled before a model is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from importlib import resources
from pathlib import Path

import msgspec

from pricing.matching import Clause, Matcher, compiled, dashed_date, glob, spellings


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The price of all units of a call whose input is larger than ``start``."""

    start: int
    price: Decimal


class Stepped(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A price that depends on the size of the input."""

    base: Decimal
    tiers: tuple[Step, ...]


Prices = dict[str, Decimal | Stepped | None]
"""Dollars by catalogue key (``input_mtok``, ``web_searches_kcount``…)."""


class Constraint(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a price holds: from a date (UTC), or daily from ``start_time`` up to ``end_time``."""

    start_date: date | None = None
    start_time: time | None = None
    end_time: time | None = None
    type: str | None = None

    def __post_init__(self) -> None:
        dated = self.start_date is not None
        daily = self.start_time is not None and self.end_time is not None
        if dated == daily:
            raise ValueError("a constraint has either start_date or start_time and end_time")


class Conditional(msgspec.Struct, frozen=True, omit_defaults=True):
    """Prices that hold while their constraint does."""

    prices: Prices
    constraint: Constraint | None = None


class Variant(msgspec.Struct, frozen=True, omit_defaults=True):
    """Prices that replace others for calls with these properties (``service_tier``, ``processing``, ``speed``…)."""

    when: dict[str, str]
    prices: Prices
    constraint: Constraint | None = None


class CatalogueModel(msgspec.Struct, frozen=True, omit_defaults=True):
    """One model of a list, as the file has it."""

    id: str
    match: Clause
    prices: Prices | list[Conditional]
    context_window: int | None = None
    price_variants: tuple[Variant, ...] | None = None

    def conditional(self) -> list[Conditional]:
        """All its prices; the last one whose constraint holds counts, the first where none does."""
        return self.prices if isinstance(self.prices, list) else [Conditional(self.prices)]

    def every(self) -> Iterator[Conditional | Variant]:
        """All prices it has under any conditions."""
        yield from self.conditional()
        yield from self.price_variants or ()


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a catalogue comes from."""

    name: str
    version: str
    date: str
    """How fresh it is: the day of the last change it knows of, else the day on which it was taken."""
    licence: str = ""
    url: str = ""


class PriceList(msgspec.Struct, frozen=True, omit_defaults=True):
    """The prices of one provider, as the file has them. Keys that pricing doesn't need are skipped."""

    id: str
    models: tuple[CatalogueModel, ...]
    provider_match: Clause | None = None
    fallback_model_providers: tuple[str, ...] | None = None
    """Lists to look into for a model that this one lacks."""


class CatalogueFile(msgspec.Struct, frozen=True):
    """The file."""

    source: Source
    providers: tuple[PriceList, ...]


class Found(msgspec.Struct, frozen=True):
    """A model of the catalogue and the list that it stands in."""

    list_id: str
    model: CatalogueModel
    own: bool
    """False: the list asked for has lent it from another; then variants don't apply."""
    version: str
    """Of the catalogue: ``genai-prices 0.2.3``."""
    remark: str = ""
    """Not empty: which of several lists this is, where the name does not say it."""


class Lists(msgspec.Struct, frozen=True):
    """How the gateway's kinds name price lists."""

    kinds: dict[str, str]
    by_suffix: dict[str, str]
    """Kinds whose model names end in ``:provider``, and what the ids of their lists begin with."""
    reported: str
    """List that bounds what a provider reports itself."""
    minimum_audio_ms: dict[str, int]
    """By ``list/model``: a recording shorter than this is billed as this long."""


class Uplift(msgspec.Struct, frozen=True, omit_defaults=True):
    """A surcharge on all tokens of calls served in some regions."""

    list: str
    regions: tuple[str, ...]
    """``*``: any that is named."""
    percent: Decimal
    source: str
    models: tuple[str, ...] = ("*",)
    """Globs of the models that bear it."""
    except_models: tuple[str, ...] = ()
    since: date | None = None
    """None: as long as there are such regions."""
    asked: bool = False
    """The request decides where it is served; else the answer alone tells."""


class Addition(msgspec.Struct, frozen=True, omit_defaults=True):
    """Prices that the catalogue lacks."""

    list: str
    prices: Prices
    source: str
    models: tuple[str, ...] = ()
    """Globs of the ids of models that it has."""
    names: tuple[str, ...] = ()
    """Names that have a price of their own where it takes that of another seller or another part of the world."""
    when: dict[str, str] = {}
    """As a variant's; empty: they hold under all conditions."""


class Catalogue:
    """An immutable set of price lists. Looking a model up compiles its list's match rules once."""

    def __init__(
        self, file: CatalogueFile, lists: Lists, uplifts: Iterable[Uplift] = (), supplement: Catalogue | None = None
    ) -> None:
        self.source = file.source
        self.version = f"{file.source.name} {file.source.version}"
        self.lists: Mapping[str, PriceList] = {one.id: one for one in file.providers}
        self.names = lists
        self.uplifts = tuple(uplifts)
        self.supplement = supplement
        """Prices of models that this one lacks, from elsewhere; its lists are named by kinds."""
        self._rules: dict[str, list[tuple[Matcher, CatalogueModel]]] = {}

    def list_id(self, provider: str) -> str | None:
        """The list that a kind, a list's id or another of its names means."""
        wanted = provider.lower().strip()
        wanted = self.names.kinds.get(wanted, wanted)
        if wanted in self.lists:
            return wanted
        for one in self.lists.values():
            if one.provider_match is not None and compiled(one.provider_match)(wanted):
                return one.id
        return None

    def find(self, provider: str, model: str) -> Found | None:
        """The model that a name means in a provider's list, in a list that stands in for it, or in the supplement."""
        found = self._find(provider, model)
        if found is None and self.supplement is not None:
            kind = provider.lower()
            kinds = (kind, *(other for other, list_id in self.names.kinds.items() if list_id == kind))
            offers = (self.supplement.find(one, model) for one in kinds)
            return next((offer for offer in offers if offer is not None), None)
        return found

    def _find(self, provider: str, model: str) -> Found | None:
        prefix = self.names.by_suffix.get(provider.lower())
        if prefix is not None:
            name, _, suffix = model.rpartition(":")
            if prefix + suffix.lower() not in self.lists:
                return self._dearest(prefix, name or model)
            provider, model = prefix + suffix, name
        list_id = self.list_id(provider)
        if list_id is None:
            return None
        for name in spellings(model):
            found = self._match(list_id, name)
            if found is None and (dashed := dashed_date(name)) != name:
                found = self._match(list_id, dashed)
            if found is not None:
                return found
        return None

    def _dearest(self, prefix: str, model: str) -> Found | None:
        """Of the lists that a router may choose from, the one that charges most: what is said of it holds for all."""
        offers = [self._find(list_id, model) for list_id in self.lists if list_id.startswith(prefix)]
        known = [offer for offer in offers if offer is not None]
        if not known:
            return None
        dearest = max(known, key=lambda offer: (_base(offer.model, "output_mtok"), _base(offer.model, "input_mtok")))
        return msgspec.structs.replace(dearest, remark=f" (dearest of {prefix}*)")

    def _match(self, list_id: str, name: str) -> Found | None:
        for matches, model in self._rules_of(list_id):
            if matches(name):
                return Found(list_id, model, own=True, version=self.version)
        for other in self.lists[list_id].fallback_model_providers or ():
            if other in self.lists:
                for matches, model in self._rules_of(other):
                    if matches(name):
                        return Found(other, model, own=False, version=self.version)
        return None

    def _rules_of(self, list_id: str) -> list[tuple[Matcher, CatalogueModel]]:
        rules = self._rules.get(list_id)
        if rules is None:
            rules = [(compiled(model.match), model) for model in self.lists[list_id].models]
            self._rules[list_id] = rules
        return rules


def load(path: str | Path | None = None) -> Catalogue:
    """The catalogue of this package, or the one in a file that ``pricing.update`` has written.

    Raises ``OSError``, or ``msgspec.DecodeError`` with the place of the first thing wrong (``$.providers[3].id``).
    """
    raw = _packaged("catalogue.json") if path is None else Path(path).read_bytes()
    return catalogue_of(msgspec.json.decode(raw, type=CatalogueFile))


def catalogue_of(file: CatalogueFile) -> Catalogue:
    """A catalogue from a file's content, with this package's names of lists, uplifts, additions and supplement."""
    additions = msgspec.json.decode(_packaged("additions.json"), type=tuple[Addition, ...])
    lists = msgspec.json.decode(_packaged("lists.json"), type=Lists)
    uplifts = msgspec.json.decode(_packaged("uplifts.json"), type=tuple[Uplift, ...])
    more = msgspec.json.decode(_packaged("supplement.json"), type=CatalogueFile)
    plain = Lists(kinds={}, by_suffix={}, reported="", minimum_audio_ms={})
    more = _completed(more, [one for one in additions if not one.names])
    return Catalogue(_completed(file, additions), lists, uplifts, Catalogue(more, plain))


def _completed(file: CatalogueFile, additions: Sequence[Addition]) -> CatalogueFile:
    """The lists with what they lack; what they have stays as it is."""
    providers = list(file.providers)
    for more in additions:
        wanted = [glob(text) for text in more.models]
        for at, prices in enumerate(providers):
            if prices.id == more.list:
                known = {one.id for one in prices.models}
                models = [CatalogueModel(n, Clause(equals=n), more.prices) for n in more.names if n not in known]
                models += [
                    _with(one, more) if any(test(one.id.lower()) for test in wanted) else one for one in prices.models
                ]
                providers[at] = msgspec.structs.replace(prices, models=tuple(models))
    return msgspec.structs.replace(file, providers=tuple(providers))


def _with(model: CatalogueModel, more: Addition) -> CatalogueModel:
    if more.when:
        variants = (*(model.price_variants or ()), Variant(more.when, more.prices))
        return msgspec.structs.replace(model, price_variants=variants)
    held = [msgspec.structs.replace(one, prices={**more.prices, **one.prices}) for one in model.conditional()]
    return msgspec.structs.replace(model, prices=held)


def _packaged(name: str) -> bytes:
    return resources.files("pricing.data").joinpath(name).read_bytes()


def _base(model: CatalogueModel, key: str) -> Decimal:
    price = model.conditional()[-1].prices.get(key)
    return price.base if isinstance(price, Stepped) else price or Decimal(0)
