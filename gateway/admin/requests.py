"""``/api/requests``: records of the ledger, one or a page."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec
from aiohttp import web

from gateway.admin.problem import problem
from gateway.admin.services import SERVICES

MAX_LIMIT = 1000
FILTERS = ("team", "workflow", "model")


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


async def one(request: web.Request) -> web.Response:
    """One record by its id."""
    request_id = request.match_info["request_id"]
    record = await asyncio.to_thread(request.app[SERVICES].reader.get, request_id)
    if record is None:
        return problem(404, "No such request", "No record has this id: it may still be open, or be older than is kept.")
    return _json(record)


async def page(request: web.Request) -> web.Response:
    """Records, newest first; ``cursor`` of an answer leads to the next page."""
    query = request.query
    try:
        limit = int(query.get("limit", "100"))
        since = when(query["since"]) if "since" in query else None
        until = when(query["until"]) if "until" in query else None
    except ValueError as error:
        return problem(
            400, "Bad query", f"{error}. Times are RFC 3339 (2026-11-01T00:00:00Z) or dates, limit is a number."
        )
    if not 1 <= limit <= MAX_LIMIT:
        return problem(400, "Bad query", f"limit must be between 1 and {MAX_LIMIT}.")
    filters = {name: query[name] for name in FILTERS if name in query}
    reader = request.app[SERVICES].reader
    try:
        records, cursor = await asyncio.to_thread(
            lambda: reader.page(since=since, until=until, limit=limit, cursor=query.get("cursor"), **filters)
        )
    except ValueError as error:
        return problem(400, "Bad query", str(error))
    return _json({"requests": records, "cursor": cursor})


def when(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time or a date (UTC)."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000
