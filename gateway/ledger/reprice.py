"""Past calls at a corrected price: adjusting entries beside the records, which stay as they are."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from gateway.ledger.ids import first_id_at
from gateway.ledger.record import Record
from gateway.ledger.rows import HOUR_NS, REQUEST_COLUMNS, record_of_row
from gateway.wire.batches import SUMMED
from gateway.wire.usage import WAIVED
from pricing.book import PriceBook
from pricing.money import Line

MARGIN_NS = HOUR_NS
SLICE_ROWS = 1000
_INSERT = (
    "INSERT OR IGNORE INTO adjustments (id, request_id, at_ns, hour, kind, reason, who, delta_nanousd, price, "
    "cost_lines, team, workflow, key_id, provider, model, model_requested, tags, ended_as) "
    "SELECT ?, ?, ?, ?, 'reprice', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? "
    "WHERE (SELECT count(*) FROM adjustments WHERE request_id = ?) = ?"
)
_ENTRIES = "FROM adjustments a WHERE a.request_id = r.request_id"


class Adjustment(msgspec.Struct, frozen=True, kw_only=True):
    """What a call's cost changes by."""

    request_id: str
    started_ns: int
    provider: str
    model: str
    before_nanousd: int
    after_nanousd: int
    price: str
    lines: tuple[Line, ...]
    row: dict[str, Any]
    earlier: int
    """Entries that corrected this call before."""

    @property
    def delta_nanousd(self) -> int:
        return self.after_nanousd - self.before_nanousd


class _Past(msgspec.Struct, frozen=True):
    """A call that may be priced again."""

    record: Record
    row: dict[str, Any]
    adjusted: int
    """By earlier entries, in nanodollars…"""
    earlier: int
    """…and how many those are."""


def _past(connection: sqlite3.Connection, since_ns: int, until_ns: int) -> Iterator[_Past]:
    """Calls started in ``[since_ns, until_ns)`` whose price is their usage's: not those that were waived, or cut by a
    crash before anything was known of them, and no estimate that a report replaced, which has a record of its own."""
    cursor = connection.execute(
        f"SELECT {', '.join(REQUEST_COLUMNS)}, (SELECT coalesce(sum(delta_nanousd), 0) {_ENTRIES}) AS adjusted, "  # noqa: S608
        f"(SELECT count(*) {_ENTRIES}) AS earlier FROM requests r WHERE r.request_id >= ? AND started_ns >= ? "
        "AND started_ns < ? AND usage_source <> 'none' AND substr(price, 1, ?) <> ? "
        "AND NOT (outcome = 'recovered' AND price = '' AND priced) "
        f"AND NOT EXISTS (SELECT 1 {_ENTRIES} AND a.kind = 'reported') ORDER BY r.request_id",
        (first_id_at(since_ns - MARGIN_NS), since_ns, until_ns, len(WAIVED), WAIVED),
    )
    names = [column[0] for column in cursor.description]
    for row in cursor:
        values = dict(zip(names, row, strict=True))
        adjusted, earlier = values.pop("adjusted"), values.pop("earlier")
        yield _Past(record_of_row(values), values, adjusted, earlier)


def priced_again(connection: sqlite3.Connection, since_ns: int, until_ns: int) -> Iterator[Record]:
    """Records of the calls started in ``[since_ns, until_ns)`` that ``adjustments`` looks at."""
    for one in _past(connection, since_ns, until_ns):
        yield one.record


def adjustments(
    connection: sqlite3.Connection,
    book: PriceBook,
    price_list: Callable[[str], str],
    since_ns: int,
    until_ns: int,
) -> Iterator[Adjustment]:
    """What ``book`` would change for calls started in ``[since_ns, until_ns)``, earlier adjustments taken into account.

    ``price_list`` answers the price list of a provider's name. A call that has no price in the book stays as it is.
    """
    for one in _past(connection, since_ns, until_ns):
        record = one.record
        name = price_list(record.provider)
        price = book.find(name, record.model, record.started_ns)
        if price is None:
            price = book.find(name, record.model_requested, record.started_ns)
        if price is None:
            continue
        bill = price.bill(
            record.usage,
            at_ns=record.started_ns,
            service_tier=record.service_tier,
            region=record.region,
            reported_cost_nanousd=record.reported_cost_nanousd,
            summed=record.api in SUMMED,
        )
        before = record.cost_nanousd + one.adjusted
        if bill.nanousd != before:
            yield Adjustment(
                request_id=record.request_id,
                started_ns=record.started_ns,
                provider=record.provider,
                model=record.model,
                before_nanousd=before,
                after_nanousd=bill.nanousd,
                price=bill.source,
                lines=(*bill.lines, Line("replaces", 1, "request", -before)),
                row=one.row,
                earlier=one.earlier,
            )


def book_adjustments(
    connection: sqlite3.Connection, found: list[Adjustment], now_ns: int, who: str, why: str
) -> list[Adjustment]:
    """Write adjusting entries, in slices; answers those that were written. One whose call was corrected since it was
    found is not: it corrects a figure that no longer holds."""
    written: list[Adjustment] = []
    for start in range(0, len(found), SLICE_ROWS):
        connection.execute("BEGIN IMMEDIATE")
        try:
            new = [
                one
                for one in found[start : start + SLICE_ROWS]
                if connection.execute(_INSERT, (*_row(one, now_ns, who, why), one.request_id, one.earlier)).rowcount
            ]
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        written += new
    return written


def _row(one: Adjustment, now_ns: int, who: str, why: str) -> tuple[Any, ...]:
    # not by its amounts: a price may be taken back, and agreed again
    mark = f"reprice|{one.request_id}|{one.earlier}"
    row = one.row
    return (
        "adj_" + hashlib.sha256(mark.encode()).hexdigest()[:26],
        one.request_id,
        now_ns,
        one.started_ns // HOUR_NS,
        why,
        who,
        one.delta_nanousd,
        one.price,
        msgspec.json.encode(one.lines).decode(),
        row["team"],
        row["workflow"],
        row["key_id"],
        row["provider"],
        row["model"],
        row["model_requested"],
        row["tags"],
        row["outcome"],
    )
