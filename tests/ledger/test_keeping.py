"""Copies, deletion, checks and corrections lose nothing and agree to the nanodollar."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import book
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.gateway import Gateway

from gateway.ledger.connections import connect, connect_reader
from gateway.ledger.keeping import DAY_NS, backup, forget, restore
from gateway.ledger.reprice import adjustments, book_adjustments
from gateway.ledger.rows import rfc3339
from gateway.ledger.schema import migrate
from gateway.ledger.verify import verify
from gateway.ledger.view import SqliteView
from gateway.ledger.writer import Writer
from gateway.quota.grants import Grant, insert_grant
from gateway.reports.spend import spend
from pricing.book import PriceBook
from pricing.catalogue import load
from pricing.entry import PriceEntry

FOREVER = 1 << 62
RECORDS = [book.record(number) for number in range(500)]


def reader(path: Path) -> sqlite3.Connection:
    connection = connect_reader(path)
    connection.row_factory = None
    return connection


def total(path: Path) -> int:
    return sum(row.cost_nanousd for row in spend(reader(path), [], 0, FOREVER))


def test_an_honest_ledger_is_found_in_agreement(tmp_path: Path) -> None:
    assert verify(reader(book.ledger(tmp_path / "l.db", RECORDS))) == []


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (
            "UPDATE records SET cost_nanousd = cost_nanousd + 1 WHERE request_id = '{id}'",
            "lines sum",
        ),
        ("DELETE FROM records WHERE request_id = '{id}'", "its records sum"),
        ("UPDATE hours SET held_nanousd = held_nanousd - 1", "held_nanousd is"),
        ("DELETE FROM hours WHERE (id & 4294967295) IN (SELECT id FROM groups WHERE team = 'search')", "is missing"),
        ("INSERT INTO open_requests (entry) VALUES ('[\"{id}\"]')", "open and settled"),
    ],
)
def test_every_disagreement_is_told(tmp_path: Path, damage: str, told: str) -> None:
    path = book.ledger(tmp_path / "l.db", RECORDS)
    connection = connect(path)
    connection.execute(damage.format(id=book.id_of(7)))
    connection.close()
    assert any(told in finding for finding in verify(reader(path)))


def test_a_copy_holds_everything_and_puts_back_what_is_lost_once(tmp_path: Path) -> None:
    path = book.ledger(tmp_path / "l.db", RECORDS)
    before = total(path)
    backup(path, tmp_path / "copy.db")
    with pytest.raises(FileExistsError):
        backup(path, tmp_path / "copy.db")
    lost = book.ledger(tmp_path / "new.db", RECORDS[:100])
    assert restore(tmp_path / "copy.db", lost)["records"] == 400
    assert restore(tmp_path / "copy.db", lost)["records"] == 0
    assert total(lost) == before
    assert verify(reader(lost)) == []


def pruned(path: Path, keep_days: int) -> None:
    connection = connect(path)
    forget(connection, keep_days, book.START_NS + 5 * DAY_NS)
    connection.close()


def test_a_copy_from_before_old_records_went_adds_nothing_to_sums_that_hold_them(tmp_path: Path) -> None:
    path = book.ledger(tmp_path / "l.db", RECORDS)
    before = total(path)
    backup(path, tmp_path / "copy.db")
    pruned(path, 4)
    assert restore(tmp_path / "copy.db", path)["records"] == 0
    assert total(path) == before


def test_a_copy_that_has_only_sums_of_old_records_is_put_back_to_the_nanodollar(tmp_path: Path) -> None:
    path = book.ledger(tmp_path / "l.db", RECORDS)
    before = total(path)
    pruned(path, 4)
    backup(path, tmp_path / "copy.db")
    fresh = book.ledger(tmp_path / "new.db", [])
    for _ in range(2):
        restore(tmp_path / "copy.db", fresh)
        assert total(fresh) == before
        assert verify(reader(fresh)) == []


def grants(path: Path) -> list[str]:
    return [row[0] for row in reader(path).execute("SELECT why FROM quota_grants ORDER BY id")]


def test_a_raise_is_put_back_also_where_another_has_its_number(tmp_path: Path) -> None:
    copy, fresh = book.ledger(tmp_path / "copy.db", []), book.ledger(tmp_path / "new.db", [])
    for path, why in ((copy, "launch"), (fresh, "after the loss")):
        connection = connect(path)
        insert_grant(
            connection,
            Grant(quota="q", unit="usd", amount=1, from_ns=0, until_ns=9, who="me", why=why, created_ns=1),
        )
        connection.close()
    assert restore(copy, fresh)["quota_grants"] == 1
    assert restore(copy, fresh)["quota_grants"] == 0
    assert grants(fresh) == ["after the loss", "launch"]


def test_old_records_go_in_slices_and_their_sums_stay(tmp_path: Path) -> None:
    path = book.ledger(tmp_path / "l.db", RECORDS)
    before = total(path)
    connection = connect(path)
    now_ns = book.START_NS + 5 * DAY_NS
    forgotten = forget(connection, 5, now_ns + 3 * book.HOUR_NS)
    connection.close()
    assert 0 < forgotten < len(RECORDS)
    assert reader(path).execute("SELECT count(*) FROM requests").fetchone()[0] == len(RECORDS) - forgotten
    hour = 3_600_000_000_000
    whole = book.START_NS // hour * hour
    assert sum(row.cost_nanousd for row in spend(reader(path), [], whole, FOREVER)) == before
    assert verify(reader(path)) == []


@pytest.fixture(scope="module")
def forgotten(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of which only the last two hours' records are left."""
    path = book.ledger(tmp_path_factory.mktemp("forgotten") / "l.db", RECORDS)
    connection = connect(path)
    forget(connection, 1, RECORDS[-1].started_ns + DAY_NS - 2 * book.HOUR_NS)
    connection.close()
    assert 0 < reader(path).execute("SELECT count(*) FROM records").fetchone()[0] < 200
    return path


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(0, 500), min_size=1, max_size=4, unique=True))
def test_parts_of_a_period_lose_nothing_of_hours_whose_records_are_gone(forgotten: Path, cuts: list[int]) -> None:
    moments = [0, *(book.START_NS + cut * 60_000_000_000 + 1 for cut in sorted(cuts)), FOREVER]
    connection = reader(forgotten)
    for by in (["team"], ["outcome"]):
        parts = [spend(connection, by, since, until) for since, until in pairwise(moments)]
        assert sum(row.cost_nanousd for rows in parts for row in rows) == sum(one.cost_nanousd for one in RECORDS)
    connection.close()
    # what a quota counts is never less than what was spent in its window
    view = SqliteView(forgotten)
    spent = [sum(one.requests for one in view.spent(since, until)) for since, until in pairwise(moments)]
    assert sum(spent) == len(RECORDS)
    assert spent[-1] >= sum(one.started_ns >= moments[-2] for one in RECORDS)


