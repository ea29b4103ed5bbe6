"""The admin port: metrics, health, the API. Operators call it; applications never do.

An aiohttp application. Reads go to the ledger's own read connections in a thread, so that none delays a call.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from gateway.admin import requests as requests_api
from gateway.admin.metrics import metrics
from gateway.admin.problem import problem
from gateway.admin.services import SERVICES, Services
from gateway.config.values import is_loopback as is_loopback

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
GUARDED = ("/api", "/ui")


def make_app(services: Services) -> web.Application:
    """The application of one gateway. With a token in ``services``, ``/api`` and ``/ui`` ask for it."""
    app = web.Application(middlewares=[_guard, _headers], client_max_size=1 << 20)
    app[SERVICES] = services
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/readyz", _readyz)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/api/requests", requests_api.page)
    app.router.add_get("/api/requests/{request_id}", requests_api.one)
    for add in services.routes:
        add(app)
    return app


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    token = request.app[SERVICES].token
    if token and request.path.startswith(GUARDED):
        sent = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(sent.encode(), token.encode()):
            answer = problem(401, "A token is needed", "Send the admin token as Authorization: Bearer TOKEN.")
            answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
    return await handler(request)


@web.middleware
async def _headers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors as problem+json; headers that keep a browser from doing more than it should."""
    try:
        response = await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        response = problem(error.status, error.reason, f"{request.method} {request.path}: {error.reason}.")
        for name in ("Allow", "Location"):
            if name in error.headers:
                response.headers[name] = error.headers[name]
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("X-Frame-Options", "DENY")
    response.headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    return response


async def _healthz(request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def _readyz(request: web.Request) -> web.Response:
    reason = request.app[SERVICES].not_ready()
    if reason:
        body = msgspec.json.encode({"status": "not ready", "reason": reason}).decode()
        return web.Response(status=503, text=body, content_type="application/json")
    return web.json_response({"status": "ready"})
