"""A small identity provider on this machine: discovery, keys, authorization code with PKCE, signed identity tokens.

It signs in whoever comes as ``person``; ``twist`` may spoil what it issues.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey

CLIENT, SECRET = "spendgate", "a-client-secret-of-the-tests-with-32-bytes"


@dataclass
class Identity:
    """``with Identity() as provider``."""

    person: dict[str, Any] = field(default_factory=dict)
    twist: Callable[[dict[str, Any], dict[str, Any]], None] = lambda claims, header: None
    """May change the claims and the header before they are signed."""
    sign: Callable[[dict[str, Any], dict[str, Any]], str] | None = None
    """Signs instead of the provider's own key."""
    others: list[Any] = field(default_factory=list)
    """What it publishes before its own key."""
    asked: list[dict[str, str]] = field(default_factory=list)
    """Queries of the authorization endpoint."""

    def __post_init__(self) -> None:
        self.renew_key()
        self._codes: dict[str, dict[str, str]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.issuer = f"http://localhost:{self._server.server_port}"

    def renew_key(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "use": "sig"})

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def config(self, admin: str) -> str:
        """The gateway's table about this provider."""
        return f"""
[server.oidc]
issuer = "{self.issuer}"
client_id = "{CLIENT}"
client_secret = "{SECRET}"
redirect_url = "{admin}/ui/oidc/callback"

[[server.oidc.roles]]
claim = "groups"
value = "finops"
role = "operate"

[[server.oidc.roles]]
claim = "groups"
value = "search-leads"
team = "search"

[[server.oidc.roles]]
claim = "realm_access.roles"
value = "auditor"
"""

    def authorize(self, query: dict[str, str]) -> str:
        """Where the browser is sent with a code."""
        self.asked.append(query)
        assert query["client_id"] == CLIENT
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        back = {"code": code, "state": query["state"], "iss": self.issuer}
        return f"{query['redirect_uri']}?{urlencode(back)}"

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """The answer of the token endpoint; a code holds once, for whoever began."""
        begun = self._codes.pop(form.get("code", ""), None)
        expected = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if authorization != expected:
            return 401, {"error": "invalid_client"}
        if begun is None or form.get("redirect_uri") != begun["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        if create_s256_code_challenge(form.get("code_verifier", "")) != begun["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "sub": "somebody", "iat": now, "exp": now + 300,
                  "nonce": begun["nonce"], **self.person}  # fmt: skip
        header = {"alg": "RS256", "kid": self.key.kid}
        self.twist(claims, header)
        signed = self.sign(claims, header) if self.sign is not None else jwt.encode(header, claims, self.key)
        return 200, {"access_token": "opaque", "token_type": "Bearer", "id_token": signed}

    def describe(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": self.issuer + "/authorize",
            "token_endpoint": self.issuer + "/token",
            "jwks_uri": self.issuer + "/keys",
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def _handler(provider: Identity) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                if parts.path == "/authorize":
                    to = provider.authorize({name: value[0] for name, value in parse_qs(parts.query).items()})
                    self.send_response(302)
                    self.send_header("Location", to)
                    self.end_headers()
                elif parts.path == "/keys":
                    own = KeySet([provider.key]).as_dict(private=False)["keys"]
                    self.answer(200, {"keys": [*provider.others, *own]})
                else:
                    self.answer(200, provider.describe())

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = {name: value[0] for name, value in parse_qs(body).items()}
                self.answer(*provider.token(form, self.headers.get("Authorization", "")))

            def answer(self, status: int, value: dict[str, Any]) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(value).encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


def unsigned(claims: dict[str, Any], header: dict[str, Any]) -> str:
    """A token with ``alg: none``."""
    parts = [json.dumps({**header, "alg": "none"}), json.dumps(claims)]
    return ".".join(base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts) + "."


def with_secret(claims: dict[str, Any], header: dict[str, Any]) -> str:
    """A token signed with the client's own secret."""
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET), algorithms=["HS256"])


def with_other_key(claims: dict[str, Any], header: dict[str, Any]) -> str:
    """A token that names the provider's key and is signed by another."""
    return jwt.encode(header, claims, RSAKey.generate_key(2048))
