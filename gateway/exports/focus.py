"""The ledger as FOCUS 1.2 (FinOps Open Cost and Usage Specification): rows of usage and of adjustments.

A row of usage is what one team's workflow and key used of one meter (input tokens, cached input tokens, output
tokens…) of one model at one unit price in one day or hour. ``BilledCost`` and ``EffectiveCost`` are sums of the
ledger's lines, exact to the nanodollar; ``ContractedCost`` and ``ListCost`` are unit price × quantity, as FOCUS asks. A
row of adjustment is what corrections changed, in the period in which they were booked.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import msgspec

from gateway.exports.adjusting import adjustment_rows
from gateway.exports.columns import PLACES, Row, moment, scaled, usd, whole
from gateway.exports.names import meter_of
from gateway.exports.rates import FREE, Rate, Rates
from gateway.exports.scope import GRAINS, Scope, billing, shared
from gateway.ledger.edges import horizon_ns, id_bounds
from gateway.ledger.rows import rfc3339
from gateway.wire.batches import SUMMED
from pricing.book import PriceBook
from pricing.money import half_even
from pricing.units import UNITS


class RecordsGoneError(ValueError):
    """Records of the period are no longer kept."""


class _Sums(msgspec.Struct):
    quantity: int = 0
    nanousd: int = 0
    calls: int = 0


_Key = tuple[Any, ...]


def rows(
    connection: sqlite3.Connection, book: PriceBook, price_list: Callable[[str], str], scope: Scope
) -> Iterator[Row]:
    """All rows of a file, in constant memory: one day (or hour) is added up at a time.

    Raises ``RecordsGoneError`` where records of the period were deleted: before the first row, or after the last one
    where that happened meanwhile.
    """
    _still_kept(connection, scope)
    return _rows(connection, book, price_list, scope)


def _still_kept(connection: sqlite3.Connection, scope: Scope) -> None:
    kept = horizon_ns(connection)
    if scope.since_ns < kept:
        raise RecordsGoneError(f"records from before {rfc3339(kept)} are no longer kept (ledger.keep_days)")


def _rows(
    connection: sqlite3.Connection, book: PriceBook, price_list: Callable[[str], str], scope: Scope
) -> Iterator[Row]:
    rates = Rates(book, price_list)
    billing = scope.since_ns
    if scope.first_ns is not None:
        for period, found in _late(connection, rates, scope):
            yield from _period(found, period, billing, price_list)
    step = GRAINS[scope.grain]
    begin = scope.since_ns
    while begin < scope.until_ns:
        # to the next full day or hour
        end = min(begin - begin % step + step, scope.until_ns)
        found = _added_up(connection, rates, scope, begin, end)
        yield from _period(found, (begin - begin % step, begin - begin % step + step), begin, price_list)
        begin = end
    yield from adjustment_rows(connection, scope, price_list)
    # a gateway deletes meanwhile
    _still_kept(connection, scope)


_COLUMNS = (
    "team, workflow, key_id, provider, model, model_requested, tags, service_tier, region, price, priced, "
    "started_ns, usage, lines, api"
)
_USAGE = msgspec.json.Decoder(dict[str, int])
_LINES = msgspec.json.Decoder(list[tuple[str, int, str, int]])


def _added_up(
    connection: sqlite3.Connection, rates: Rates, scope: Scope, since_ns: int, until_ns: int
) -> dict[_Key, _Sums]:
    where = "request_id >= ? AND request_id < ? AND started_ns >= ? AND started_ns < ? AND outcome <> 'rejected'"
    values: tuple[Any, ...] = (*id_bounds(connection, since_ns, until_ns), since_ns, until_ns)
    if scope.records_upto is not None:
        # the id of the view's table is its order of settlement
        where += (
            " AND request_id IN (SELECT request_id FROM records WHERE id <= ? AND request_id >= ? AND request_id < ?)"
        )
        values = (*values, scope.records_upto, *values[:2])
    sums: dict[_Key, _Sums] = {}
    for row in connection.execute(f"SELECT {_COLUMNS} FROM requests WHERE {where}", values):  # noqa: S608
        _add(sums, rates, row)
    return sums


def _late(
    connection: sqlite3.Connection, rates: Rates, scope: Scope
) -> Iterator[tuple[tuple[int, int], dict[_Key, _Sums]]]:
    """Calls of earlier periods that were settled after those were closed, by the day or hour in which they began."""
    step = GRAINS[scope.grain]
    spans: dict[int, dict[_Key, _Sums]] = {}
    cursor = connection.execute(
        f"SELECT {_COLUMNS} FROM requests WHERE request_id IN (SELECT request_id FROM records WHERE id > ? AND id <= ? "  # noqa: S608
        "AND started_ns >= ? AND started_ns < ?) AND outcome <> 'rejected'",
        (scope.records_after, scope.records_upto, scope.first_ns, scope.since_ns),
    )
    for row in cursor:
        begin = row[11] - row[11] % step
        _add(spans.setdefault(begin, {}), rates, row)
    for begin, sums in sorted(spans.items()):
        yield (begin, begin + step), sums


def _add(sums: dict[_Key, _Sums], rates: Rates, row: Any) -> None:
    team, workflow, key_id, provider, model, requested, tags, tier, region, source, priced, at_ns, *said, api = row
    usage, lines = said
    used = _USAGE.decode(usage)
    # how large each request was whose sum this is, is not known
    input_tokens = used.get("input_tokens_total", 0) if api not in SUMMED else 0
    billed = _LINES.decode(lines)
    if not priced:
        billed = _unpriced(used)
    if not billed:
        return
    contract, public = rates.sheets(provider, (model, requested), tier, region, at_ns)
    for item, quantity, unit, nanousd in billed:
        rate = rates.billed(contract, item, quantity, nanousd, input_tokens) if priced else FREE
        listed = rates.public(public, item, input_tokens) if priced else FREE
        key = (team, workflow, key_id, provider, model or requested, tags, tier, region, source, priced, item, unit,
               rate, listed)  # fmt: skip
        known = sums.get(key)
        if known is None:
            known = sums[key] = _Sums()
        known.quantity += quantity
        known.nanousd += nanousd
        known.calls += 1


def _unpriced(used: dict[str, int]) -> list[tuple[str, int, str, int]]:
    """What a call without a price used, at no cost."""
    read, written = used.get("cache_read_tokens", 0), used.get("cache_write_tokens", 0)
    fresh = max(0, used.get("input_tokens_total", 0) - read - written)
    quantities = {"input": fresh, "cache_read": read, "cache_write": written}
    quantities["output"] = used.get("output_tokens_total", 0)
    lines = [(item, quantity, "token", 0) for item, quantity in quantities.items() if quantity]
    return lines + [(unit.item, used[unit.usage], unit.unit, 0) for unit in UNITS if used.get(unit.usage)]


def _order(key: _Key) -> tuple[str, ...]:
    return tuple("" if part is None else str(part) for part in key)


def _period(
    sums: dict[_Key, _Sums], period: tuple[int, int], billing_ns: int, price_list: Callable[[str], str]
) -> Iterator[Row]:
    for key in sorted(sums, key=_order):
        yield _row(key, sums[key], period, billing_ns, price_list)


def _row(key: _Key, sums: _Sums, period: tuple[int, int], billing_ns: int, price_list: Callable[[str], str]) -> Row:
    (team, workflow, key_id, provider, model, tags, tier, region, source, priced, item, unit, rate, listed) = key
    listing = price_list(provider)
    meter = meter_of(item, unit)
    if rate is None:
        # the mean: never below zero, whatever was corrected
        rate = (max(0, sums.nanousd), sums.quantity) if sums.quantity > 0 else FREE
    price, contracted = _priced(rate, sums.quantity, meter.per)
    public, list_cost = _priced(rate if listed is None else listed, sums.quantity, meter.per)
    billed = usd(sums.nanousd)
    sku = f"{listing.rpartition(':')[2]}/{model}/{item}"
    details = {"x_Model": model, "x_Meter": item, "x_ServiceTier": tier or "standard"}
    return {
        **shared(team, workflow, key_id, provider, region, tags, listing),
        **billing(billing_ns, period[0]),
        "BilledCost": billed,
        "ChargeCategory": "Usage",
        "ChargeDescription": f"{meter.name} of {model}" + (f", {tier}" if tier else ""),
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": moment(period[0]),
        "ChargePeriodEnd": moment(period[1]),
        "ConsumedQuantity": whole(sums.quantity),
        "ConsumedUnit": meter.unit,
        "ContractedCost": contracted,
        "ContractedUnitPrice": price,
        "EffectiveCost": billed,
        "ListCost": list_cost,
        "ListUnitPrice": public,
        "PricingCategory": "Dynamic" if item == "reported" else "Standard",
        "PricingCurrencyContractedUnitPrice": price,
        "PricingCurrencyEffectiveCost": billed,
        "PricingCurrencyListUnitPrice": public,
        "PricingQuantity": scaled(sums.quantity * 10**PLACES // meter.per),
        "PricingUnit": meter.pricing_unit,
        "SkuId": sku,
        "SkuMeter": meter.name,
        "SkuPriceDetails": msgspec.json.encode(details).decode(),
        "SkuPriceId": "/".join((sku, tier or "standard", *((region,) if region else ()))),
        "x_Model": model,
        "x_Calls": whole(sums.calls),
        "x_PriceSource": source or None,
        "x_Priced": "true" if priced else "false",
    }


def _priced(rate: Rate, quantity: int, per: int) -> tuple[Decimal, Decimal]:
    """The price of ``per`` units in dollars, rounded, and its product with the quantity."""
    numerator, denominator = rate
    price = half_even(numerator * per * 10 ** (PLACES - 9), denominator)
    return scaled(price), scaled(half_even(price * quantity, per))
