"""OpenAI: the Costs and Usage APIs (``/v1/organization/costs``, ``/v1/organization/usage/completions`` and its kin) and
the CSV files of the dashboard's usage page.

Amounts are dollars. A line item is a model and what of it, like ``gpt-4o-2024-08-06, cached input``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.statements.charge import WEB_SEARCH, Charge, StatementError, amount, day_of, whole
from gateway.statements.files import Content

HINT = "give the answer of /v1/organization/costs or …/usage/completions, or a CSV export of the usage page"


def charges(content: Content) -> Iterator[Charge]:
    """The lines of a file. Raises ``StatementError``."""
    if content.pages:
        for page in content.pages:
            for bucket in page["data"]:
                for result in bucket.get("results", ()):
                    yield _charge(bucket["start_time"], result)
        return
    if "start_time" not in content.columns or not {"amount_value", "input_tokens", "num_model_requests"} & set(
        content.columns
    ):
        raise StatementError(f"{content.name}: is no export of OpenAI: {HINT}")
    for row in content.rows:
        # a day without any use is a line of times alone
        if row.get("amount_value") or row.get("input_tokens") or row.get("num_model_requests"):
            told = {"value": row.get("amount_value"), "currency": row.get("amount_currency")}
            row["amount"] = told if told["value"] else None  # type: ignore[assignment]
            yield _charge(row["start_time"], row)


def _charge(start: Any, result: dict[str, Any]) -> Charge:
    day, project = day_of(start), result.get("project_id") or ""
    stated = result.get("amount")
    if stated:
        nanousd, quantum = amount(stated.get("value"), currency=stated.get("currency"))
        return Charge(day=day, model=_model(result.get("line_item")), project=project, nanousd=nanousd, quantum=quantum)
    if "input_tokens" not in result and "num_model_requests" not in result:
        raise StatementError(f"a result is neither a cost nor a usage: {HINT}")
    return Charge(
        day=day,
        model=result.get("model") or "",
        project=project,
        requests=whole(result.get("num_model_requests")),
        input_tokens=whole(result.get("input_tokens")),
        output_tokens=whole(result.get("output_tokens")),
    )


def _model(line_item: str | None) -> str:
    text = (line_item or "").strip()
    if text.lower().startswith("web search"):
        return WEB_SEARCH
    return text.partition(",")[0].strip()