def test_a_report_says_that_it_counts_whole_hours_where_records_are_gone(forgotten: Path) -> None:
    gateway = Gateway(forgotten.parent, '[providers.openai]\nkind = "openai"\n[ledger]\n')
    gateway.path.write_text(gateway.path.read_text().replace("data/ledger.db", "l.db"))
    since = rfc3339(book.START_NS + 90 * 60 * 10**9)
    said = gateway.cli("report", "--by", "", "--since", since, "--until", "2026-11-01").stdout
    assert f"counted: {since[:14]}00Z to 2026-11-01; of older records only whole hours are kept" in said
    said = gateway.cli("ledger", "reprice", "--since", "2026-09-01", "--dry-run").stdout
    assert "stay as they are: their records are no longer kept." in said.splitlines()[0]
    told = gateway.cli("prices", "diff", "--since", "2026-09-01", "--until", "2026-11-01").stderr
    assert told.endswith(" are left out: their records are gone.\n")
    with gateway:
        asked = gateway.get(f"/api/spend?since={since}&until=2026-11-01")
    assert asked["since"] == f"{since[:14]}00:00.000000Z"
    assert asked["total"]["requests"] == sum(one.started_ns >= at_hour(since) for one in RECORDS)


def at_hour(text: str) -> int:
    """When the hour of a time began."""
    return int(datetime.fromisoformat(text).replace(minute=0, second=0, microsecond=0).timestamp()) * 10**9


