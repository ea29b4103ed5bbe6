"""Spend by how calls ended is that of the records, and all outcomes sum to the whole."""

from __future__ import annotations

from typing import Any

import book
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.admin import Caller, records

from gateway.ledger.connections import connect
from gateway.ledger.reader import LedgerReader
from gateway.ledger.record import OUTCOMES
from gateway.reports.spend import spend

PERIOD = "since=2026-09-21T00:00Z&until=2026-09-22T12:00Z"
HOUR_NS = book.HOUR_NS


def test_every_outcome_has_its_calls_and_dollars(open_caller: Caller) -> None:
    rows = open_caller.get(f"/api/spend?by=team,outcome&{PERIOD}")["rows"]
    seen = 0
    for row in rows:
        own = [one for one in records() if [one.team, one.outcome] == [row["group"]["team"], row["group"]["outcome"]]]
        assert row["cost_nanousd"] == sum(one.cost_nanousd for one in own)
        assert row["requests"] + row["rejected"] == len(own)
        assert row["input_tokens"] == sum(one.usage.input_tokens_total for one in own)
        seen += len(own)
    assert seen == len(records())


def test_outcome_is_a_filter_too(open_caller: Caller) -> None:
    for outcomes in (["completed"], ["client_disconnected", "recovered"], ["rejected"]):
        asked = "".join(f"&outcome={one}" for one in outcomes)
        own = [one for one in records() if one.outcome in outcomes]
        total = open_caller.get(f"/api/spend?by=model&{PERIOD}{asked}")["total"]
        assert total["cost_nanousd"] == sum(one.cost_nanousd for one in own)
        assert total["requests"] + total["rejected"] == len(own)


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Records with two that were adjusted later: one completed, one whose client had gone."""
    path = book.ledger(tmp_path_factory.mktemp("outcomes") / "ledger.db", records())
    writer = connect(path)
    for kind in ("completed", "client_disconnected"):
        one = next(one for one in records() if one.outcome == kind)
        values = (
            f"adj_{kind}", one.request_id, one.ended_ns, one.started_ns // HOUR_NS, "repriced", "", "", 777, "p", "[]",
            one.team, one.workflow, one.key_id, one.provider, one.model, one.model_requested, '{"env": "prod"}',
        )  # fmt: skip
        names = (
            "id, request_id, at_ns, hour, kind, reason, who, delta_nanousd, price, cost_lines, team, workflow, key_id, "
            "provider, model, model_requested, tags"
        )
        writer.execute(f"INSERT INTO adjustments ({names}) VALUES ({', '.join('?' * len(values))})", values)
    writer.close()
    return LedgerReader(path).connection()


@settings(max_examples=40, deadline=None)
@given(
    by=st.lists(st.sampled_from(["team", "workflow", "tag.env", "day", "hour", "model"]), max_size=2, unique=True),
    place=st.integers(0, 2),
    team=st.sampled_from(["", "search", "support"]),
    minutes=st.tuples(st.integers(0, 200), st.integers(201, 420)),
    measures=st.sampled_from([[], ["output_tokens"]]),
)
def test_all_outcomes_together_are_the_whole(
    connection: Any, by: list[str], place: int, team: str, minutes: tuple[int, int], measures: list[str]
) -> None:
    since, until = (book.START_NS + 60 * 10**9 * one for one in minutes)
    filters = [("team", team)] if team else []
    whole = {row.group: row for row in spend(connection, by, since, until, filters, measures)}
    dims = [*by[:place], "outcome", *by[place:]]
    place = dims.index("outcome")
    sums: dict[tuple[str, ...], list[int]] = {}
    for row in spend(connection, dims, since, until, filters, measures):
        assert row.group[place] in OUTCOMES
        key = row.group[:place] + row.group[place + 1 :]
        known = sums.setdefault(key, [0, 0, 0])
        for at, value in enumerate((row.requests + row.rejected, row.cost_nanousd, row.output_tokens)):
            known[at] += value
    # a total of nothing is a row of zeros, and no outcome has one
    assert {key: values for key, values in sums.items() if any(values)} == {
        key: values
        for key, row in whole.items()
        if any(values := [row.requests + row.rejected, row.cost_nanousd, row.output_tokens])
    }
