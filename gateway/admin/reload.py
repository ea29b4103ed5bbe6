"""``POST /api/reload``: the configuration is read again and swapped at once, or nothing changes and it says why."""

from __future__ import annotations

from aiohttp import web

from gateway.admin.access import VIEWER
from gateway.admin.problem import problem
from gateway.admin.query import answer
from gateway.admin.services import SERVICES


def add(app: web.Application) -> None:
    """Add the route."""
    app.router.add_post("/api/reload", reload)


async def reload(request: web.Request) -> web.Response:
    """What changed, as keys of the configuration; 422 with every problem where something is wrong."""
    wrong, changed = await request.app[SERVICES].reload(request[VIEWER].name)
    if wrong:
        return problem(422, "Not reloaded: nothing was changed", "\n".join(wrong))
    return answer({"changed": changed})
