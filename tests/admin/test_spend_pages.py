"""Pages of spend while calls are settled: each group once, as it was when the first page was read."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import book
import msgspec
import pytest
from support.gateway import Gateway

from gateway.finops.booking import Entry, corrected
from gateway.finops.booking import book as adjust
from gateway.finops.series import today_of
from gateway.ledger.connections import connect
from gateway.ledger.rows import OWNER_COLUMNS, tags_json
from gateway.ledger.writer import Writer


def call(number: int, workflow: str, cost: int, **changes: Any) -> Any:
    lines = (book.Line("input", 1, "token", cost),)
    return book.record(number, workflow=workflow, outcome="completed", cost_nanousd=cost, cost_lines=lines, **changes)


@pytest.mark.parametrize("by", ["workflow", "outcome,workflow", "workflow,day"])
@pytest.mark.parametrize("until", ["2026-10-01", "2026-09-21T16:20:30Z"])
def test_pages_of_spend_are_of_one_moment(by: str, until: str, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, '[providers.openai]\nkind = "openai"\n')
    (tmp_path / "data").mkdir()
    ledger = tmp_path / "data" / "ledger.db"
    book.ledger(ledger, [call(number, f"w{number % 7}", 1000 - 10 * (number % 7)) for number in range(100)])
    asked = {"by": by, "since": "2026-09-01", "until": until, "measures": "requests,cost_nanousd,input_tokens"}

    def page(**more: Any) -> Any:
        return gateway.get("/api/spend?" + urlencode({**asked, **more}))

    with gateway:
        whole = page()
        first = page(limit=3)
        connection = connect(ledger)
        # the last becomes the dearest, a new one comes, and something is corrected
        late = [call(1000, "w6", 5_000_000), call(1001, "new", 7_000_000)]
        moved = [msgspec.structs.replace(one, started_ns=book.START_NS) for one in late]
        Writer().write(connection, records=moved)
        owner = {"team": "search", "workflow": "w5", "key_id": "k", "provider": "openai", "model": "gpt-4o-mini",
                 "model_requested": "gpt-4o-mini", "tags": tags_json({})}  # fmt: skip
        group = tuple(owner[name] for name in OWNER_COLUMNS)
        entry = Entry(day=today_of(book.START_NS), group=group, nanousd=9_000_000, cause="price", mark="x")
        adjust(connection, [entry], book.START_NS, "tester", "", (), corrected(connection))
        connection.close()
        rows, cursor = first["rows"], first["cursor"]
        while cursor is not None:
            following = page(limit=3, cursor=cursor)
            assert following["total"] == whole["total"]
            rows, cursor = rows + following["rows"], following["cursor"]
        assert rows == whole["rows"]
        assert page()["rows"][0]["group"]["workflow"] == "w5"
