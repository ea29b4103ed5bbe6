"""``[[shared_costs]]``: what is paid beside the calls, and who bears it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from gateway.config.values import Label, Moment, Money, Name, Number, Percent, Table


class SharedCostConfig(Table):
    """A cost that several teams bear: a fee, a provider's minimum, a platform."""

    name: Name
    usd: Money | None = None
    percent: Percent | None = None
    """Of what the calls cost."""
    minimum_usd: Money | None = None
    """What is missing to this minimum is the cost."""
    provider: Name | None = None
    """With it, only what was called at this provider counts."""
    by: Literal["even", "spend", "tokens", "fixed"] = "spend"
    shares: dict[Label, Number] = {}
    from_: Moment | None = Field(default=None, alias="from")
    until: Moment | None = None

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        if sum(value is not None for value in (self.usd, self.percent, self.minimum_usd)) != 1:
            raise ValueError("needs exactly one of usd, percent, minimum_usd")
        if (self.by == "fixed") != bool(self.shares):
            raise ValueError("shares go with by = fixed, and by = fixed needs shares")
        return self
