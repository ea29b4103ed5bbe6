"""The ledger's page: its queries run, its commands can be typed, its tables are those of the file."""

from __future__ import annotations

import re
import shlex
import sqlite3
from pathlib import Path

import book
import pytest

from gateway.cli.main import parser
from gateway.ledger.schema import migrate

PAGE = (Path(__file__).parents[2] / "docs" / "ledger.md").read_text()


@pytest.mark.parametrize("query", re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL))
def test_a_query_of_the_page_answers_rows(query: str, tmp_path: Path) -> None:
    now = book.ledger(tmp_path / "l.db", [book.record(number) for number in range(60_000, 60_050)])
    assert sqlite3.connect(now).execute(query).fetchall()


@pytest.mark.parametrize("line", [one for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
                                  for one in block.splitlines()])  # fmt: skip
def test_a_command_of_the_page_can_be_typed(line: str) -> None:
    words = shlex.split(line)
    parser(words[1:]).parse_args(words[1:])


def test_the_page_names_every_table_and_view(tmp_path: Path) -> None:
    migrate(tmp_path / "l.db")
    names = sqlite3.connect(tmp_path / "l.db").execute(
        "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE '\\_%' ESCAPE '\\' "
        "AND name NOT LIKE 'sqlite%'"
    )
    assert [name for (name,) in names if f"`{name}`" not in PAGE] == []