def test_a_record_gets_a_number_that_none_had_before_also_when_all_others_are_gone(tmp_path: Path) -> None:
    path = book.ledger(tmp_path / "l.db", RECORDS[:10])
    connection = connect(path)
    assert forget(connection, 1, book.START_NS + 70 * DAY_NS) == 9
    assert forget(connection, 1, book.START_NS + 70 * DAY_NS) == 0
    Writer().write(connection, records=[book.record(5000)])
    assert [number for (number,) in connection.execute("SELECT id FROM records ORDER BY id")] == [10, 11]
    assert forget(connection, 1, book.START_NS + 70 * DAY_NS) == 1
    connection.close()


def test_old_records_that_are_still_to_be_copied_stay(tmp_path: Path) -> None:
    path = book.ledger(tmp_path / "l.db", RECORDS[:10])
    connection = connect(path)
    assert forget(connection, 1, book.START_NS + 70 * DAY_NS, copied=0) == 0
    assert forget(connection, 1, book.START_NS + 70 * DAY_NS, copied=4) == 4
    assert [number for (number,) in connection.execute("SELECT id FROM records ORDER BY id")] == [*range(5, 11)]
    connection.close()


def test_an_estimate_stays_until_its_report_came_which_takes_it_back(tmp_path: Path) -> None:
    began = [book.record(number, claim=f"resp_{number}", usage_source="estimated", pending=True) for number in (1, 2)]
    path = book.ledger(tmp_path / "l.db", [*began, book.record(3), later := book.record(6000)])
    connection = connect(path)
    assert forget(connection, 1, book.START_NS + 3 * DAY_NS) == 1
    report = book.record(5000, claim="resp_1", usage_source="response")
    Writer().write(connection, records=[report])
    assert total(path) == sum(one.cost_nanousd for one in (began[1], book.record(3), later, report))
    assert forget(connection, 1, book.START_NS + 3 * DAY_NS) == 1
    assert forget(connection, 1, book.START_NS + 70 * DAY_NS) == 2
    assert verify(reader(path)) == []
    connection.close()


def prices(usd: int) -> PriceBook:
    return PriceBook(
        [
            PriceEntry(
                provider="openai", model="gpt-4o-mini*", input_per_mtok=Decimal(usd), output_per_mtok=Decimal(usd)
            )
        ],
        load(),
    )


def reprice(path: Path, prices_now: PriceBook) -> int:
    found = list(adjustments(connect_reader(path), prices_now, lambda name: name, 0, FOREVER))
    connection = connect(path)
    book_adjustments(connection, found, book.START_NS, "tester", "test")
    connection.close()
    return len(found)


def test_pricing_again_twice_is_pricing_again_once_and_records_stay(tmp_path: Path) -> None:
    path = book.ledger(tmp_path / "l.db", RECORDS)
    records = reader(path).execute("SELECT * FROM requests").fetchall()
    assert reprice(path, prices(3)) == len(RECORDS)
    expected = sum((r.usage.input_tokens_total + r.usage.output_tokens_total) * 3000 for r in RECORDS)
    assert total(path) == expected
    assert reprice(path, prices(3)) == 0
    assert total(path) == expected
    assert reprice(path, prices(5)) > 0
    assert total(path) == expected // 3 * 5
    assert reader(path).execute("SELECT * FROM requests").fetchall() == records
    assert verify(reader(path)) == []


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(0, 400), max_size=4, unique=True))
def test_parts_of_a_period_hold_each_correction_once(corrected: Path, cuts: list[int]) -> None:
    moments = [0, *(book.START_NS + cut * 60_000_000_000 + 1 for cut in sorted(cuts)), FOREVER]
    connection = reader(corrected)
    for by in (["team"], ["outcome"]):
        parts = [spend(connection, by, since, until) for since, until in pairwise(moments)]
        assert sum(row.cost_nanousd for rows in parts for row in rows) == total(corrected)
    since = moments[1] if cuts else 0
    own = sum(
        (one.usage.input_tokens_total + one.usage.output_tokens_total) * 3000
        for one in RECORDS
        if one.started_ns >= since
    )
    assert sum(row.cost_nanousd for row in spend(connection, ["team"], since, FOREVER)) == own
    connection.close()


