"""The queries of docs/finops.md answer rows."""

from __future__ import annotations

import re
import time
from pathlib import Path

import book
import pytest
from support.postgresql import ask, database
from test_copying import gateway, ledger

PAGE = (Path(__file__).parents[2] / "docs" / "finops.md").read_text()
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_of_the_page_answers_rows(query: str, tmp_path: Path) -> None:
    with database() as url:
        one = gateway(tmp_path, url)
        book.ledger(ledger(one), [book.record(1, started_ns=time.time_ns())])
        with one:
            pass
        assert ask(url, query)
