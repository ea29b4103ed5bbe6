"""The admin port: metrics, health, the API, the page. Operators call it; applications never do.

An aiohttp application. Reads go to the ledger's own read connections in a thread, so that none delays a call.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from gateway.admin import desk, keys, metrics, models, openapi, query, reload, requests, signin, spend, ui
from gateway.admin.access import SAFE, VIEWER, foreign, lured, may
from gateway.admin.problem import problem, too_many
from gateway.admin.query import BadQueryError, answer
from gateway.admin.services import MADE, SERVICES, Services
from gateway.config.values import is_loopback as is_loopback
from gateway.ledger.faults import is_trouble
from gateway.ledger.store import LedgerUnavailable
from gateway.reports.spend import UnknownDimensionError
from gateway.server.patience import Patient

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
GUARDED = ("/api", "/ui")
MAX_LINE = 1 << 16
"""Bytes of a request's first line: room for filters by names of ten thousand letters."""
NO_CHANGE = ("/ui", "/api/quotas/verify", "/api/reload")
"""Posts that change nothing, or tell the audit themselves."""
_PARAMETERS = openapi.parameters()


def make_app(services: Services) -> web.Application:
    """The application of one gateway. Unless ``services.access`` is open, ``/api`` and ``/ui`` ask for a token."""
    app = web.Application(middlewares=[_headers, _guard, _known], client_max_size=1 << 20)
    app[SERVICES] = services
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/readyz", _readyz)
    app.router.add_get("/api/me", _me)
    for part in (metrics, requests, spend, keys, models, desk, ui, signin, reload, openapi):
        part.add(app)
    for add in services.routes:
        add(app)
    return app


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    access = request.app[SERVICES].access
    guarded = request.path.startswith(GUARDED)
    reason = foreign(request, access) if guarded else lured(request, access)
    if reason:
        return problem(403, "Not from here", reason)
    if not guarded:
        return await handler(request)
    viewer = access.viewer(request)
    if "Authorization" in request.headers:
        waits = access.held_off(request.remote or "", viewer)
        if viewer is None:
            request.app[SERVICES].audit(request.remote or "", "wrong token", path=request.path)
        if waits:
            return too_many(waits)
    if viewer is None:
        if ui.is_public(request.path):
            return await handler(request)
        if request.path.startswith("/ui") and "text/html" in request.headers.get("Accept", ""):
            raise web.HTTPSeeOther("/ui/login")
        refused = problem(401, "A token is needed", "Send the admin token as Authorization: Bearer TOKEN.")
        refused.headers["WWW-Authenticate"] = "Bearer"
        return refused
    reason = "" if ui.is_public(request.path) else may(viewer, request)
    if reason:
        return problem(403, "Not with this token", reason)
    request[VIEWER] = viewer
    response = await handler(request)
    if request.method not in SAFE and not request.path.startswith(NO_CHANGE):
        said = {"method": request.method, "path": request.path, "status": response.status}
        if MADE in request:
            said["made"] = request[MADE]
        request.app[SERVICES].audit(viewer.name, "changed through the API", **said)
    return response


@web.middleware
async def _known(request: web.Request, handler: Handler) -> web.StreamResponse:
    resource = request.match_info.route.resource
    method = "get" if request.method in SAFE else request.method.lower()
    told = _PARAMETERS.get((method, resource.canonical)) if resource is not None else None
    if told is not None:
        query.known(request, told)
    return await handler(request)


@web.middleware
async def _headers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors as problem+json; headers that keep a browser from doing more than it should."""
    response: web.StreamResponse
    began = time.perf_counter()
    connection = request.transport.get_protocol() if request.transport is not None else None
    if isinstance(connection, Patient):
        connection.began()
    try:
        response = await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            response = web.Response(status=error.status, headers={"Location": error.headers.get("Location", "/ui/")})
        else:
            response = problem(error.status, error.reason, f"{request.method} {request.path}: {error.reason}.")
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
    except (BadQueryError, UnknownDimensionError) as error:
        response = problem(400, "Bad query", f"{error}.")
    except Exception as error:  # noqa: BLE001 - whoever asked is told
        response = _failed(request, error)
    finally:
        if isinstance(connection, Patient):
            connection.ended()
    headers = response.headers
    headers["Server-Timing"] = f"total;dur={(time.perf_counter() - began) * 1e3:.1f}"
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Cache-Control", "no-store")
    headers.setdefault("X-Frame-Options", "DENY")
    headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
    headers.setdefault("Referrer-Policy", "no-referrer")
    headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    return response


def _failed(request: web.Request, error: Exception) -> web.Response:
    log = logging.getLogger("spendgate.admin")
    if isinstance(error, LedgerUnavailable) or is_trouble(error):
        log.error("the ledger can't be used", extra={"fields": {"path": request.path, "why": str(error)}})
        return problem(503, "The ledger can't be used", f"{error}.")
    log.error("an admin request failed", exc_info=error, extra={"fields": {"path": request.path}})
    return problem(500, "A defect", "This should have been answered. The gateway's log says more.")


async def _me(request: web.Request) -> web.Response:
    """Who the caller is to this gateway."""
    viewer = request[VIEWER]
    return answer({"name": viewer.name, "role": viewer.role, "team": viewer.team})


async def _healthz(request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def _readyz(request: web.Request) -> web.Response:
    reason = request.app[SERVICES].not_ready()
    if reason:
        body = msgspec.json.encode({"status": "not ready", "reason": reason}).decode()
        return web.Response(status=503, text=body, content_type="application/json")
    return web.json_response({"status": "ready"})
