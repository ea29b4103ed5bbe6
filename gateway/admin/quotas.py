"""``/api/quotas``: how every quota stands, what a call would be told, raises, proof, events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from gateway.admin.access import team_of
from gateway.admin.problem import problem
from gateway.admin.query import NO_JSON, within
from gateway.admin.services import MADE, SERVICES
from gateway.desk import QuotaDesk
from gateway.quota import journal
from gateway.quota.asking import asked, grant_of, granted
from gateway.quota.engine import Quotas
from gateway.quota.explain import explain, shown, standings
from gateway.quota.rule import UNITS, Subject

MAX_EVENTS = 1000
DIMENSIONS = ("team", "workflow", "key", "provider", "model")


class QuotaRoutes:
    """The routes of one gateway's quotas."""

    def __init__(self, desk: QuotaDesk, quotas: Callable[[], Quotas], now_ns: Callable[[], int]) -> None:
        self._desk = desk
        self._quotas = quotas
        self._now_ns = now_ns

    def add(self, app: web.Application) -> None:
        router = app.router
        router.add_get("/api/quotas", self.all)
        router.add_get("/api/quotas/explain", self.explain)
        router.add_post("/api/quotas/verify", self.verify)
        router.add_get("/api/quotas/grants", self.grants)
        router.add_post("/api/quotas/{quota}/grants", self.grant)
        router.add_delete("/api/quotas/grants/{id}", self.end)
        router.add_get("/api/events", self.events)

    async def all(self, request: web.Request) -> web.Response:
        rows = standings(self._quotas(), self._now_ns())
        team = team_of(request)
        if team is not None:
            own = {rule.name for rule in self._quotas().rules if dict(rule.match).get("team") == (team,)}
            rows = [row for row in rows if row["quota"] in own]
        wanted = request.query.get("quota")
        rules = {rule.name: rule for rule in self._quotas().rules}
        return _json(
            {
                "quotas": [
                    {**row, "match": dict(rules[row["quota"]].match), "per": rules[row["quota"]].per}
                    for row in rows
                    if wanted is None or row["quota"] == wanted
                ]
            }
        )

    async def explain(self, request: web.Request) -> web.Response:
        query = request.query
        try:
            amounts = asked(dict(query))
        except ValueError as error:
            return problem(400, "Bad query", str(error))
        tags = tuple(sorted((key[4:], value) for key, value in query.items() if key.startswith("tag.")))
        team, workflow, key, provider, model = (query.get(name, "") for name in DIMENSIONS)
        subject = Subject(team, workflow, key, provider, model, tags)
        return _json(explain(self._quotas(), subject, amounts, self._now_ns()))

    async def verify(self, request: web.Request) -> web.Response:
        found = await self._desk.verify()
        rows = [
            {
                "quota": each.quota,
                "bucket": each.bucket,
                "unit": each.unit,
                "counted": shown(UNITS.index(each.unit), each.counted),
                "ledger": shown(UNITS.index(each.unit), each.ledger),
            }
            for each in found
        ]
        return _json({"counters": len(self._quotas().counters), "differences": rows})

    async def grants(self, request: web.Request) -> web.Response:
        return _json({"grants": [granted(grant) for grant in self._desk.grants]})

    async def grant(self, request: web.Request) -> web.Response:
        quota = request.match_info["quota"]
        rules = {rule.name: rule for rule in self._quotas().rules}
        if quota not in rules:
            return problem(404, "No such quota", f'There is no quota "{quota}".')
        try:
            grant = grant_of(quota, await _body(request), self._now_ns())
        except (ValueError, TypeError) as error:
            return problem(400, "Bad grant", str(error))
        if UNITS.index(grant.unit) not in rules[quota].units:
            return problem(400, "Bad grant", f'Quota "{quota}" has no limit on {grant.unit}.')
        made = granted(await self._desk.grant(grant))
        request[MADE] = str(made["id"])
        return _json(made, status=201)

    async def end(self, request: web.Request) -> web.Response:
        number = request.match_info["id"]
        if not (number.isascii() and number.isdigit() and len(number) < 18 and await self._desk.end(int(number))):
            return problem(404, "No such grant", "No grant with this id holds now.")
        return web.Response(status=204)

    async def events(self, request: web.Request) -> web.Response:
        asked = request.query
        try:
            cursor, limit = int(asked.get("cursor", "0")), int(asked.get("limit", "100"))
            after = int(asked.get("after", cursor))
        except ValueError:
            return problem(400, "Bad query", "after, cursor and limit are numbers.")
        if not (0 <= after < 1 << 62 and 0 <= cursor < 1 << 62 and 1 <= limit <= MAX_EVENTS):
            return problem(400, "Bad query", f"after and cursor are an event's id, limit is 1 to {MAX_EVENTS}.")
        reader = request.app[SERVICES].reader
        found = await asyncio.to_thread(lambda: journal.after(reader.connection(), after, limit))
        return _json({"events": found, "cursor": found[-1].id if found else after})


def routes(
    desk: QuotaDesk, quotas: Callable[[], Quotas], now_ns: Callable[[], int]
) -> Callable[[web.Application], None]:
    """What adds the routes to the admin application."""
    return QuotaRoutes(desk, quotas, now_ns).add


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        said = msgspec.json.decode(await within(request, request.read()))
    except NO_JSON as error:
        raise ValueError(f"the body is no JSON: {error}") from error
    if not isinstance(said, dict):
        raise ValueError("the body is a JSON object")
    return said


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")
