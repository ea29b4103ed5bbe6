"""A price that a configuration sets: a contract, an own model, a correction. It comes before the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import msgspec

from pricing.catalogue import Constraint


class Rates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """US dollars per million tokens, by what they are."""

    input_per_mtok: Decimal | None = None
    output_per_mtok: Decimal | None = None
    cache_read_per_mtok: Decimal | None = None
    cache_read_audio_per_mtok: Decimal | None = None
    cache_read_image_per_mtok: Decimal | None = None
    cache_write_per_mtok: Decimal | None = None
    cache_write_1h_per_mtok: Decimal | None = None
    reasoning_per_mtok: Decimal | None = None
    input_audio_per_mtok: Decimal | None = None
    output_audio_per_mtok: Decimal | None = None
    input_image_per_mtok: Decimal | None = None
    input_video_per_mtok: Decimal | None = None
    output_image_per_mtok: Decimal | None = None


class PriceTier(Rates, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rates that hold for *all* tokens of a call whose whole input is larger than ``above_input_tokens``.

    A rate that is left out keeps what holds below the threshold.
    """

    above_input_tokens: int


class PriceEntry(Rates, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ``[[prices]]`` entry. All rates are US dollars; a rate that is left out comes from the next entry that
    matches, at last from the catalogue."""

    provider: str
    """Price list that this belongs to: a kind (``openai``, ``bedrock``…), a catalogue list's id, or ``*``."""
    model: str
    """Model name or glob (``*``, ``?``), case-insensitive."""
    aliases: tuple[str, ...] = ()
    """Other names or globs (deployments, gateways' names) that are priced as ``model``."""
    index: int = -1
    """Position in the configuration, for ``Price.source``; -1: its position among the book's entries."""

    since: date | None = msgspec.field(default=None, name="from")
    """``from``: first moment of validity: a date (from 00:00 UTC) or a ``datetime`` (UTC where it names no zone)."""
    until: date | None = None
    """First moment at which it is no longer valid, so that consecutive contracts share one date."""
    daily_from: time | None = None
    """Only from this time of day (UTC) …"""
    daily_until: time | None = None
    """… up to this one; a span that ends before it starts goes over midnight."""
    service_tier: str = ""
    """Only for calls of this tier (``flex``, ``priority``, ``batch``, ``standard``…); empty: every tier."""
    region: str = ""
    """Only for calls served in this region; empty: every region."""
    committed: str = ""
    """Name of the committed-spend contract behind the rates; told in ``Price.source``."""

    per_request: Decimal | None = None
    """For each call, whatever it used."""
    per_image: Decimal | None = None
    """For each picture made."""
    per_minute: Decimal | None = None
    """For each minute of audio, billed by the millisecond."""
    per_1k_characters: Decimal | None = None
    per_mchars: Decimal | None = None
    """The same as ``per_1k_characters``, for a million; only one of the two."""
    per_page: Decimal | None = None
    web_search_per_k: Decimal | None = None
    """For a thousand searches that the provider reports."""
    web_search_seen_per_k: Decimal | None = None
    """For a thousand searches that its answers show and its reports do not count."""
    search_units_per_k: Decimal | None = None
    tiers: tuple[PriceTier, ...] = ()
    """Long-context rates."""
    discount_percent: Decimal | None = None
    """Taken off every rate of this entry and of what it inherits; negative: an uplift."""


def entries_of(tables: Iterable[Mapping[str, Any]]) -> list[PriceEntry]:
    """Entries from plain tables, such as ``tomllib.load(file, parse_float=Decimal)["prices"]``.

    Raises ``msgspec.ValidationError`` for an unknown key or a wrong type, ``ValueError`` for what contradicts itself.
    """
    entries = []
    for index, table in enumerate(tables):
        plain = {key: value for key, value in table.items() if key not in ("from", "until")}
        entry = msgspec.convert({"index": index, **plain}, PriceEntry)
        entry = msgspec.structs.replace(
            entry, since=_moment(table.get("from"), "from", index), until=_moment(table.get("until"), "until", index)
        )
        found = problems(entry)
        if found:
            raise ValueError(f'prices[{index}] "{entry.model}": {"; ".join(found)}')
        entries.append(entry)
    return entries


def problems(entry: PriceEntry) -> list[str]:
    """What contradicts itself in an entry, one sentence each; empty: nothing."""
    found = []
    for one in (entry, *entry.tiers):
        for name in one.__struct_fields__:
            value = getattr(one, name)
            if "per_" in name and value is not None and (not value.is_finite() or value < 0):
                found.append(f"{name} is a number of dollars, 0 or more, not {value}")
    if entry.per_mchars is not None and entry.per_1k_characters is not None:
        found.append("per_mchars and per_1k_characters both price characters: keep one")
    if entry.discount_percent is not None and not -1000 <= entry.discount_percent <= 100:
        found.append(f"discount_percent is at most 100 and at least -1000, not {entry.discount_percent}")
    if entry.since is not None and entry.until is not None and _utc(entry.until) <= _utc(entry.since):
        found.append(f"until ({entry.until}) is not after from ({entry.since})")
    if (entry.daily_from is None) != (entry.daily_until is None) or (
        entry.daily_from is not None and entry.daily_from == entry.daily_until
    ):
        found.append("daily_from and daily_until are two different times of day, both or none")
    if entry.aliases and ("*" in entry.model or "?" in entry.model):
        found.append(f'aliases stand for one model, but "{entry.model}" is a pattern')
    starts = [tier.above_input_tokens for tier in entry.tiers]
    if any(start < 0 for start in starts) or len(set(starts)) < len(starts):
        found.append("each of tiers has an above_input_tokens of its own, 0 or more")
    return found


def daily(entry: PriceEntry) -> Constraint | None:
    """The time of day to which an entry is bound, as the catalogue says such things."""
    if entry.daily_from is None or entry.daily_until is None:
        return None
    return Constraint(start_time=entry.daily_from, end_time=entry.daily_until)


def _moment(value: object, key: str, index: int) -> date | None:
    if value is None or isinstance(value, date):
        return value
    raise msgspec.ValidationError(f"Expected a date or time, got {value!r} - at `prices[{index}].{key}`")


def _utc(moment: date) -> datetime:
    if not isinstance(moment, datetime):
        return datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
