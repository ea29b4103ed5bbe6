"""OpenRouter: the CSV files of the activity page, by day and model, or one line a generation. Amounts are dollars."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.statements.charge import Charge, StatementError, amount, day_of, whole
from gateway.statements.files import Content

HINT = "give a CSV export of the activity page"


def charges(content: Content) -> Iterator[Charge]:
    """The lines of a file. Raises ``StatementError``."""
    columns = {name.lower() for name in content.columns}
    for needed in ({"created_at", "cost_total", "model_permaslug"}, {"date", "slug", "usage"}):
        if needed <= columns:
            break
    else:
        raise StatementError(f"{content.name}: is no export of OpenRouter: {HINT}")
    for line in content.rows:
        row = {name.lower(): value for name, value in line.items()}
        if "cost_total" in row:
            nanousd, quantum = amount(row["cost_total"])
            yield Charge(
                day=day_of(row["created_at"]),
                model=row["model_permaslug"],
                project=row.get("api_key_name", ""),
                nanousd=nanousd,
                quantum=quantum,
            )
        else:
            nanousd, quantum = amount(row["usage"])
            yield Charge(
                day=day_of(row["date"]),
                model=row["slug"],
                nanousd=nanousd,
                quantum=quantum,
                requests=whole(row.get("requests")),
                input_tokens=whole(row.get("prompt tokens")),
                output_tokens=whole(row.get("completion tokens")),
            )
