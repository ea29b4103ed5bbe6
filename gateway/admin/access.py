"""Who may use ``/api`` and ``/ui``: tokens with roles, browsers' sessions, and what a browser must not be made to do.

Where only this machine can connect and no token is configured, whoever connects may do everything. Elsewhere a token is
needed, as ``Authorization: Bearer TOKEN`` or, for the page, as a session: a signed cookie that scripts can't read.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from math import ceil
from time import monotonic
from typing import Literal
from urllib.parse import SplitResult, urlsplit

import msgspec
from aiohttp import web

from gateway.config.schema import AdminTokenConfig, ServerConfig
from gateway.config.values import is_loopback, split_address
from gateway.identity.guard import Guard, GuardLimits

COOKIE = "spendgate_session"
OIDC = "oidc:"
"""What the session of somebody begins with whom the identity provider knows."""
SESSION_SECONDS = 12 * 3600
WRONG_PER_MINUTE = 60
"""So many wrong tokens a minute one address may send."""
BROWSERS = ("Accept-Language", "Origin", "Sec-Fetch-Mode")
"""Fields that browsers send, and programs seldom do."""
MISNAMED = "The admin port is called by a name that is not this machine's."
SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
TEAM_PATHS = frozenset(
    ("/api/me", "/api/openapi.json", "/api/requests", "/api/spend", "/api/quotas", "/api/keys", "/api/models")
)
"""What a token of one team may read, beside single requests; each of them keeps to that team."""


class Viewer(msgspec.Struct, frozen=True):
    """Somebody who asks."""

    name: str
    role: Literal["read", "operate"]
    team: str | None = None
    """The one team that they may see; None: all."""


VIEWER = web.RequestKey("viewer", Viewer)


class Access:
    """Knows tokens and sessions. Sessions are signed with ``key`` and end with the process that made it."""

    def __init__(
        self, server: ServerConfig, key: bytes, now: Callable[[], float], monotonic: Callable[[], float] = monotonic
    ) -> None:
        self._key = key
        self._now = now
        self._guard = Guard(GuardLimits(unknown_keys_per_minute=WRONG_PER_MINUTE), monotonic)
        self.wrong = 0
        """Tokens that were none."""
        self._local = is_loopback(split_address(server.admin_listen)[0])
        self.renew(server)

    def renew(self, server: ServerConfig) -> None:
        """Other tokens hold from now on; sessions of tokens that are gone, or have another secret, are over."""
        self._viewers: dict[str, tuple[bytes, Viewer]] = {}
        if server.admin_token is not None:
            self._know("admin", server.admin_token, Viewer("admin", "operate"))
        for token in server.admin_tokens:
            self._know(f"token:{token.name}", token.secret, _viewer(token))
        self.oidc = server.oidc
        """The identity provider that people sign in at, if there is one."""
        self._signed_in = sha256(repr(server.oidc).encode()).digest()
        self.open = server.admin_token is None and server.oidc is None and self._local
        """Nobody but this machine can connect, and no token is asked for."""

    def _know(self, name: str, secret: str, viewer: Viewer) -> None:
        self._viewers[name] = (sha256(secret.encode()).digest(), viewer)

    def of_token(self, sent: str) -> tuple[str, Viewer] | None:
        """Whose token it is, with the name under which a session remembers them."""
        # what is no UTF-8 comes as it was sent
        digest = sha256(sent.encode("utf-8", "surrogateescape")).digest()
        found = None
        for name, (known, viewer) in self._viewers.items():
            if hmac.compare_digest(digest, known):
                found = (name, viewer)
        return found

    def held_off(self, remote: str, viewer: Viewer | None) -> int:
        """For how many seconds an address that sent this must wait, because it tried too many tokens; 0: go on."""
        if viewer is None:
            self.wrong += 1
            return ceil(self._guard.unknown(remote))
        return ceil(self._guard.known(remote, viewer.name)) if self._guard.watched else 0

    def viewer(self, request: web.Request) -> Viewer | None:
        """Who asks; None where they must say."""
        sent = request.headers.get("Authorization", "")
        if sent:
            scheme, _, token = sent.partition(" ")
            found = self.of_token((token if scheme.lower() == "bearer" else sent).strip())
            return found[1] if found is not None else None
        cookie = request.cookies.get(COOKIE, "")
        if cookie:
            viewer = self._of_session(cookie)
            if viewer is not None:
                return viewer
        return Viewer("local", "operate") if self.open else None

    def session(self, name: str) -> str:
        """The cookie of a new session."""
        said = f"{name}|{int(self._now()) + SESSION_SECONDS}"
        return f"{said}|{self._sign(said, self._viewers[name][0])}"

    def signed_in(self, viewer: Viewer) -> str:
        """The cookie of a new session of somebody whom the identity provider knows; over when its settings change."""
        return OIDC + self.seal(msgspec.json.encode(viewer), SESSION_SECONDS, self._signed_in)

    def seal(self, what: bytes, seconds: int, purpose: bytes) -> str:
        """Text that only this process can have made, for a purpose and so many seconds; not hidden from its holder."""
        said = f"{urlsafe_b64encode(what).decode()}|{int(self._now()) + seconds}"
        return f"{said}|{self._sign(said, purpose)}"

    def unseal(self, text: str, purpose: bytes) -> bytes | None:
        """What was sealed; None where it is not of this process, for something else, or too old."""
        said, _, signature = text.rpartition("|")
        if not hmac.compare_digest(signature.encode(), self._sign(said, purpose).encode()):
            return None
        what, _, until = said.rpartition("|")
        return urlsafe_b64decode(what) if self._now() < int(until) else None

    def _of_session(self, cookie: str) -> Viewer | None:
        if cookie.startswith(OIDC):
            found = self.unseal(cookie.removeprefix(OIDC), self._signed_in) if self.oidc is not None else None
            return msgspec.json.decode(found, type=Viewer) if found is not None else None
        said, _, signature = cookie.rpartition("|")
        name, _, until = said.rpartition("|")
        known = self._viewers.get(name)
        if known is None or not hmac.compare_digest(signature.encode(), self._sign(said, known[0]).encode()):
            return None
        return known[1] if self._now() < int(until) else None

    def _sign(self, said: str, token: bytes) -> str:
        """With the token's digest: another secret ends the sessions of the one before."""
        return hmac.new(self._key, said.encode() + token, sha256).hexdigest()


