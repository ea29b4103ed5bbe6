"""``/api/keys``: virtual keys, made, rotated and revoked. A secret is answered once, to whoever made it."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from gateway.admin import query
from gateway.admin.access import team_of
from gateway.admin.problem import problem
from gateway.admin.query import BadQueryError, answer, when
from gateway.admin.services import MADE, SERVICES
from gateway.config.schema import Config
from gateway.config.values import glob, label, moment_ns, tag_name
from gateway.identity.principal import Principal
from gateway.identity.secret import digest, new_secret
from gateway.identity.store import Replacement, insert_key, list_keys, revoke_key, rotate_key
from gateway.ledger.rows import rfc3339

MAX_GLOBS = 100
MAX_TAGS = 32
MAX_LIMIT = 10_000
FIELDS = ("team", "workflow", "tags", "name", "models", "providers", "expires")
ROTATE_FIELDS = ("expires", "old_expires")


def add(app: web.Application) -> None:
    """Add the routes."""
    router = app.router
    router.add_get("/api/keys", all_keys)
    router.add_post("/api/keys", create)
    router.add_post("/api/keys/{id}/rotate", rotate)
    router.add_delete("/api/keys/{id}", revoke)


async def all_keys(request: web.Request) -> web.Response:
    """All keys, those of the configuration included; never a secret or a hash."""
    services = request.app[SERVICES]
    team = team_of(request, request.query.getall("team", []))
    now_ns = services.now_ns()
    made = await services.read(list_keys)
    keys = [*_configured(services.config(), now_ns), *[_made(row, now_ns) for row in made]]
    wanted = {team} if team is not None else set(request.query.getall("team", []))
    limit = query.number(request, "limit", MAX_LIMIT, 1, MAX_LIMIT)
    offset = query.offset_of(request.query.get("cursor"))
    shown, cursor = query.paged([key for key in keys if not wanted or key["team"] in wanted], offset, limit)
    return answer({"keys": shown, "cursor": cursor})


async def create(request: web.Request) -> web.Response:
    """A new key; its secret stands in this answer only."""
    services = request.app[SERVICES]
    said = await query.body(request)
    now_ns = services.now_ns()
    principal, name = _asked(said, now_ns)
    return answer(await _insert(request, principal, name, now_ns), status=201)


async def rotate(request: web.Request) -> web.Response:
    """A new key for the owner of an old one, which goes on to work until it is revoked, or until ``old_expires``."""
    services = request.app[SERVICES]
    key_id, now_ns = request.match_info["id"], services.now_ns()
    said = await query.body(request) if request.can_read_body else {}
    _known(said, ROTATE_FIELDS)
    ends = {name: _future(name, said.get(name), now_ns) for name in ROTATE_FIELDS}
    row = next((row for row in await services.read(list_keys) if row["id"] == key_id), None)
    if row is None or row["revoked_ns"] is not None:
        return _none(key_id, services.config())
    secret = new_secret()
    new = Replacement(_new_id(), digest(secret), ends["expires"])
    if not await services.write(lambda connection: rotate_key(connection, key_id, new, now_ns, ends["old_expires"])):
        return problem(409, "The key has expired", "Make a new key instead.")
    request[MADE] = new.key_id
    return answer({"id": new.key_id, "secret": secret, "replaces": key_id}, status=201)


async def revoke(request: web.Request) -> web.Response:
    """Make a key useless, for good."""
    services = request.app[SERVICES]
    key_id, now_ns = request.match_info["id"], services.now_ns()
    if not await services.write(lambda connection: revoke_key(connection, key_id, now_ns)):
        return _none(key_id, services.config())
    return web.Response(status=204)


async def _insert(request: web.Request, principal: Principal, name: str, now_ns: int) -> dict[str, str]:
    secret = new_secret()

    def insert(connection: sqlite3.Connection) -> None:
        insert_key(connection, principal, digest(secret), name, now_ns)

    await request.app[SERVICES].write(insert)
    request[MADE] = principal.key_id
    return {"id": principal.key_id, "secret": secret}


def _new_id() -> str:
    return "key_" + secrets.token_hex(6)


def _none(key_id: str, config: Config) -> web.Response:
    if any(key.id == key_id for key in config.keys):
        return problem(409, "A key of the configuration", "Change it in the configuration, then reload.")
    return problem(404, "No such key", "No key that works has this id.")


def _asked(said: dict[str, Any], now_ns: int) -> tuple[Principal, str]:
    """The owner that a body describes, and the key's name. Raises ``BadQueryError``."""
    _known(said, FIELDS)
    name = said.get("name") or ""
    if not isinstance(name, str) or len(name) > 128 or not (name.isprintable() or not name):
        raise BadQueryError("name is at most 128 printable characters")
    tags = said.get("tags") or {}
    if not isinstance(tags, dict) or len(tags) > MAX_TAGS:
        raise BadQueryError(f"tags is an object of at most {MAX_TAGS} names and values")
    principal = Principal(
        key_id=_new_id(),
        team=_valid("team", label, said.get("team")),
        workflow=_valid("workflow", label, said.get("workflow")),
        tags=tuple(sorted((_valid("tag", tag_name, k), _valid(f"tag {k}", label, v)) for k, v in tags.items())),
        models=_globs("models", said.get("models")),
        providers=_globs("providers", said.get("providers")),
        expires_ns=_future("expires", said.get("expires"), now_ns),
    )
    return principal, name


