"""``[[quotas]]``: rules that say no."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, model_validator

from gateway.config.problems import near
from gateway.config.values import Count, Glob, Moment, Money, Name, Number, Positive, Share, Table, tag_name

UNITS = ("usd", "tokens", "input_tokens", "output_tokens", "requests", "concurrent")
WINDOWS = ("minute", "hour", "day", "week", "month", "total")
MATCH_KEYS = ("team", "workflow", "key", "provider", "model")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
ROLLING = re.compile(r"rolling (\d{1,4})\s?([mhd])")
ROLLING_SECONDS = {"m": 60, "h": 3600, "d": 86_400}
MAX_ROLLING_SECONDS = 366 * 86_400


def _window(value: str) -> str:
    match = ROLLING.fullmatch(value)
    if match:
        seconds = int(match[1]) * ROLLING_SECONDS[match[2]]
        if not 60 <= seconds <= MAX_ROLLING_SECONDS:
            raise ValueError("a rolling window is between 1 minute and 366 days long")
    elif value not in WINDOWS:
        hint = near(value, (*WINDOWS, "rolling 24h"))
        raise ValueError(f'must be one of {", ".join(WINDOWS)}, or rolling with a length, like "rolling 24h". {hint}')
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        hint = near(value, available_timezones())
        raise ValueError(f'"{value}" is no IANA timezone, like "Europe/Berlin". {hint}'.strip()) from error
    return value


def _dimension(value: str) -> str:
    if value.startswith("tag."):
        try:
            tag_name(value[4:])
        except ValueError as error:
            raise ValueError(f"names a tag that can't be: its name {error}") from error
    elif value not in MATCH_KEYS:
        hint = near(value, MATCH_KEYS)
        raise ValueError(f"must be one of {', '.join(MATCH_KEYS)} or tag.NAME. {hint}".strip())
    return value


Dimension = Annotated[str, AfterValidator(_dimension)]
Window = Annotated[str, AfterValidator(_window)]
Zone = Annotated[str, AfterValidator(_zone)]


class OverrideConfig(Table):
    """A temporary raise of one rule."""

    usd: Money | None = None
    tokens: Positive | None = None
    input_tokens: Positive | None = None
    output_tokens: Positive | None = None
    requests: Positive | None = None
    concurrent: Positive | None = None
    from_: Moment | None = Field(default=None, alias="from")
    until: Moment
    """First moment at which it no longer holds."""
    why: str | None = None


class QuotaConfig(Table):
    name: Name
    match: dict[Dimension, Glob | tuple[Glob, ...]] = {}
    per: tuple[Dimension, ...] = ()
    usd: Money | None = None
    tokens: Count | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    requests: Count | None = None
    concurrent: Count | None = None
    window: Window | None = None
    timezone: Zone = "UTC"
    week_start: Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] = "monday"
    action: Literal["block", "warn"] = "block"
    warn_at: tuple[Share, ...] = ()
    clamp: bool = False
    extend: bool = False
    unbounded: Literal["allow", "refuse"] = "allow"
    queue_seconds: Number = 0.0
    queue_length: Positive = 1000
    overflow: Literal["refuse", "shared"] = "refuse"
    overrides: tuple[OverrideConfig, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        units = [unit for unit in UNITS if getattr(self, unit) is not None]
        if not units:
            raise ValueError(f"a quota needs a limit: one or more of {', '.join(UNITS)}")
        if self.window is None and units != ["concurrent"]:
            raise ValueError('a quota over time needs a window, like window = "month"')
        return self
