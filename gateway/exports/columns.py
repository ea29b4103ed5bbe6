"""The columns of a FOCUS 1.2 file, and values that lose nothing on their way into one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

from gateway.reports.cells import cell

Kind = Literal["text", "number", "time"]
Value = str | Decimal | datetime | None
Row = dict[str, Value]
PLACES = 12
"""Decimal places of unit prices and of costs that are products; billed costs are exact in nine."""

COLUMNS: dict[str, Kind] = {
    "BilledCost": "number", "BillingAccountId": "text", "BillingAccountName": "text", "BillingCurrency": "text",
    "BillingPeriodEnd": "time", "BillingPeriodStart": "time", "ChargeCategory": "text", "ChargeClass": "text",
    "ChargeDescription": "text", "ChargeFrequency": "text", "ChargePeriodEnd": "time", "ChargePeriodStart": "time",
    "CommitmentDiscountStatus": "text", "ConsumedQuantity": "number", "ConsumedUnit": "text",
    "ContractedCost": "number", "ContractedUnitPrice": "number", "EffectiveCost": "number", "InvoiceId": "text",
    "InvoiceIssuerName": "text", "ListCost": "number",
    "ListUnitPrice": "number", "PricingCategory": "text", "PricingCurrency": "text",
    "PricingCurrencyContractedUnitPrice": "number", "PricingCurrencyEffectiveCost": "number",
    "PricingCurrencyListUnitPrice": "number", "PricingQuantity": "number", "PricingUnit": "text",
    "ProviderName": "text", "PublisherName": "text", "RegionId": "text", "RegionName": "text",
    "ServiceCategory": "text", "ServiceName": "text", "ServiceSubcategory": "text", "SkuId": "text",
    "SkuMeter": "text", "SkuPriceDetails": "text", "SkuPriceId": "text", "SubAccountId": "text",
    "SubAccountName": "text", "Tags": "text",
    "x_Workflow": "text", "x_KeyId": "text", "x_Model": "text", "x_Calls": "number", "x_PriceSource": "text",
    "x_Priced": "text", "x_Reason": "text",
}  # fmt: skip
"""Name → kind, in the order of the file: those of FOCUS first, then ``x_`` columns of this gateway."""


def scaled(number: int, places: int = PLACES) -> Decimal:
    """``number`` / 10 ** ``places``, exact."""
    return Decimal(f"{number}E-{places}")


def whole(number: int) -> Decimal:
    """A whole number."""
    return Decimal(number)


def usd(nanousd: int) -> Decimal:
    """Nanodollars in dollars, exact."""
    return scaled(nanousd, 9)


def moment(time_ns: int) -> datetime:
    """Nanoseconds since 1970 as a time in UTC; parts of a second are cut off."""
    return datetime.fromtimestamp(time_ns // 10**9, UTC)


def _number(value: Value) -> str:
    if not isinstance(value, Decimal):
        return ""
    # a point in every number, so that readers who guess a column's type take it for decimals
    whole, _, places = f"{value:f}".partition(".")
    return f"{whole}.{places.rstrip('0') or '0'}"


def _time(value: Value) -> str:
    return f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else ""


TEXTS: dict[Kind, Callable[[Value], str]] = {
    "text": lambda value: "" if value is None else cell(str(value)),
    "number": _number,
    "time": _time,
}
"""How a value of each kind is written into a CSV file; what is null is empty."""
