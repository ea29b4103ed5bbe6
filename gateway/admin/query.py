"""What the routes' queries have in common: periods, filters, limits, cursors, and answers as JSON."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from gateway.admin.services import SERVICES
from gateway.config.values import moment_ns
from gateway.ledger.rows import HOUR_NS

FILTERS = ("team", "workflow", "key", "provider", "model", "outcome")
MAX_FILTERS = 50
NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What reading of JSON raises: RecursionError for what lies too deep."""
T = TypeVar("T")


class BadQueryError(ValueError):
    """A query that can't be answered; its text says why."""


class Period(msgspec.Struct, frozen=True):
    """``[since_ns, until_ns)``."""

    since_ns: int
    until_ns: int


def answer(value: object, status: int = 200) -> web.Response:
    """An answer as JSON."""
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")


def when(text: str) -> int:
    """Nanoseconds since the epoch of a date (00:00 UTC) or an RFC 3339 time, from 1970 on. Raises ``BadQueryError``."""
    try:
        moment = moment_ns(datetime.fromisoformat(text.replace(" ", "+")))
        if moment < 0:
            raise ValueError("before 1970")
        return moment
    except (ValueError, OverflowError) as error:
        raise BadQueryError(f'"{text[:40]}" is no date or time, like 2026-11-01 or 2026-11-01T12:00:00Z') from error


def month_start(now_ns: int) -> int:
    """The first moment of the month, UTC."""
    now = datetime.fromtimestamp(now_ns // 10**9, UTC)
    return int(now.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()) * 10**9


def period(request: web.Request, now_ns: int) -> Period:
    """``since`` (default: the first of this month) and ``until`` (default: all up to now)."""
    query = request.query
    since = when(query["since"]) if "since" in query else month_start(now_ns)
    # the hour that has begun, whole: it is answered from sums
    until = when(query["until"]) if "until" in query else -(-(now_ns + 1) // HOUR_NS) * HOUR_NS
    if since < 0 or until <= since or until > 1 << 62:
        raise BadQueryError("until must be after since")
    return Period(since, until)


def filters(request: web.Request) -> list[tuple[str, str]]:
    """``team=``, ``workflow=``, …, ``tag.NAME=``; each may be given several times."""
    found = [(name, value) for name, value in request.query.items() if name in FILTERS or name.startswith("tag.")]
    if len(found) > MAX_FILTERS:
        raise BadQueryError(f"at most {MAX_FILTERS} filters")
    return found


def known(request: web.Request, parameters: Mapping[str, bool]) -> None:
    """Raises ``BadQueryError`` for a parameter that would be passed over, as a misspelt filter: what is answered would
    be more than was asked for. ``parameters``: by name, whether it may be given several times."""
    for name in request.query:
        told = "tag.NAME" if name.startswith("tag.") else name
        if told not in parameters:
            there = f"there are {', '.join(parameters)}" if parameters else "there are none here"
            raise BadQueryError(f'no parameter "{name[:40]}": {there}')
        if not parameters[told] and len(request.query.getall(name)) > 1:
            raise BadQueryError(f"{name} may be given once")


def number(request: web.Request, name: str, default: int, low: int, high: int) -> int:
    """A whole number of the query."""
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
        raise BadQueryError(f"{name} is a whole number between {low} and {high}")
    return int(text)


def offset_of(cursor: str | None) -> int:
    """The place at which a page begins."""
    return (numbers_of(cursor, 1) or [0])[0]


def numbers_of(cursor: str | None, most: int) -> list[int]:
    """The numbers in a cursor: the place at which a page begins, alone or the first of ``most``. Raises
    ``BadQueryError``."""
    if cursor is None:
        return []
    try:
        parts = base64.urlsafe_b64decode(cursor.encode()).decode().split(".")
    except (ValueError, binascii.Error) as error:
        raise BadQueryError("this cursor was not given by this API") from error
    if len(parts) not in (1, most) or not all(text.isascii() and text.isdigit() and len(text) < 19 for text in parts):
        raise BadQueryError("this cursor was not given by this API")
    return [int(text) for text in parts]


def paged(rows: list[T], offset: int, limit: int, told: str = "") -> tuple[list[T], str | None]:
    """A page of rows, and the cursor of the next, with what else it is to tell."""
    more = offset + limit < len(rows)
    return rows[offset : offset + limit], base64.urlsafe_b64encode(
        f"{offset + limit}{told}".encode()
    ).decode() if more else None


async def within(request: web.Request, reading: Awaitable[T]) -> T:
    """What is read of a request's body, in the time that a body may take: at most a megabyte must be there by then.
    Raises ``HTTPRequestTimeout``, and ``BadQueryError`` for what is not what its fields say."""
    try:
        async with asyncio.timeout(request.app[SERVICES].config().server.limits.body_seconds):
            return await reading
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    except (web.RequestPayloadError, LookupError, ValueError) as error:
        # a coding or a charset that it does not have or that nobody knows, a form without its boundary
        raise BadQueryError("the body can't be read as its Content-Type and Content-Encoding say") from error


async def body(request: web.Request) -> dict[str, Any]:
    """The JSON object that was sent."""
    if request.content_type != "application/json":
        raise BadQueryError("send JSON, with Content-Type: application/json")
    try:
        said = msgspec.json.decode(await within(request, request.read()))
    except NO_JSON as error:
        raise BadQueryError(f"the body is no JSON: {error}") from error
    if not isinstance(said, dict):
        raise BadQueryError("the body is a JSON object")
    return said
