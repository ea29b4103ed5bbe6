"""Which models were used without a price."""

from __future__ import annotations

import sqlite3

import msgspec

from gateway.ledger.rows import GROUP_BITS, GROUP_MASK, HOUR_NS


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one model that have no price. Tokens are those of the hours in which there were such calls."""

    provider: str
    model: str
    calls: int
    input_tokens: int
    output_tokens: int
    first_ns: int
    """The hour of the first call."""
    last_ns: int
    """The hour of the last."""


def missing(connection: sqlite3.Connection, since_ns: int, until_ns: int) -> list[Missing]:
    """Models of calls started in the hours of ``[since_ns, until_ns)``, the most called first."""
    rows = connection.execute(
        "SELECT provider, model, sum(unpriced), sum(input_tokens_total), sum(output_tokens_total), "  # noqa: S608
        f"min(hours.id >> {GROUP_BITS}), max(hours.id >> {GROUP_BITS}) FROM hours CROSS JOIN groups "
        f"ON groups.id = (hours.id & {GROUP_MASK}) WHERE hours.id >= ? AND hours.id < ? AND unpriced > 0 "
        "GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2",
        (since_ns // HOUR_NS << GROUP_BITS, -(-until_ns // HOUR_NS) << GROUP_BITS),
    )
    return [
        Missing(
            provider=provider,
            model=model,
            calls=calls,
            input_tokens=tokens_in,
            output_tokens=tokens_out,
            first_ns=first * HOUR_NS,
            last_ns=last * HOUR_NS,
        )
        for provider, model, calls, tokens_in, tokens_out, first, last in rows
    ]
