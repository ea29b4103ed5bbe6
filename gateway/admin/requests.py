"""``/api/requests``: records of the ledger, one or a page."""

from __future__ import annotations

import sqlite3
from typing import Any

from aiohttp import web

from gateway.admin import query
from gateway.admin.access import team_of
from gateway.admin.problem import problem
from gateway.admin.query import BadQueryError, answer, when
from gateway.admin.services import SERVICES
from gateway.ledger.prompts import prompt_number
from gateway.ledger.record import OUTCOMES
from gateway.ledger.rows import rfc3339

MAX_LIMIT = 1000
MAX_PROMPT_NS = 86_400 * 10**9
"""The longest period in which calls with one prompt are looked for: all of its records are read."""
FILTERS = {"team": "team", "workflow": "workflow", "model": "model", "provider": "provider", "key": "key_id"}


def add(app: web.Application) -> None:
    """Add the routes."""
    app.router.add_get("/api/requests", page)
    app.router.add_get("/api/requests/settled", settled)
    app.router.add_get("/api/requests/{request_id}", one)


async def one(request: web.Request) -> web.Response:
    """One record by its id, with the entries that adjusted it."""
    services = request.app[SERVICES]
    request_id = request.match_info["request_id"]
    record = await services.read(lambda _: services.reader.get(request_id))
    team = team_of(request)
    if record is None or (team is not None and record["team"] != team):
        return problem(404, "No such request", "No record has this id: it may still be open, or be older than is kept.")
    record["adjustments"] = await services.read(lambda connection: _adjustments(connection, request_id))
    return answer(record)


def _adjustments(connection: sqlite3.Connection, request_id: str) -> list[dict[str, Any]]:
    rows = connection.execute(
        "SELECT at_ns, kind, reason, who, delta_nanousd, price FROM adjustments WHERE request_id = ? ORDER BY at_ns",
        (request_id,),
    )
    return [
        {"at": rfc3339(at_ns), "kind": kind, "reason": reason, "who": who, "delta_nanousd": delta, "price": price}
        for at_ns, kind, reason, who, delta, price in rows
    ]


async def page(request: web.Request) -> web.Response:
    """Records, newest first; ``cursor`` of an answer leads to the next page."""
    asked = request.query
    since = when(asked["since"]) if "since" in asked else None
    until = when(asked["until"]) if "until" in asked else None
    if since is not None and until is not None and until <= since:
        raise BadQueryError("until must be after since")
    limit = query.number(request, "limit", 100, 1, MAX_LIMIT)
    filters = _filters(request)
    prompt = _prompt(asked.get("prompt_hash"), since, until)
    services = request.app[SERVICES]
    try:
        records, cursor = await services.read(
            lambda _: services.reader.page(
                since=since, until=until, limit=limit, cursor=asked.get("cursor"), prompt_hash=prompt, **filters
            )
        )
    except ValueError as error:
        raise BadQueryError(str(error)) from error
    return answer({"requests": records, "cursor": cursor})


def _prompt(text: str | None, since: int | None, until: int | None) -> int | None:
    if text is None:
        return None
    if since is None or until is None or not 0 < until - since <= MAX_PROMPT_NS:
        raise BadQueryError("prompt_hash takes since and until, at most a day apart")
    try:
        return prompt_number(text)
    except ValueError as error:
        raise BadQueryError("prompt_hash is that of a record: 16 hexadecimal digits") from error


async def settled(request: web.Request) -> web.Response:
    """Records in the order in which they were settled: those after ``after``, or the newest, and where to go on."""
    limit = query.number(request, "limit", 100, 1, MAX_LIMIT)
    text = request.query.get("after")
    if text is not None and not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadQueryError("after is what an answer gave")
    after = int(text) if text is not None else None
    filters, services = _filters(request), request.app[SERVICES]
    records, last = await services.read(lambda _: services.reader.settled_after(after, limit, filters))
    return answer({"requests": records, "after": last})


def _filters(request: web.Request) -> dict[str, str]:
    """Columns and their values, kept to the viewer's team."""
    asked = request.query
    filters = {column: asked[name] for name, column in FILTERS.items() if name in asked}
    team = team_of(request, asked.getall("team", []))
    if team is not None:
        filters["team"] = team
    if "outcome" in asked:
        if asked["outcome"] not in OUTCOMES:
            raise BadQueryError(f"outcome is one of {', '.join(OUTCOMES)}")
        filters["outcome"] = asked["outcome"]
    return filters
