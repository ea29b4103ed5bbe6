"""Pages of records about something are those that a look at every record would give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import book
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.ledger.ids import first_id_at
from gateway.ledger.reader import LedgerReader
from gateway.ledger.record import OUTCOMES, Record

HOUR_NS = 3_600_000_000_000
COUNT = 900


def made(number: int) -> Record:
    """Some hours are empty, some kinds of call are rare, some calls ended minutes after a full hour's end."""
    started = book.START_NS + (number // 100) * 7 * HOUR_NS + number * 36 * 10**9
    outcome = OUTCOMES[number % 97 % len(OUTCOMES)] if number % 11 == 0 else "completed"
    return book.record(
        number,
        request_id=first_id_at(started + number % 3 * 10**7) + f"{number:016d}",
        started_ns=started,
        ended_ns=started + 10**9,
        outcome=outcome,
        workflow="rare" if number in (3, 450, 899) else f"w{number % 4}",
        model_requested="alias" if number % 13 == 0 else "gpt-4o-mini",
    )


RECORDS = [made(number) for number in range(COUNT)]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> LedgerReader:
    return LedgerReader(book.ledger(tmp_path_factory.mktemp("pages") / "ledger.db", RECORDS))


def pages(reader: LedgerReader, limit: int, **asked: Any) -> list[str]:
    """Ids of all pages, one after the other."""
    out: list[str] = []
    cursor = None
    while True:
        rows, cursor = reader.page(limit=limit, cursor=cursor, **asked)
        assert len(rows) <= limit
        out += [row["request_id"] for row in rows]
        if cursor is None:
            return out


def expected(records: list[Record], **asked: Any) -> list[str]:
    def fits(one: Record) -> bool:
        model = asked.get("model")
        if model is not None and model not in (one.model, one.model_requested):
            return False
        if not (asked.get("since") or 0) <= one.started_ns < (asked.get("until") or 1 << 62):
            return False
        same = ("team", "workflow", "provider", "key_id", "outcome")
        return all(getattr(one, name) == asked[name] for name in same if asked.get(name) is not None)

    return sorted((one.request_id for one in records if fits(one)), reverse=True)


@settings(max_examples=60, deadline=None)
@given(
    asked=st.fixed_dictionaries(
        {},
        optional={
            "team": st.sampled_from(["search", "support", "none"]),
            "workflow": st.sampled_from(["w0", "w3", "rare", "none"]),
            "model": st.sampled_from(["gpt-4o-mini", "alias", "none"]),
            "key_id": st.sampled_from(["k", "none"]),
            "outcome": st.sampled_from(OUTCOMES),
            "since": st.sampled_from([book.START_NS + 20 * HOUR_NS, book.START_NS + 1]),
            "until": st.sampled_from([book.START_NS + 40 * HOUR_NS + 5, book.START_NS + 9 * HOUR_NS]),
        },
    ),
    limit=st.sampled_from([1, 7, 100, 1000]),
)
def test_pages_lead_through_all_records_that_match(reader: LedgerReader, asked: dict[str, Any], limit: int) -> None:
    if limit == 1:
        rows, _ = reader.page(limit=1, **asked)
        assert [row["request_id"] for row in rows] == expected(RECORDS, **asked)[:1]
    else:
        assert pages(reader, limit, **asked) == expected(RECORDS, **asked)


def test_a_call_whose_id_is_of_another_hour_is_found_all_the_same(tmp_path: Path) -> None:
    """A clock that was set back leaves ids ahead of the time at which their calls began."""
    records = [made(number) for number in range(200)]
    odd = book.record(7, started_ns=book.START_NS, request_id=first_id_at(book.START_NS + 90 * HOUR_NS) + "0" * 16,
                      workflow="odd")  # fmt: skip
    reader = LedgerReader(book.ledger(tmp_path / "ledger.db", [*records, odd]))
    assert pages(reader, 10, workflow="odd") == [odd.request_id]


def test_a_page_of_what_is_not_there_is_empty(reader: LedgerReader) -> None:
    assert reader.page(workflow="none", outcome="rejected", limit=10) == ([], None)
    with pytest.raises(ValueError, match="cursor"):
        reader.page(cursor="req_UUUUUUUUUUUUUUUU", limit=1)
