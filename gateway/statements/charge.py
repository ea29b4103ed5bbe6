"""What a provider says that it charged for or measured, whatever file it said so in."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation

import msgspec

CENT = 10**7
_FIRST_DAY, _LAST_DAY = date(1970, 1, 1), date(2116, 1, 1)
_DATE = re.compile(r"[-@]?(?:20\d{6}|20\d\d-\d\d-\d\d)$")
_GROUPED = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d*)?")
_WORDS = re.compile(r"[a-z]+|\d+")
WEB_SEARCH = "web searches"
"""Stands for a model where searches are charged apart from tokens."""


class StatementError(Exception):
    """A file that can't be read as a statement. One line for a person."""


class Charge(msgspec.Struct, kw_only=True):
    """What one line of a statement says of a day. What it does not say is None, or empty."""

    day: date
    model: str = ""
    project: str = ""
    nanousd: int | None = None
    quantum: int = 0
    """The smallest amount that the line could have told, in nanodollars: what is finer was rounded away."""
    requests: int | None = None
    input_tokens: int | None = None
    """All input, cached parts included."""
    output_tokens: int | None = None


def amount(text: object, unit: int = 10**9, currency: object = None) -> tuple[int, int]:
    """An amount in units of so many nanodollars: nanodollars, and its quantum. Raises ``StatementError``, also for a
    ``currency`` that is told and is another one."""
    if currency and str(currency).strip().upper() != "USD":
        raise StatementError(f'amounts are in "{str(currency)[:10]}": the ledger counts US dollars')
    try:
        value = _decimal(str(text).replace("$", "")) if text not in (None, "") else Decimal()
        if not value.is_finite() or abs(value) > 10**12:
            raise InvalidOperation
    except InvalidOperation as error:
        raise StatementError(f'"{str(text)[:40]}" is no amount') from error
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    quantum = min(CENT, int(Decimal(unit).scaleb(min(0, exponent))))
    return int((value * unit).to_integral_value()), quantum


def _decimal(text: str) -> Decimal:
    """A number whose commas, if it has any, stand between thousands: ``1,50`` would be a hundred times too much. Raises
    ``InvalidOperation``."""
    text = text.strip() or "0"
    if "," in text and not _GROUPED.fullmatch(text):
        raise InvalidOperation
    return Decimal(text.replace(",", ""))


def whole(text: object) -> int:
    """A count; what is empty is 0. Raises ``StatementError``, also for a fraction."""
    try:
        value = _decimal(str(text or 0))
        if value != value.to_integral_value():
            raise InvalidOperation
        return int(value)
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise StatementError(f'"{str(text)[:40]}" is no count') from error


def day_of(text: object) -> date:
    """The day, UTC, of a date, an RFC 3339 time, or seconds since 1970. Raises ``StatementError``, also for a day on
    which no gateway can have run."""
    try:
        if isinstance(text, int | Decimal) or str(text).isdigit():
            moment = datetime.fromtimestamp(int(str(text)), UTC)
        else:
            moment = datetime.fromisoformat(str(text).strip())
        day = (moment.astimezone(UTC) if moment.tzinfo is not None else moment).date()
        if not _FIRST_DAY <= day <= _LAST_DAY:
            raise ValueError("not in the ledger's time")
        return day
    except (ValueError, OverflowError, OSError) as error:
        raise StatementError(f'"{str(text)[:40]}" is no day') from error


def model_key(name: str) -> tuple[str, ...]:
    """Equal for names of one model: with and without its date, as an id or as people write it, whatever the order of
    its words (``claude-3-5-haiku-20241022``, ``Claude Haiku 3.5``)."""
    text = name.strip().lower().rpartition("/")[2]
    text = _DATE.sub("", text.removesuffix("-latest"))
    words = _WORDS.findall(text)
    letters = sorted(word for word in words if not word.isdigit())
    return (*letters, *(word for word in words if word.isdigit()))