def _viewer(token: AdminTokenConfig) -> Viewer:
    return Viewer(token.name, token.role, token.team)


def foreign(request: web.Request, access: Access) -> str:
    """Why a browser was led here by another site's page; empty where it was not.

    Programs send neither ``Origin`` nor ``Sec-Fetch-Site``; browsers do, and a page can't change them. Where no token
    is needed, the name by which the port is called must be this machine's: a foreign name may have been pointed here.
    """
    host = request.headers.get("Host", "")
    if _misnamed(host, access):
        return MISNAMED
    if request.method in SAFE:
        return ""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return "Another site's page can't change anything here."
    origin = request.headers.get("Origin")
    if origin is not None and _split(origin).netloc != host:
        return "Another site's page can't change anything here."
    return ""


def lured(request: web.Request, access: Access) -> str:
    """Why a browser may not read what needs no token, as metrics; empty where it may, and for programs: a scraper may
    call by any name, as behind a proxy.

    A page whose own name was pointed at this machine reads all that is answered here. Over plain HTTP its browser tells
    nothing of the page, but what languages its user reads: no page can take that away.
    """
    headers = request.headers
    browses = "Mozilla/" in headers.get("User-Agent", "") or any(name in headers for name in BROWSERS)
    return MISNAMED if browses and _misnamed(headers.get("Host", ""), access) else ""


def _misnamed(host: str, access: Access) -> bool:
    return access.open and not is_loopback(_split(f"//{host}").hostname or "")


def _split(address: str) -> SplitResult:
    """The parts of an address; none where it is no address."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def may(viewer: Viewer, request: web.Request) -> str:
    """Why a viewer may not do this; empty where they may."""
    if request.method not in SAFE and viewer.role != "operate":
        return "This token may read, not change."
    path = request.path
    narrow = viewer.team is not None and path.startswith("/api")
    if narrow and path not in TEAM_PATHS and not path.startswith("/api/requests/"):
        return f"This token may see what concerns team {viewer.team} only."
    return ""


def team_of(request: web.Request, asked: Sequence[str] = ()) -> str | None:
    """The one team that the request may see; None: all. Raises 403 where it asks for another."""
    team = request[VIEWER].team if VIEWER in request else None
    if team is not None and any(other != team for other in asked):
        raise web.HTTPForbidden(reason="This token may see its own team only")
    return team
