"""What lies in the file: older layouts move to the newest without a loss, days are the sums of their hours."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import book
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlite_utils import Database

from gateway.ledger import splitting
from gateway.ledger.connections import connect, connect_reader
from gateway.ledger.days import DAY_NS, close_day
from gateway.ledger.reader import LedgerReader
from gateway.ledger.record import OpenEntry
from gateway.ledger.recovery import recover
from gateway.ledger.rows import OWNER_COLUMNS, SUMS, add_sums, common_sums, rollup_sums
from gateway.ledger.schema import MIGRATIONS, migrate
from gateway.ledger.splitting import split
from gateway.ledger.verify import verify
from gateway.ledger.view import SqliteView
from gateway.ledger.writer import Writer
from gateway.reports.spend import spend

FOREVER = 1 << 62
RECORDS = [book.record(number) for number in range(0, 20_000, 50)]
"""Two weeks of calls."""


def reader(path: Path) -> sqlite3.Connection:
    connection = connect_reader(path)
    connection.row_factory = None
    return connection


def rows(path: Path, table: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    cursor = connection.execute(f"SELECT * FROM {table}")
    names = sorted(column[0] for column in cursor.description if column[0] not in ("lines", "group_id"))
    found = sorted(connection.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall())
    connection.close()
    return found


def first_layout(new: Path, old: Path) -> None:
    """A ledger as it was before groups and kinds were kept apart."""
    connection = sqlite3.connect(old)
    MIGRATIONS.apply(Database(connection), stop_before="groups")
    connection.execute("ATTACH ? AS new", (str(new),))
    for table, more in (("requests", "WHERE 1"), ("rollups", f"GROUP BY hour, {', '.join(OWNER_COLUMNS)}")):
        names = [column[1] for column in connection.execute(f"PRAGMA main.table_info({table})").fetchall()]
        values = ", ".join(f"sum({name})" if table == "rollups" and name in SUMS else name for name in names)
        connection.execute(f"INSERT INTO main.{table} ({', '.join(names)}) SELECT {values} FROM new.{table} {more}")
    entry = (
        '{"request_id":"req_open","started_ns":5,"team":"t","workflow":"w","key_id":"k","tags":{"a":"b"},'
        '"provider":"p","api":"chat","method":"POST","path":"/","model_requested":"m","stream":true,"quotas":["q"],'
        '"reserved_nanousd":7,"reserved_input_tokens":1,"reserved_output_tokens":2,"request_bytes":3,"trace_id":""}'
    )
    connection.execute("INSERT INTO main.open_requests VALUES ('req_open', ?)", (entry.encode(),))
    connection.commit()
    connection.close()


def test_a_ledger_of_the_first_layout_keeps_every_figure_and_its_open_calls(tmp_path: Path) -> None:
    new = book.ledger(tmp_path / "new.db", RECORDS)
    old = tmp_path / "old.db"
    first_layout(new, old)
    copy = migrate(old)
    assert copy is not None
    assert "groups" in copy.name
    assert rows(old, "requests") == rows(new, "requests")
    task(old, split)
    assert rows(old, "rollups") == rows(new, "rollups")
    assert list(LedgerReader(old).all()) == list(LedgerReader(new).all())
    (found,) = recover(old, 9)
    assert found.request_id == "req_open"
    assert (found.tags, found.quotas, found.reserved_nanousd) == ({"a": "b"}, ("q",), 7)
    assert verify(reader(old)) == []
    assert recover(old, 9) == []


def test_the_tables_can_be_read_with_plain_sql(tmp_path: Path) -> None:
    path = book.ledger(tmp_path / "l.db", RECORDS)
    connection = sqlite3.connect(path)
    total = sum(one.cost_nanousd for one in RECORDS)
    assert connection.execute("SELECT sum(cost_nanousd) FROM requests").fetchone() == (total,)
    assert connection.execute("SELECT sum(cost_nanousd) FROM rollups").fetchone() == (total,)
    lines = "SELECT sum(value ->> 'nanousd') FROM requests, json_each(cost_lines)"
    assert connection.execute(lines).fetchone() == (total,)
    plan = connection.execute("EXPLAIN QUERY PLAN SELECT team FROM requests WHERE request_id > 'req_0' ORDER BY "
                              "request_id DESC LIMIT 5").fetchall()  # fmt: skip
    assert "USING INDEX records_request_id" in plan[0][3]
    assert not any("TEMP B-TREE" in step[3] for step in plan)


def task(path: Path, slice_of: Callable[[sqlite3.Connection], bool], slices: int = FOREVER) -> None:
    """Do it a slice at a time, as the writer does."""
    connection = connect(path)
    more = True
    while more and slices:
        connection.execute("BEGIN IMMEDIATE")
        more = slice_of(connection)
        connection.execute("COMMIT")
        slices -= 1
    connection.close()


def close_days(path: Path, now_ns: int) -> None:
    task(path, lambda connection: close_day(connection, now_ns))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_closed_days_change_no_report_whenever_a_call_is_settled(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    records = data.draw(st.permutations(RECORDS))[:150]
    cut = data.draw(st.integers(0, len(records)))
    now_ns = book.START_NS + data.draw(st.integers(0, 20)) * DAY_NS
    since = book.START_NS + data.draw(st.integers(-3, 15)) * DAY_NS + data.draw(st.integers(0, 23)) * book.HOUR_NS
    until = since + data.draw(st.integers(1, 20 * 24)) * book.HOUR_NS + data.draw(st.sampled_from((0, 1)))
    by = data.draw(st.sampled_from((["team", "model"], ["day"], ["month", "tag.env"], ["week"], [], ["hour"])))
    folder = tmp_path_factory.mktemp("l")
    plain = book.ledger(folder / "plain.db", records)
    path = book.ledger(folder / "l.db", records[:cut])
    close_days(path, now_ns)
    connection = connect(path)
    Writer(alone=True).write(connection, records=records[cut:])
    connection.close()
    close_days(path, now_ns + data.draw(st.integers(0, 3)) * DAY_NS)
    assert verify(reader(path)) == []
    filters = data.draw(st.sampled_from(([], [("team", "search")], [("day", "2026-09-25"), ("day", "2026-09-26")])))
    assert spend(reader(path), by, since, until, filters) == spend(reader(plain), by, since, until, filters)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_order_of_settlement_does_not_matter_for_any_sum(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    records = data.draw(st.permutations(RECORDS))[:120]
    folder = tmp_path_factory.mktemp("l")
    one = book.ledger(folder / "one.db", records)
    other = book.ledger(folder / "other.db", data.draw(st.permutations(records)))
    assert rows(one, "rollups") == rows(other, "rollups")
    assert rows(one, "requests") == rows(other, "requests")


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_sums_that_did_not_tell_outcomes_apart_do_so_after_any_slices_and_count_each_call_once_meanwhile(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    records = data.draw(st.permutations(RECORDS))[:150]
    cut = data.draw(st.integers(0, len(records)))
    folder = tmp_path_factory.mktemp("l")
    new = book.ledger(folder / "new.db", records)
    path = folder / "l.db"
    first_layout(book.ledger(folder / "before.db", records[:cut]), path)
    migrate(path)
    close_days(path, book.START_NS + data.draw(st.integers(0, 20)) * DAY_NS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splitting, "SLICE_ROWS", data.draw(st.integers(1, 60)))
        task(path, split, data.draw(st.integers(0, 5)))
        connection = connect(path)
        Writer(alone=True).write(connection, records=records[cut:])
        connection.close()
        for slices in (data.draw(st.integers(0, 5)), FOREVER):
            task(path, split, slices)
            assert verify(reader(path)) == []
            for by, filters in ((["outcome", "team"], []), (["day"], [("outcome", "recovered")])):
                found = spend(reader(path), by, 0, FOREVER, filters)
                assert found == spend(reader(new), by, 0, FOREVER, filters)
    assert rows(path, "rollups") == rows(new, "rollups")


@pytest.mark.parametrize("ahead_hours", [0, 1, 5, 100])
def test_a_report_of_part_of_an_hour_knows_calls_whose_ids_run_ahead_of_a_clock_set_back(
    tmp_path: Path, ahead_hours: int
) -> None:
    ahead = [book.record(number, request_id=book.id_of(number + 60 * ahead_hours) + "x") for number in range(0, 600, 7)]
    path = book.ledger(tmp_path / "l.db", [*RECORDS, *ahead])
    for start, end in ((0, 30), (100, 215), (301, 302), (590, 601)):
        since, until = (book.START_NS + minute * 60_000_000_000 for minute in (start, end))
        found = sum(row.cost_nanousd for row in spend(reader(path), [], since, until))
        assert found == sum(one.cost_nanousd for one in [*RECORDS, *ahead] if since <= one.started_ns < until)
        held = sum(one.requests for one in SqliteView(path).spent(since, until))
        assert held == sum(since <= one.started_ns < until for one in [*RECORDS, *ahead])


def test_an_entry_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    one = OpenEntry(
        request_id="req_1", started_ns=1, team="t", workflow="w", key_id="k", tags={"ä": "ö"}, provider="p", api="chat",
        method="POST", path="/", model_requested="m", stream=True, quotas=("a", "b"), trace_id="x",
    )  # fmt: skip
    path = tmp_path / "l.db"
    migrate(path)
    connection = connect(path)
    Writer().write(connection, opens=[1, msgspec.json.encode(one)])
    connection.close()
    (found,) = recover(path, 1)
    assert (found.tags, found.quotas, found.trace_id, found.stream) == ({"ä": "ö"}, ("a", "b"), "x", True)


@given(one=st.integers(0, 10**6), other=st.integers(0, 10**6), rare=st.integers(0, 2))
def test_short_sums_are_the_whole_ones_without_their_zeros(one: int, other: int, rare: int) -> None:
    first = book.record(one)
    second = msgspec.structs.replace(book.record(other), priced=rare != 1)
    if rare == 2:
        second.usage.reasoning_tokens = 5
    whole = [a + b for a, b in zip(rollup_sums(first), rollup_sums(second), strict=True)]
    short = add_sums((common_sums(first), common_sums(second)))
    assert short + [0] * (len(SUMS) - len(short)) == whole


def test_processes_that_begin_at_once_bring_a_ledger_to_the_newest_schema_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        for number in range(10):
            path = tmp_path / str(number) / "ledger.db"
            assert list(pool.map(migrate, [path] * 6)) == [None] * 6
            book.ledger(path, [book.record(1)])
