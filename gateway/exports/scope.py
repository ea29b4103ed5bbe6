"""What one file of an export holds, and the columns that all of its rows have in common."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from gateway.exports.columns import COLUMNS, Row, moment
from gateway.exports.names import provider_of
from gateway.ledger.rows import HOUR_NS

Grain = Literal["day", "hour"]
GRAINS: dict[str, int] = {"day": 24 * HOUR_NS, "hour": HOUR_NS}


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What one file holds."""

    since_ns: int
    until_ns: int
    """Calls that began in ``[since_ns, until_ns)``."""
    adjusted_since_ns: int
    """Adjustments that were booked from here up to ``until_ns``."""
    grain: Grain = "day"
    records_after: int = 0
    """Also calls that began earlier and were settled later than this record (its number in the order of settlement)…"""
    records_upto: int | None = None
    """…and none that was settled later than this one. None: all."""
    adjustments_after: int | None = None
    """With a number: adjustments by the order in which they were booked, instead of by time: those of the calls of the
    period up to ``adjustments_upto``, and those of earlier calls after this one."""
    adjustments_upto: int | None = None
    first_ns: int | None = None
    """Late calls must have begun at this time or later. None: there are no late calls."""


def shared(team: str, workflow: str, key_id: str, provider: str, region: str, tags: str, listing: str) -> Row:
    """What rows of usage and of adjustment have in common."""
    name = provider_of(provider, listing)
    said = msgspec.json.decode(tags or "{}")
    # a tag of a user's has no colon in its name
    said |= {"spendgate:workflow": workflow, "spendgate:key": key_id}
    row: Row = dict.fromkeys(COLUMNS)
    row |= {
        "BillingAccountId": provider,
        "BillingAccountName": provider,
        "BillingCurrency": "USD",
        "PricingCurrency": "USD",
        "InvoiceIssuerName": name,
        "ProviderName": name,
        "PublisherName": name,
        "RegionId": region or None,
        "RegionName": region or None,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": f"{name} API",
        "ServiceSubcategory": "Generative AI",
        "SubAccountId": team,
        "SubAccountName": team,
        "Tags": msgspec.json.encode(said).decode(),
        "x_Workflow": workflow,
        "x_KeyId": key_id,
    }
    return row


def billing(billed_ns: int, charged_ns: int) -> Row:
    """The month that bills something, and whether it corrects an earlier month."""
    first, following = _month(billed_ns)
    return {
        "BillingPeriodStart": first,
        "BillingPeriodEnd": following,
        "ChargeClass": "Correction" if moment(charged_ns) < first else None,
    }


def _month(at_ns: int) -> tuple[datetime, datetime]:
    first = moment(at_ns).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return first, first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
