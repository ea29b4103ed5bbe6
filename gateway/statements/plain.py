"""Any other provider: CSV with the columns ``day`` and ``usd``, and, where they are known, ``model``, ``project``,
``requests``, ``input_tokens``, ``output_tokens``; or a FOCUS file, whose columns say the same."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.statements.charge import Charge, StatementError, amount, day_of, whole
from gateway.statements.files import Content

HINT = "give CSV with the columns day, usd and, where known, model and project"
_FOCUS = {"ChargePeriodStart", "BilledCost"}


def charges(content: Content) -> Iterator[Charge]:
    """The lines of a file. Raises ``StatementError``."""
    columns = set(content.columns)
    if columns >= _FOCUS:
        for row in content.rows:
            nanousd, quantum = amount(row["BilledCost"], currency=row.get("BillingCurrency"))
            model = row.get("x_Model") or row.get("SkuId") or row.get("ChargeDescription", "")
            yield Charge(
                day=day_of(row["ChargePeriodStart"]),
                model=model,
                project=row.get("SubAccountId", ""),
                nanousd=nanousd,
                quantum=quantum,
            )
        return
    if not {"day", "usd"} <= columns:
        raise StatementError(f"{content.name}: {HINT}")
    for row in content.rows:
        nanousd, quantum = amount(row["usd"])
        yield Charge(
            day=day_of(row["day"]),
            model=row.get("model", ""),
            project=row.get("project", ""),
            nanousd=nanousd,
            quantum=quantum,
            **{name: whole(row[name]) for name in ("requests", "input_tokens", "output_tokens") if row.get(name)},
        )
