"""``[[prices]]``: prices of your own, on top of the catalogue. In US dollars."""

from __future__ import annotations

from pydantic import Field

from gateway.config.values import Glob, Moment, Money, Percent, Positive, Table, TimeOfDay
from pricing.entry import PriceEntry
from pricing.entry import PriceTier as EntryTier


class Rates(Table):
    """Of tokens, in US dollars a million."""

    input_per_mtok: Money | None = None
    output_per_mtok: Money | None = None
    cache_read_per_mtok: Money | None = None
    cache_read_audio_per_mtok: Money | None = None
    cache_read_image_per_mtok: Money | None = None
    cache_write_per_mtok: Money | None = None
    cache_write_1h_per_mtok: Money | None = None
    reasoning_per_mtok: Money | None = None
    input_audio_per_mtok: Money | None = None
    output_audio_per_mtok: Money | None = None
    input_image_per_mtok: Money | None = None
    input_video_per_mtok: Money | None = None
    output_image_per_mtok: Money | None = None


class PriceTier(Rates):
    """Prices of calls whose input is longer than this."""

    above_input_tokens: Positive


class PriceConfig(Rates):
    """A price of your own: a contract, a model of yours, a correction. In US dollars."""

    provider: str
    model: Glob
    aliases: tuple[Glob, ...] = ()
    from_: Moment | None = Field(default=None, alias="from")
    until: Moment | None = None
    daily_from: TimeOfDay | None = None
    daily_until: TimeOfDay | None = None
    service_tier: str = ""
    region: str = ""
    committed: str = ""
    per_request: Money | None = None
    per_image: Money | None = None
    per_minute: Money | None = None
    per_1k_characters: Money | None = None
    per_mchars: Money | None = None
    per_page: Money | None = None
    web_search_per_k: Money | None = None
    web_search_seen_per_k: Money | None = None
    search_units_per_k: Money | None = None
    tiers: tuple[PriceTier, ...] = ()
    discount_percent: Percent | None = None
    """Taken off every rate of this entry and of what it inherits; negative: an uplift."""


def entry_of(index: int, price: PriceConfig) -> PriceEntry:
    """The price book's entry for ``prices[index]``."""
    values = price.model_dump(by_alias=False, exclude={"from_", "tiers"})
    tiers = tuple(EntryTier(**tier.model_dump()) for tier in price.tiers)
    return PriceEntry(index=index, since=price.from_, tiers=tiers, **values)
