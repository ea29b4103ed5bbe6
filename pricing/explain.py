"""Why a call costs what it costs: the rates that hold, where they come from, the lines they make."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

import msgspec

from pricing.moments import ALWAYS
from pricing.money import NANO, Bill, dollars
from pricing.price import Price
from pricing.units import PARTS, SEEN, TOKENS_PER_RATE, UNITS, WHOLES, Rate, UsageLike

_PER: dict[str, tuple[int, str]] = {
    **{part.item: (TOKENS_PER_RATE, "million tokens") for part in (*WHOLES, *PARTS)},
    "web_search": (1000, "thousand searches"),
    SEEN: (1000, "thousand searches that only the answer shows"),
    "search_unit": (1000, "thousand search units"),
    "character": (1_000_000, "million characters"),
    "audio_time": (60_000, "minute"),
    "image": (1, "image"),
    "page": (1, "page"),
    "request": (1, "request"),
}
_ORDER = {
    item: place for place, item in enumerate(("input", *(p.item for p in PARTS), "output", *(u.item for u in UNITS)))
}


class RateLine(msgspec.Struct, frozen=True):
    """One rate, in dollars."""

    item: str
    usd: str
    """Exact; a rate that no decimal can write is a fraction (``1/3``)."""
    per: str
    """``million tokens``, ``request``…"""
    above: tuple[tuple[int, str], ...] = ()
    """``(input tokens, dollars)``: what holds for all units of a call with more input than that."""


class Explanation(msgspec.Struct, frozen=True):
    """What ``spendgate price`` shows."""

    source: str
    since: str
    """When these rates began to hold; empty: they always did."""
    until: str
    """When other rates begin to hold; empty: not foreseen."""
    rates: tuple[RateLine, ...]
    bill: Bill


def explain(price: Price, usage: UsageLike, *, at_ns: int, service_tier: str = "", region: str = "") -> Explanation:
    """The bill for ``usage`` and the rates behind it, all of them, also those that this usage doesn't touch."""
    price = price.at(at_ns)
    sheet = price.sheet(service_tier, region)
    rates = tuple(_rate_line(item, sheet.card[item]) for item in sorted(sheet.card, key=_ORDER.__getitem__))
    return Explanation(
        source=sheet.source,
        since=_moment(price.since_ns, ALWAYS[0]),
        until=_moment(price.until_ns, ALWAYS[1]),
        rates=rates,
        bill=price.bill(usage, at_ns=at_ns, service_tier=service_tier, region=region),
    )


def text(explanation: Explanation) -> str:
    """An explanation for a terminal."""
    out = [f"price    {explanation.source}"]
    if explanation.since or explanation.until:
        out.append(f"valid    {explanation.since or 'always'} until {explanation.until or 'further notice'}")
    for rate in explanation.rates:
        out.append(f"rate     {rate.item:<17} ${rate.usd} per {rate.per}")
        out += [f"         {'':<17} ${usd} above {start} input tokens" for start, usd in rate.above]
    for line in explanation.bill.lines:
        quantity = f"{line.quantity} {line.unit}"
        out.append(f"line     {line.item:<17} {quantity:<24} ${dollars(line.nanousd)}")
    if explanation.bill.unpriced:
        out.append(f"no rate  {', '.join(explanation.bill.unpriced)}")
    if explanation.bill.irregular:
        out.append(f"remark   {explanation.bill.irregular}")
    out.append(f"total    ${dollars(explanation.bill.nanousd)}")
    return "\n".join(out) + "\n"


def exact(value: Fraction) -> str:
    """A number as a decimal where it has one, else as a fraction."""
    rest, twos, fives = value.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        return str(value)
    digits = max(twos, fives)
    scaled = value.numerator * 10**digits // value.denominator
    whole = f"{abs(scaled):0{digits + 1}d}"
    written = f"{whole[:-digits]}.{whole[-digits:]}" if digits else whole
    return f"-{written}" if scaled < 0 else written


def _rate_line(item: str, rate: Rate) -> RateLine:
    per, name = _PER[item]
    above = tuple((start, exact(higher * per / NANO)) for start, higher in rate.steps)
    return RateLine(item, exact(rate.base * per / NANO), name, above)


def _moment(at_ns: int, never: int) -> str:
    if at_ns == never:
        return ""
    return datetime.fromtimestamp(at_ns // NANO, tz=UTC).isoformat().replace("+00:00", "Z")
