"""Anthropic: the Admin API's cost and usage reports, and the CSV files of the Console's cost and usage pages.

The API tells amounts in cents, as decimal text; the CSV in dollars, rounded to cents. What is no token cost (web
search, code execution) has no model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.statements.charge import CENT, WEB_SEARCH, Charge, StatementError, amount, day_of, whole
from gateway.statements.files import Content

HINT = "give the answer of /v1/organizations/cost_report or …/usage_report/messages, or a CSV export of the Console"
_INPUTS = (
    "usage_input_tokens_no_cache",
    "usage_input_tokens_cache_write_5m",
    "usage_input_tokens_cache_write_1h",
    "usage_input_tokens_cache_write",
    "usage_input_tokens_cache_read",
)


def charges(content: Content) -> Iterator[Charge]:
    """The lines of a file. Raises ``StatementError``."""
    if content.pages:
        for page in content.pages:
            for bucket in page["data"]:
                for result in bucket.get("results", ()):
                    yield _charge(bucket["starting_at"], result)
        return
    columns = set(content.columns)
    if "usage_date_utc" not in columns or not {"cost_usd", "usage_output_tokens"} & columns:
        raise StatementError(f"{content.name}: is no export of Anthropic: {HINT}")
    for row in content.rows:
        yield _row(row)


def _charge(start: Any, result: dict[str, Any]) -> Charge:
    day, project = day_of(start), result.get("workspace_id") or ""
    if "amount" in result:
        nanousd, quantum = amount(result["amount"], CENT, result.get("currency"))
        model = result.get("model") or _other(result.get("cost_type"), result.get("description"))
        return Charge(day=day, model=model, project=project, nanousd=nanousd, quantum=quantum)
    if "uncached_input_tokens" not in result:
        raise StatementError(f"a result is neither a cost nor a usage: {HINT}")
    written = sum(whole(count) for count in (result.get("cache_creation") or {}).values())
    return Charge(
        day=day,
        model=result.get("model") or "",
        project=project,
        input_tokens=whole(result["uncached_input_tokens"]) + written + whole(result.get("cache_read_input_tokens")),
        output_tokens=whole(result.get("output_tokens")),
    )


def _row(row: dict[str, str]) -> Charge:
    day, project = day_of(row["usage_date_utc"]), row.get("workspace", "")
    if row.get("cost_usd"):
        nanousd, quantum = amount(row["cost_usd"])
        model = row.get("model") or _other(row.get("cost_type"), None)
        return Charge(day=day, model=model, project=project, nanousd=nanousd, quantum=max(quantum, CENT))
    return Charge(
        day=day,
        model=row.get("model_version", ""),
        project=project,
        input_tokens=sum(whole(row.get(name)) for name in _INPUTS),
        output_tokens=whole(row.get("usage_output_tokens")),
    )


def _other(cost_type: str | None, description: str | None) -> str:
    """What stands for a model where there is none."""
    if cost_type == "web_search":
        return WEB_SEARCH
    return (description or (cost_type if cost_type not in (None, "tokens", "token") else "") or "").replace("_", " ")
