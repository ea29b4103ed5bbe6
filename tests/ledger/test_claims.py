"""What is reported more than once is charged once, in whatever order its records come to be written."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import book
import pytest

from gateway.ledger.connections import connect, connect_reader
from gateway.ledger.record import Record
from gateway.ledger.schema import migrate
from gateway.ledger.verify import verify
from gateway.ledger.view import SqliteView
from gateway.ledger.writer import Writer
from gateway.reports.spend import spend

BEGAN = book.record(1, claim="resp_1", usage_source="estimated", pending=True, outcome="client_disconnected")
FETCHED = book.record(2, claim="resp_1", usage_source="response", outcome="completed")
AGAIN = book.record(3, claim="resp_1", usage_source="response", outcome="completed")
OTHER = book.record(4, claim="resp_2", usage_source="response", outcome="completed")


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("order", list(permutations((BEGAN, FETCHED, OTHER))))
def test_an_estimate_and_its_report_are_charged_as_the_report_alone(
    order: tuple[Record, ...], at_once: bool, tmp_path: Path
) -> None:
    """A disk that was slow has them in one commit; a stream that stalled is given up after its answer was fetched."""
    path = tmp_path / "l.db"
    migrate(path)
    connection = connect(path)
    writer = Writer()
    for batch in [[*order, AGAIN]] if at_once else [[one] for one in (*order, AGAIN)]:
        writer.write(connection, records=batch)
    connection.close()
    reader = connect_reader(path)
    reader.row_factory = None
    (row,) = spend(reader, [], 0, 1 << 62)
    charged = FETCHED.cost_nanousd + OTHER.cost_nanousd
    assert row.cost_nanousd == charged
    assert sum(one.nanousd for one in SqliteView(path).spent(0, 1 << 62)) == charged
    assert verify(reader) == []
    reader.close()