def _known(said: dict[str, Any], fields: tuple[str, ...]) -> None:
    unknown = set(said) - set(fields)
    if unknown:
        raise BadQueryError(f'unknown field "{min(unknown)[:40]}": there are {", ".join(fields)}')


def _future(name: str, value: object, now_ns: int) -> int | None:
    if value is not None and not isinstance(value, str):
        raise BadQueryError(f"{name} is a date or a time, as text")
    found = when(value) if value else None
    if found is not None and found <= now_ns:
        raise BadQueryError(f"{name} is in the past")
    return found


def _globs(name: str, value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_GLOBS:
        raise BadQueryError(f"{name} is a list of at most {MAX_GLOBS} globs")
    return tuple(_valid(name, glob, one) for one in value)


def _valid(name: str, check: Callable[[str], str], value: object) -> str:
    if not isinstance(value, str):
        raise BadQueryError(f"{name} is needed, as text")
    try:
        return check(value)
    except ValueError as error:
        raise BadQueryError(f"{name} {error}") from error


def _configured(config: Config, now_ns: int) -> list[dict[str, Any]]:
    return [
        {
            "id": key.id, "name": "", "team": key.team, "workflow": key.workflow, "tags": dict(key.tags),
            "models": key.models, "providers": key.providers, "configured": True, "created_at": None,
            **_state(None, moment_ns(key.expires) if key.expires is not None else None, now_ns),
        }
        for key in config.keys
    ]  # fmt: skip


def _made(row: dict[str, Any], now_ns: int) -> dict[str, Any]:
    return {
        "id": row["id"], "name": row["name"] or "", "team": row["team"], "workflow": row["workflow"],
        "tags": msgspec.json.decode(row["tags"]), "models": msgspec.json.decode(row["models"] or "[]"),
        "providers": msgspec.json.decode(row["providers"] or "[]"), "configured": False,
        "created_at": rfc3339(row["created_ns"]), **_state(row["revoked_ns"], row["expires_ns"], now_ns),
    }  # fmt: skip


def _state(revoked_ns: int | None, expires_ns: int | None, now_ns: int) -> dict[str, str | None]:
    expired = expires_ns is not None and expires_ns <= now_ns
    return {
        "state": "revoked" if revoked_ns is not None else "expired" if expired else "active",
        "expires_at": rfc3339(expires_ns) if expires_ns is not None else None,
        "revoked_at": rfc3339(revoked_ns) if revoked_ns is not None else None,
    }
