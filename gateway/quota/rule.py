"""A quota rule, ready to be matched: what the configuration says, in integers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from fnmatch import translate
from re import compile as compile_pattern

import msgspec

from gateway.config.quotas import QuotaConfig
from gateway.config.values import nanousd
from gateway.quota.windows import FOREVER, SECOND, WindowOf, rolling_seconds, window_of

UNITS = ("usd", "input_tokens", "output_tokens", "tokens", "requests", "concurrent")
"""Units in the order of an amount vector; ``usd`` is counted in nanodollars."""
CONCURRENT = UNITS.index("concurrent")


class Subject(msgspec.Struct, frozen=True, cache_hash=True):
    """What rules match on: who calls what."""

    team: str
    workflow: str
    key: str
    provider: str
    model: str
    tags: tuple[tuple[str, str], ...] = ()


class Raise(msgspec.Struct, frozen=True):
    """A temporary raise of one limit."""

    unit: int
    amount: int
    from_ns: int
    until_ns: int


class Rule(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    name: str
    match: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Dimension → globs, any of which must match."""
    per: tuple[str, ...] = ()
    units: tuple[int, ...]
    limits: tuple[int, ...]
    window: WindowOf
    window_name: str = "total"
    rolling_ns: int = 0
    blocking: bool = True
    warn_at: tuple[tuple[int, int], ...] = ()
    """Shares of the limit as fractions, ascending."""
    clamp: bool = False
    extend: bool = False
    proven: bool = False
    """Only calls whose cost has a proven bound get through."""
    queue_seconds: float = 0.0
    queue_length: int = 1000
    shared_overflow: bool = False
    configured_raises: tuple[Raise, ...] = ()
    raises: list[Raise] = msgspec.field(default_factory=list)
    """All raises, those granted at run time included. The one thing about a rule that changes while it lives."""
    source: object = None
    """The configuration's table, to tell whether a reload changed it."""

    def limit(self, position: int, now_ns: int) -> int:
        """The limit of the unit at ``position``, with the raises that hold now."""
        total = self.limits[position]
        for more in self.raises:
            if more.unit == self.units[position] and more.from_ns <= now_ns < more.until_ns:
                total += more.amount
        return total


def from_config(config: QuotaConfig) -> Rule:
    """The rule that a ``[[quotas]]`` table describes."""
    units = tuple(index for index, unit in enumerate(UNITS) if getattr(config, unit) is not None)
    spec = config.window or "total"
    raises = tuple(more for override in config.overrides for more in _raises(override))
    return Rule(
        name=config.name,
        match=tuple((key, (value,) if isinstance(value, str) else tuple(value)) for key, value in config.match.items()),
        per=config.per,
        units=units,
        limits=tuple(_limit(config, UNITS[index]) for index in units),
        window=window_of(spec, config.timezone, config.week_start),
        window_name=spec,
        rolling_ns=rolling_seconds(spec) * SECOND,
        blocking=config.action == "block",
        warn_at=tuple(sorted((_fraction(share) for share in _shares(config)), key=lambda f: f[0] / f[1])),
        clamp=config.clamp,
        extend=config.extend,
        proven=config.unbounded == "refuse",
        queue_seconds=config.queue_seconds,
        queue_length=config.queue_length,
        shared_overflow=config.overflow == "shared",
        configured_raises=raises,
        raises=list(raises),
        source=config,
    )


def _shares(config: QuotaConfig) -> set[Decimal]:
    """What is worth an event: what was asked for, and of a rule that refuses nothing that its limit was reached."""
    return {*config.warn_at, Decimal(1)} if config.action == "warn" else set(config.warn_at)


def _limit(config: object, unit: str) -> int:
    value = getattr(config, unit)
    return nanousd(value) if unit == "usd" else int(value)


def _fraction(share: object) -> tuple[int, int]:
    if isinstance(share, int):
        return share, 1
    top, bottom = share.as_integer_ratio()  # type: ignore[attr-defined]
    return int(top), int(bottom)


def _raises(override: object) -> list[Raise]:
    begin = _moment(getattr(override, "from_", None), 0)
    until = _moment(getattr(override, "until", None), FOREVER)
    return [
        Raise(index, _limit(override, unit), begin, until)
        for index, unit in enumerate(UNITS)
        if getattr(override, unit) is not None
    ]


def _moment(value: object, absent: int) -> int:
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return int(moment.timestamp()) * SECOND
    if isinstance(value, date):
        return int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()) * SECOND
    return absent


def dimension(subject: Subject, name: str) -> str:
    """The subject's value of a dimension; empty where it has none."""
    if name.startswith("tag."):
        wanted = name[4:]
        return next((value for key, value in subject.tags if key == wanted), "")
    value: str = getattr(subject, name)
    return value


def glob(pattern: str) -> Callable[[str], bool]:
    """A test for one glob; a plain word is compared."""
    if not any(char in pattern for char in "*?["):
        return lambda value: value == pattern
    match = compile_pattern(translate(pattern)).match
    return lambda value: match(value) is not None
