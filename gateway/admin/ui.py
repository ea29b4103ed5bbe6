"""``/ui``: the page, served from files of this package, and the login that a browser needs where there are tokens."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from gateway.admin.access import COOKIE, SESSION_SECONDS
from gateway.admin.problem import too_many
from gateway.admin.query import within
from gateway.admin.services import SERVICES

FOLDER = Path(__file__).parent / "page"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
PUBLIC = ("/ui/login", "/ui/logout", "/ui/assets/", "/ui/oidc/", "/favicon.ico")
"""What whoever has no session, or one that only reads, may do: log in and out, and files that hold nothing."""


def add(app: web.Application) -> None:
    """Add the routes."""
    files = {f"/{path.relative_to(FOLDER).as_posix()}": path for path in FOLDER.rglob("*") if path.suffix in TYPES}
    assets = {name: (path.read_bytes(), TYPES[path.suffix]) for name, path in files.items()}

    async def page(request: web.Request) -> web.Response:
        return _file(*assets["/index.html"])

    async def login_page(request: web.Request) -> web.Response:
        body, kind = assets["/login.html"]
        if request.app[SERVICES].access.oidc is not None:
            body = body.replace(b'id="oidc" hidden', b'id="oidc"')
        return _file(body, kind)

    async def asset(request: web.Request) -> web.Response:
        found = assets.get("/" + request.match_info["name"])
        if found is None or found[1] == "text/html":
            raise web.HTTPNotFound()
        return _file(*found)

    async def icon(request: web.Request) -> web.Response:
        """What a browser asks for on its own before a page has named its icon."""
        return _file(*assets["/icon.svg"])

    async def slash(request: web.Request) -> web.Response:
        raise web.HTTPFound("/ui/")

    app.router.add_get("/", slash)
    app.router.add_get("/ui", slash)
    app.router.add_get("/ui/", page)
    app.router.add_get("/ui/login", login_page)
    app.router.add_post("/ui/login", _login)
    app.router.add_post("/ui/logout", _logout)
    app.router.add_get("/ui/assets/{name:.+}", asset)
    app.router.add_get("/favicon.ico", icon)


def is_public(path: str) -> bool:
    """Whether a path of the page is shown without a session."""
    return path.startswith(PUBLIC)


def _file(body: bytes, content_type: str) -> web.Response:
    headers = {
        "Content-Security-Policy": POLICY,
        "Cache-Control": "no-cache",
        # with "no-referrer" a browser sends its own page's forms with Origin: null, as if a stranger's
        "Referrer-Policy": "same-origin",
    }
    return web.Response(body=body, content_type=content_type, charset="utf-8", headers=headers)


async def _login(request: web.Request) -> web.Response:
    """A token for a session."""
    access = request.app[SERVICES].access
    sent = (await within(request, request.post())).get("token", "")
    found = access.of_token(sent.strip()) if isinstance(sent, str) else None
    waits = access.held_off(request.remote or "", found[1] if found is not None else None)
    if found is None:
        request.app[SERVICES].audit(request.remote or "", "wrong token", path=request.path)
    if waits:
        return too_many(waits)
    if found is None:
        raise web.HTTPSeeOther("/ui/login?wrong")
    name, viewer = found
    request.app[SERVICES].audit(viewer.name, "signed in", role=viewer.role, team=viewer.team or "")
    response = web.Response(status=303, headers={"Location": "/ui/"})
    remember(request, response, access.session(name))
    return response


def remember(request: web.Request, response: web.Response, session: str) -> None:
    """Give the browser its session."""
    response.set_cookie(
        COOKIE, session, max_age=SESSION_SECONDS, path="/", httponly=True, samesite="Strict", secure=request.secure
    )


async def _logout(request: web.Request) -> web.Response:
    response = web.Response(status=303, headers={"Location": "/ui/login"})
    response.del_cookie(COOKIE, path="/")
    return response
