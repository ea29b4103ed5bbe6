"""Types of configuration values that more than one table uses."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from decimal import Decimal
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator

NANO = 1_000_000_000
MAX_DOLLARS = 1_000_000_000
"""More than any limit or price is; so that nanodollars stay within 63 bits."""
MAX_COUNT = 1 << 60
MAX_WORKERS = 256
"""More than a machine that is one gateway has cores; so that a slip of the pen does not start thousands."""
DIRECT = "direct"
"""No proxy, whatever the environment says."""
_ADDRESS = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^:\s\[\]]+):(\d{1,5})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_TAG = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SQL_NAME = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,62}")
_AT_PORT = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::(.*))?")
_NEVER_NS = 1 << 62
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Table(BaseModel):
    """A table of the configuration: no unknown keys, no silent conversions, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


def _address(value: str) -> str:
    match = _ADDRESS.fullmatch(value)
    if match is None or int(match[1]) > 65535:
        raise ValueError('must be "host:port", like "127.0.0.1:8080"')
    return value


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(
            "must be 1 to 63 letters, digits, dots, dashes or underscores, beginning with a letter or digit"
        )
    return value


def label(value: str) -> str:
    """A team, a workflow, a tag's value. Raises ``ValueError``."""
    if not 1 <= len(value) <= 128 or not value.isprintable() or value != value.strip():
        raise ValueError("must be 1 to 128 printable characters, without a blank at either end")
    return value


def tag_name(value: str) -> str:
    """A tag's name. Raises ``ValueError``: headers carry it, so it is made of what a header's name may hold."""
    if not _TAG.fullmatch(value):
        raise ValueError("must be 1 to 64 lower-case letters, digits, dots, dashes or underscores")
    return value


def glob(value: str) -> str:
    """A name or a pattern of names. Raises ``ValueError``."""
    if not 1 <= len(value) <= 200 or not value.isprintable():
        raise ValueError("must be a name or a pattern with * or ?, of 1 to 200 printable characters")
    opened = value.find("[")
    while opened >= 0:
        closed = value.find("]", opened + (3 if value[opened + 1 : opened + 2] == "!" else 2))
        if closed < 0:
            raise ValueError('is no pattern: "[" is not closed by "]"')
        opened = value.find("[", closed)
    return value


def _sent(value: str) -> str:
    if not value:
        raise ValueError("is empty: leave it out, or write env:NAME")
    if value != value.strip() or not value.isprintable():
        raise ValueError(
            "must be one line of printable characters, without a blank at either end, for a header carries it"
        )
    return value


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - raises for a port that is none
    except ValueError as error:
        raise ValueError("is not a valid address") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError('must begin with http:// or https:// and name a host, like "https://api.example.com"')
    if any(character.isspace() for character in value):
        raise ValueError("must not contain blanks")
    return value


def _postgres(value: str) -> str:
    example = 'like "postgresql://spendgate@db.example.com:5432/spendgate"'
    try:
        parts = urlsplit(value)
        named = [int(port) for one in parts.netloc.rpartition("@")[2].split(",") if (port := _AT_PORT.sub(r"\1", one))]
    except ValueError as error:
        raise ValueError(f"is not a valid address: it must be {example}") from error
    if parts.scheme not in ("postgresql", "postgres") or not all(0 < port < 65536 for port in named):
        raise ValueError(f"must begin with postgresql:// and name a host, a port from 1 to 65535 if any, {example}")
    host = parts.netloc.rpartition("@")[2] or parse_qs(parts.query).get("host")
    if not host or len(parts.path) < 2 or parts.fragment:
        raise ValueError(f"must name a host and a database, {example}")
    if any(character.isspace() for character in value):
        raise ValueError("must not contain blanks: write %20")
    return value


def _sql_name(value: str) -> str:
    if not _SQL_NAME.fullmatch(value):
        raise ValueError("must be 1 to 63 lower-case letters, digits or underscores, not beginning with a digit or pg_")
    return value


def _base_url(value: str) -> str:
    parts = urlsplit(_url(value))
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("must hold no user, no ? and no #: credentials have keys of their own")
    return value


def _proxy(value: str) -> str:
    if value == DIRECT:
        return value
    parts = urlsplit(_url(value))
    if parts.scheme != "http" or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError('must be the address of an HTTP proxy, like "http://proxy.example.com:3128"')
    return value


def _decimal(value: object) -> Decimal:
    number = Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(number, Decimal) or not number.is_finite():
        raise ValueError("must be a number, like 2.5 (without quotes)")
    return number