@pytest.fixture(scope="module")
def corrected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger whose calls were all priced again."""
    path = book.ledger(tmp_path_factory.mktemp("corrected") / "l.db", RECORDS)
    reprice(path, prices(3))
    return path


@pytest.mark.parametrize("older", [False, True])
def test_a_correction_counts_under_its_calls_outcome_when_the_record_is_gone(tmp_path: Path, older: bool) -> None:
    path = book.ledger(tmp_path / "l.db", RECORDS)
    reprice(path, prices(3))
    connection = connect(path)
    if older:
        # as it was written before adjustments told outcomes
        connection.execute("ALTER TABLE adjustments DROP COLUMN ended_as")
        connection.execute("DELETE FROM _sqlite_migrations WHERE name = 'corrected_outcomes'")
        assert migrate(path) is None
    by_outcome = {
        filters: spend(connection, ["outcome", "team"], 0, FOREVER, filters)
        for filters in ((), (("outcome", "recovered"),), (("outcome", "completed"),))
    }
    assert {row.group[0] for row in by_outcome[()]} == {"completed", "client_disconnected", "recovered"}
    assert 0 < forget(connection, 5, book.START_NS + 5 * DAY_NS + 3 * book.HOUR_NS) < len(RECORDS)
    for filters, rows in by_outcome.items():
        assert spend(connection, ["outcome", "team"], 0, FOREVER, filters) == rows
    connection.close()
    copied = book.ledger(tmp_path / "new.db", [])
    restore(path, copied)
    assert spend(reader(copied), ["outcome", "team"], 0, FOREVER) == by_outcome[()]
    assert verify(reader(copied)) == []


def test_an_estimate_that_a_report_replaced_counts_under_its_outcome_when_its_record_is_gone(tmp_path: Path) -> None:
    began = book.record(1, claim="resp", usage_source="estimated", pending=True, outcome="client_disconnected")
    path = book.ledger(tmp_path / "l.db", [began])
    connection = connect(path)
    Writer().write(connection, records=[book.record(5000, claim="resp", usage_source="response", outcome="completed")])
    assert forget(connection, 1, book.START_NS + 70 * DAY_NS) == 1
    (row,) = spend(connection, ["team"], 0, FOREVER, [("outcome", began.outcome)])
    assert (row.requests, row.cost_nanousd) == (1, 0)
    connection.close()


def test_a_price_that_is_taken_back_and_agreed_again_counts_each_time(tmp_path: Path) -> None:
    path = book.ledger(tmp_path / "l.db", RECORDS)
    tokens = sum(r.usage.input_tokens_total + r.usage.output_tokens_total for r in RECORDS)
    for usd in (3, 5, 3, 5, 3):
        reprice(path, prices(usd))
        assert total(path) == tokens * usd * 1000
    assert verify(reader(path)) == []


def test_who_prices_again_at_the_same_time_as_another_books_nothing_twice(tmp_path: Path) -> None:
    path = book.ledger(tmp_path / "l.db", RECORDS)
    tokens = sum(r.usage.input_tokens_total + r.usage.output_tokens_total for r in RECORDS)
    found = [list(adjustments(connect_reader(path), prices(usd), lambda name: name, 0, FOREVER)) for usd in (3, 3, 5)]
    connection = connect(path)
    for one in found:
        book_adjustments(connection, one, book.START_NS, "tester", "test")
    connection.close()
    assert total(path) == tokens * 3000


def test_an_estimate_that_is_replaced_while_it_is_priced_again_stays_replaced(tmp_path: Path) -> None:
    began = book.record(1, claim="resp", usage_source="estimated", pending=True)
    path = book.ledger(tmp_path / "l.db", [began, book.record(2)])
    found = list(adjustments(connect_reader(path), prices(3), lambda name: name, 0, FOREVER))
    report = book.record(5000, claim="resp", usage_source="response")
    connection = connect(path)
    Writer().write(connection, records=[report])
    (written,) = book_adjustments(connection, found, book.START_NS, "tester", "test")
    assert written.request_id == book.id_of(2)
    connection.close()
    usage = book.record(2).usage
    assert total(path) == (usage.input_tokens_total + usage.output_tokens_total) * 3000 + report.cost_nanousd


def test_a_call_that_the_provider_waived_stays_free_at_any_price(tmp_path: Path) -> None:
    waived = book.record(1, cost_nanousd=0, cost_lines=(), price="waived: refused before any output")
    path = book.ledger(tmp_path / "l.db", [waived, book.record(2)])
    assert reprice(path, prices(3)) == 1
    usage = book.record(2).usage
    assert total(path) == (usage.input_tokens_total + usage.output_tokens_total) * 3000


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(numbers=st.lists(st.integers(0, 5000), min_size=1, max_size=60, unique=True), data=st.data())
def test_rollups_equal_records_for_any_records_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], data: st.DataObject
) -> None:
    records = [book.record(number) for number in numbers]
    shuffled = data.draw(st.permutations(records))
    path = book.ledger(tmp_path_factory.mktemp("l") / "l.db", shuffled)
    assert verify(reader(path)) == []
    assert total(path) == sum(one.cost_nanousd for one in records)
    since = book.START_NS + data.draw(st.integers(0, 5000)) * 60_000_000_000
    broken = ("client_disconnected", "upstream_error", "upstream_timeout")
    held = sum(
        max(one.cost_nanousd, one.reserved_nanousd)
        if one.outcome == "recovered" or (one.usage_source == "estimated" and one.outcome in broken)
        else one.cost_nanousd
        for one in records
        if one.started_ns >= since
    )
    assert sum(spent.nanousd for spent in SqliteView(path).spent(since, FOREVER)) == held
    part = sum(row.cost_nanousd for row in spend(reader(path), ["team", "tag.env"], since, FOREVER))
    assert part == sum(one.cost_nanousd for one in records if one.started_ns >= since)


def test_an_older_ledger_is_copied_before_it_is_changed(tmp_path: Path) -> None:
    path = book.ledger(tmp_path / "l.db", RECORDS[:10])
    connection = connect(path)
    connection.execute("DROP TABLE facts")
    connection.execute("DELETE FROM _sqlite_migrations WHERE name = 'keeping'")
    connection.close()
    copy = migrate(path)
    assert copy is not None
    assert copy.exists()
    assert migrate(path) is None
    assert verify(reader(path)) == []


def test_pricing_again_knows_the_region_in_which_a_call_was_served(tmp_path: Path) -> None:
    plain = PriceBook((), load())
    price = plain.find("anthropic", "claude-opus-4-6", book.START_NS)
    assert price is not None
    usage = book.Usage(input_tokens_total=1000, output_tokens_total=100)
    records = []
    for number, region in enumerate(("", "us")):
        bill = price.bill(usage, at_ns=book.START_NS, region=region)
        records.append(
            book.record(
                number,
                provider="anthropic",
                model="claude-opus-4-6",
                usage=usage,
                region=region,
                cost_nanousd=bill.nanousd,
                cost_lines=bill.lines,
                price=bill.source,
            )
        )
    assert records[1].cost_nanousd * 10 == records[0].cost_nanousd * 11
    assert reprice(book.ledger(tmp_path / "l.db", records), plain) == 0
