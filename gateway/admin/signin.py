"""``/ui/oidc``: to the identity provider and back, where ``[server.oidc]`` is set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from gateway.admin.services import SERVICES
from gateway.admin.ui import POLICY, remember

if TYPE_CHECKING:
    from gateway.admin.oidc import SignIn

PENDING = "spendgate_signin"
PENDING_SECONDS = 600
PURPOSE = b"sign-in"
BACK = b"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Signed in</title>
<meta http-equiv="refresh" content="0; url=/ui/"></head><body><p><a href="/ui/">Go on</a></p></body></html>"""
"""Not a redirect: a browser that was led here by another site would not send the new session with it."""


class _Provider:
    """The provider of the configuration that holds."""

    def __init__(self) -> None:
        self._found: SignIn | None = None

    def get(self, request: web.Request) -> SignIn:
        from gateway.admin.oidc import SignIn

        services = request.app[SERVICES]
        config = services.access.oidc
        if config is None:
            raise web.HTTPNotFound()
        if self._found is None or self._found.config != config:
            self._found = SignIn(config, lambda: services.now_ns() / 1e9)
        return self._found


def add(app: web.Application) -> None:
    """Add the routes."""
    provider = _Provider()

    async def begin(request: web.Request) -> web.Response:
        from gateway.admin.oidc import SignInError

        try:
            url, pending = await provider.get(request).begin()
        except SignInError as error:
            return _failed(request, error)
        response = web.Response(status=303, headers={"Location": url})
        sealed = request.app[SERVICES].access.seal(msgspec.json.encode(pending), PENDING_SECONDS, PURPOSE)
        response.set_cookie(
            PENDING, sealed, max_age=PENDING_SECONDS, path="/ui/oidc", httponly=True, samesite="Lax",
            secure=request.secure,
        )  # fmt: skip
        return response

    async def callback(request: web.Request) -> web.Response:
        from gateway.admin.oidc import Pending, SignInError

        services, found = request.app[SERVICES], provider.get(request)
        sealed = services.access.unseal(request.cookies.get(PENDING, ""), PURPOSE)
        try:
            if sealed is None:
                raise SignInError("refused", "this browser began no sign-in, or began it too long ago")
            viewer = await found.finish(msgspec.json.decode(sealed, type=Pending), request.query)
        except SignInError as error:
            return _failed(request, error)
        services.audit(viewer.name, "signed in", role=viewer.role, team=viewer.team or "")
        response = web.Response(body=BACK, content_type="text/html", headers={"Content-Security-Policy": POLICY})
        remember(request, response, services.access.signed_in(viewer))
        response.del_cookie(PENDING, path="/ui/oidc")
        return response

    app.router.add_get("/ui/oidc/login", begin)
    app.router.add_get("/ui/oidc/callback", callback)


def _failed(request: web.Request, error: Any) -> web.Response:
    request.app[SERVICES].audit(request.remote or "", "sign-in refused", why=str(error))
    response = web.Response(status=303, headers={"Location": f"/ui/login?{error.told}"})
    response.del_cookie(PENDING, path="/ui/oidc")
    return response
