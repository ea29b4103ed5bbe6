"""``[server.oidc]``: signing in to the page at an identity provider."""

from __future__ import annotations

from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from gateway.config.values import Label, Table, is_loopback


class OidcRoleConfig(Table):
    """Who has which role: those whose claim holds the value."""

    claim: str = Field(min_length=1)
    value: str = Field(min_length=1)
    role: Literal["read", "operate"] = "read"
    team: Label | None = None
    """With it, they read what concerns this team, and nothing else."""

    @model_validator(mode="after")
    def _teams_only_read(self) -> Self:
        if self.team is not None and self.role != "read":
            raise ValueError("who sees one team has role read")
        return self


class OidcConfig(Table):
    issuer: str
    client_id: str = Field(min_length=1)
    client_secret: str | None = None
    """None: a public client, which PKCE alone protects."""
    redirect_url: str
    """The page's own ``/ui/oidc/callback``, as browsers reach it."""
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    name_claim: str = "email"
    roles: tuple[OidcRoleConfig, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        for name, url in (("issuer", self.issuer), ("redirect_url", self.redirect_url)):
            parts = urlsplit(url)
            safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
            if not safe or not parts.netloc:
                raise ValueError(f"{name} must be an https:// address")
        if urlsplit(self.redirect_url).path != "/ui/oidc/callback":
            raise ValueError("redirect_url must end with /ui/oidc/callback")
        if "openid" not in self.scopes:
            raise ValueError('scopes must hold "openid"')
        return self