def _money(value: object) -> Decimal:
    number = _decimal(value)
    if number < 0:
        raise ValueError("must not be below zero")
    if number > MAX_DOLLARS:
        raise ValueError(f"must be at most {MAX_DOLLARS} dollars")
    return number


def _percent(value: object) -> Decimal:
    number = _decimal(value)
    if not -1000 <= number <= 100:
        raise ValueError("must be a percentage of at most 100; below zero is an uplift")
    return number


def _unmetered(value: object) -> tuple[str, ...] | None:
    if value in ("allow", "block"):
        return None if value == "allow" else ()
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) and one.startswith("/") for one in value):
        raise ValueError('must be "allow", "block" or a list of patterns of paths, like ["/v1/files*"]')
    return tuple(map(glob, value))


def _share(value: object) -> Decimal:
    number = _decimal(value)
    if not 0 < number <= 1:
        raise ValueError("must be a share of the limit above 0 and at most 1, like 0.8")
    return number


def _number(value: object) -> float:
    number = _decimal(value)
    if number < 0:
        raise ValueError("must not be below zero")
    return float(number)


def _patience(value: object) -> float:
    number = _decimal(value)
    if not 0 < number <= 86_400:
        raise ValueError("must be above 0 and at most 86400 seconds")
    return float(number)


def _moment(value: object) -> date:
    if not isinstance(value, date):
        raise ValueError("must be a date or a time, like 2026-01-01 or 2026-01-01T12:00:00Z (without quotes)")
    return value


def _time_of_day(value: object) -> time:
    if not isinstance(value, time):
        raise ValueError("must be a time of day, like 16:30:00 (without quotes)")
    return value


def _expiry(value: object) -> date:
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value)
        except ValueError as error:
            raise ValueError("must be a date or a time, like 2026-12-31 or 2026-12-31T12:00:00Z") from error
    return _moment(value)


def split_address(value: str) -> tuple[str, int]:
    """Host and port of an address."""
    host, _, port = value.rpartition(":")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """True where only this machine can connect."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def nanousd(value: Decimal) -> int:
    """Dollars as integer nanodollars; what is finer is dropped."""
    return int(value * NANO)


def moment_ns(moment: date) -> int:
    """Nanoseconds since the epoch: a date begins at 00:00 UTC, a time without a zone is UTC. Past 2116: never."""
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time(), UTC)
    elif moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - _EPOCH
    return min(((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000, _NEVER_NS)


def month_start_ns(at_ns: int) -> int:
    """Nanoseconds since the epoch of the first moment of the month, UTC."""
    at = datetime.fromtimestamp(at_ns // NANO, UTC)
    return moment_ns(datetime(at.year, at.month, 1, tzinfo=UTC))


Address = Annotated[str, AfterValidator(_address)]
Name = Annotated[str, AfterValidator(_name)]
Label = Annotated[str, AfterValidator(label)]
TagName = Annotated[str, AfterValidator(tag_name)]
Glob = Annotated[str, AfterValidator(glob)]
Sent = Annotated[str, AfterValidator(_sent)]
"""A credential that travels in a header."""
Url = Annotated[str, AfterValidator(_url)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
Proxy = Annotated[str, AfterValidator(_proxy)]
PostgresUrl = Annotated[str, AfterValidator(_postgres)]
SqlName = Annotated[str, AfterValidator(_sql_name)]
"""A name that needs no quotes in PostgreSQL."""
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Positive = Annotated[int, Field(gt=0, le=MAX_COUNT)]
Workers = Annotated[int, Field(gt=0, le=MAX_WORKERS)]
Money = Annotated[Decimal, PlainValidator(_money)]
"""Dollars, exact: TOML numbers are read as decimals."""
Percent = Annotated[Decimal, PlainValidator(_percent)]
"""Exact; negative for an uplift."""
Share = Annotated[Decimal, PlainValidator(_share)]
Number = Annotated[float, PlainValidator(_number)]
Seconds = Annotated[float, PlainValidator(_patience)]
Moment = Annotated[date, PlainValidator(_moment)]
"""A TOML date or time."""
TimeOfDay = Annotated[time, PlainValidator(_time_of_day)]
"""A TOML local time, UTC."""
Expiry = Annotated[date, PlainValidator(_expiry)]
"""A ``Moment``, or the same as text."""
Unmetered = Annotated[tuple[str, ...] | None, PlainValidator(_unmetered)]
"""Patterns of paths; None: all."""
Policy = Literal["allow", "block"]
