"""Signing in to the page at an identity provider: OpenID Connect's authorization code flow with PKCE.

Sources: OpenID Connect Core 1.0 section 3.1, Discovery 1.0 section 4, RFC 7636 (PKCE), RFC 9207 (``iss``).
What is under way lies in a signed cookie of the browser that began it; only the provider's keys are kept here.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import aiohttp
import msgspec
from authlib.common.errors import AuthlibBaseError
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet

from gateway.admin.access import Viewer
from gateway.config.oidc import OidcConfig

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
"""Signatures that only the provider can make: neither ``none`` nor a shared secret."""
TIMEOUT_SECONDS = 10.0
MAX_BYTES = 1 << 20
KEPT_SECONDS = 600.0
"""How long the provider's addresses and keys are believed."""
LEEWAY_SECONDS = 30
MAX_NAME = 128


class SignInError(Exception):
    """Signing in did not succeed; the text is for the log, ``told`` for the person."""

    def __init__(self, told: str, why: str) -> None:
        super().__init__(why)
        self.told = told


class Pending(msgspec.Struct, frozen=True):
    """A sign-in under way."""

    state: str
    nonce: str
    verifier: str


class SignIn:
    """One identity provider. ``now``: seconds since the epoch."""

    def __init__(self, config: OidcConfig, now: Callable[[], float]) -> None:
        self.config = config
        self._now = now
        self._facts: dict[str, Any] = {}
        self._keys: KeySet | None = None
        self._fetched = 0.0

    async def begin(self) -> tuple[str, Pending]:
        """Where the browser goes, and what must be remembered until it comes back. Raises ``SignInError``."""
        await self._discover()
        pending = Pending(*(secrets.token_urlsafe(32) for _ in range(3)))
        url = prepare_grant_uri(
            self._facts["authorization_endpoint"],
            self.config.client_id,
            "code",
            redirect_uri=self.config.redirect_url,
            scope=" ".join(self.config.scopes),
            state=pending.state,
            nonce=pending.nonce,
            code_challenge=create_s256_code_challenge(pending.verifier),
            code_challenge_method="S256",
        )
        return str(url), pending

    async def finish(self, pending: Pending, query: Mapping[str, str]) -> Viewer:
        """Who signed in, from the provider's answer. Raises ``SignInError``."""
        if not hmac.compare_digest(query.get("state", "").encode(), pending.state.encode()):
            raise SignInError("refused", "the state is not that of this browser's sign-in")
        if query.get("iss", self.config.issuer) != self.config.issuer:
            raise SignInError("refused", "the answer is of another issuer")
        if "code" not in query:
            raise SignInError("refused", f"the provider said {query.get('error', 'nothing')[:100]}")
        await self._discover()
        token = await self._exchange(query["code"], pending.verifier)
        claims = await self._claims(str(token.get("id_token", "")), pending.nonce, token.get("access_token"))
        return viewer_of(claims, self.config)

    async def _exchange(self, code: str, verifier: str) -> dict[str, Any]:
        """The code for tokens."""
        config = self.config
        fields = {"code": code, "code_verifier": verifier, "client_id": config.client_id}
        body = prepare_token_request("authorization_code", redirect_uri=config.redirect_url, **fields)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        url = self._facts["token_endpoint"]
        if config.client_secret is not None:
            offered = self._facts.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
            method = "client_secret_basic" if "client_secret_basic" in offered else "client_secret_post"
            auth = ClientAuth(config.client_id, config.client_secret, method)
            url, headers, body = auth.prepare("POST", url, headers, body)
        return await self._ask("POST", url, headers, body)

    async def _claims(self, token: str, nonce: str, access_token: object) -> dict[str, Any]:
        """The claims of an identity token that is signed by the provider, for this gateway, for this sign-in, now."""
        config = self.config
        try:
            found = jwt.decode(token, await self._signers(token), algorithms=ALGORITHMS)
            options = {"iss": {"essential": True, "value": config.issuer},
                       "aud": {"essential": True, "value": config.client_id}}  # fmt: skip
            params = {"nonce": nonce, "client_id": config.client_id, "access_token": access_token}
            claims = CodeIDToken(found.claims, found.header, options, params)
            claims.validate(now=int(self._now()), leeway=LEEWAY_SECONDS)
        except (JoseError, AuthlibBaseError, ValueError, TypeError, KeyError) as error:
            raise SignInError("refused", f"the identity token is not valid: {type(error).__name__} {error}") from error
        return dict(claims)

    async def _signers(self, token: str) -> KeySet:
        """The provider's keys; fetched again where the token names one that is not known."""
        named = _key_id(token)
        if self._keys is None or (named and named not in {key.kid for key in self._keys.keys}):
            self._keys = keys_of(await self._ask("GET", self._facts["jwks_uri"]))
        return self._keys

    async def _discover(self) -> None:
        """Know the provider's addresses; those that are known are believed for a while."""
        if self._facts and time.monotonic() - self._fetched < KEPT_SECONDS:
            return
        facts = await self._ask("GET", self.config.issuer.rstrip("/") + "/.well-known/openid-configuration")
        needed = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        if facts.get("issuer") != self.config.issuer or any(not isinstance(facts.get(name), str) for name in needed):
            raise SignInError("unreachable", "the provider's description is of another issuer, or lacks an address")
        self._facts, self._keys, self._fetched = facts, None, time.monotonic()

    async def _ask(
        self, method: str, url: str, headers: dict[str, str] | None = None, body: str | None = None
    ) -> dict[str, Any]:
        """A JSON object of the provider. Raises ``SignInError``."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
                session.request(method, url, headers=headers, data=body, allow_redirects=False) as answer,
            ):
                said = await _read(answer)
                if answer.status != 200:
                    raise SignInError("refused" if body else "unreachable", f"{url} answered {answer.status}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SignInError("unreachable", f"{url} does not answer: {error or type(error).__name__}") from error
        try:
            found = msgspec.json.decode(said)
        except msgspec.DecodeError as error:
            raise SignInError("unreachable", f"{url} answered no JSON") from error
        if not isinstance(found, dict):
            raise SignInError("unreachable", f"{url} answered no object")
        return found


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """The body, as far as it is no longer than ``MAX_BYTES``."""
    said = bytearray()
    async for piece in answer.content.iter_chunked(1 << 16):
        said += piece
        if len(said) > MAX_BYTES:
            raise SignInError("unreachable", "the provider's answer is too long")
    return bytes(said)


def keys_of(said: Mapping[str, Any]) -> KeySet:
    """The keys of a set, but for those that nobody here understands: they may serve others (RFC 7517 section 5)."""
    keys: list[Key] = []
    for one in said["keys"]:
        with suppress(JoseError, ValueError, TypeError, KeyError):
            key = JWKRegistry.import_key(one)
            key.ensure_kid()
            keys.append(key)
    return KeySet(keys)


def _key_id(token: str) -> str:
    """The key that a token says it is signed by; empty where it says none."""
    try:
        return str(jws.extract_compact(token.encode()).headers().get("kid", ""))
    except (JoseError, ValueError):
        return ""


def viewer_of(claims: Mapping[str, Any], config: OidcConfig) -> Viewer:
    """Name, role and team of somebody: the first role of the configuration that they have. Raises ``SignInError``."""
    said = str(claims.get(config.name_claim) or claims["sub"])
    name = "".join(one for one in said if one.isprintable())[:MAX_NAME]
    for role in config.roles:
        if role.value in values_of(claims, role.claim):
            return Viewer(name, role.role, role.team)
    raise SignInError("norole", f"{name} has none of the roles of server.oidc.roles")


def values_of(claims: Mapping[str, Any], name: str) -> list[str]:
    """The values of a claim; ``a.b`` looks into an object where there is no claim of that name."""
    found: Any = claims.get(name)
    if found is None and "." in name:
        found = claims
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, list):
        return [str(one) for one in found]
    return [] if found is None else [str(found)]
