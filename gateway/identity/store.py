"""Virtual keys made at run time, in the ledger's database. Only hashes are kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gateway.identity.principal import Principal
from gateway.identity.ring import StoredKey
from gateway.ledger.connections import connect_reader

_COLUMNS = "id, team, workflow, tags, models, providers, expires_ns"
_STATE = "SELECT (SELECT max(rowid) FROM keys), (SELECT count(*) FROM keys WHERE revoked_ns IS NOT NULL)"
_NEW = f"SELECT rowid, hash, revoked_ns, {_COLUMNS} FROM keys WHERE rowid > ? ORDER BY rowid"  # noqa: S608 - our columns
_ENDING = f"SELECT rowid, hash, revoked_ns, {_COLUMNS} FROM keys WHERE expires_ns IS NOT NULL AND revoked_ns IS NULL"  # noqa: S608
_REVOKED = f"SELECT rowid, hash, revoked_ns, {_COLUMNS} FROM keys WHERE revoked_ns IS NOT NULL"  # noqa: S608


class Replacement(msgspec.Struct, frozen=True):
    """The key that takes another's place."""

    key_id: str
    digest: str
    expires_ns: int | None = None
    """None: when the old one would have ended."""


class SqliteKeyStore:
    """Implements ``gateway.identity.ring.KeyStore``: reads what is new, on a connection of its own.

    A look for changes is two indexed look-ups. Rows are never deleted: a revoked key keeps its row. A key gets another
    end only together with a new key, see ``rotate_key``. One store serves
    ring after ring: a connection that nobody closes stands in a circle with its own cache of statements, and stays.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._newest = 0
        self._revoked = 0

    def everything(self) -> Sequence[StoredKey]:
        """All keys, also those that ``changes`` told of."""
        return self._ask(lambda connection: [_stored(row) for row in connection.execute(_NEW, (0,))])

    def changes(self) -> Sequence[StoredKey]:
        return self._ask(self._changes)

    def _ask(self, question: Callable[[sqlite3.Connection], Sequence[StoredKey]]) -> Sequence[StoredKey]:
        try:
            if self._connection is None:
                self._connection = connect_reader(self._path)
            return question(self._connection)
        except sqlite3.Error:
            # what is known stays; the ledger's own health tells of a file that can't be read
            self.close()
            return ()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _changes(self, connection: sqlite3.Connection) -> Sequence[StoredKey]:
        newest, revoked = connection.execute(_STATE).fetchone()
        newest = newest or 0
        if newest == self._newest and revoked == self._revoked:
            return ()
        found = [_stored(row) for row in connection.execute(_NEW, (self._newest,))]
        if found:
            # with a new key the one that it replaces may have got an end
            found += [_stored(row) for row in connection.execute(_ENDING)]
        if revoked != self._revoked:
            found += [_stored(row) for row in connection.execute(_REVOKED)]
        self._newest, self._revoked = newest, revoked
        return found


def _stored(row: sqlite3.Row) -> StoredKey:
    principal = Principal(
        key_id=row["id"],
        team=row["team"],
        workflow=row["workflow"],
        tags=tuple(sorted(msgspec.json.decode(row["tags"]).items())),
        models=tuple(msgspec.json.decode(row["models"] or "[]")),
        providers=tuple(msgspec.json.decode(row["providers"] or "[]")),
        expires_ns=row["expires_ns"],
    )
    digest = bytes.fromhex(row["hash"].removeprefix("sha256:"))
    return StoredKey(digest, principal, row["revoked_ns"] is not None)


def insert_key(connection: sqlite3.Connection, principal: Principal, digest: str, name: str, now_ns: int) -> None:
    """Keep a new key."""
    row: dict[str, Any] = {
        "id": principal.key_id,
        "hash": digest,
        "name": name,
        "team": principal.team,
        "workflow": principal.workflow,
        "tags": msgspec.json.encode(dict(principal.tags)).decode(),
        "models": msgspec.json.encode(principal.models).decode(),
        "providers": msgspec.json.encode(principal.providers).decode(),
        "created_ns": now_ns,
        "expires_ns": principal.expires_ns,
    }
    columns = ", ".join(row)
    marks = ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO keys ({columns}) VALUES ({marks})", tuple(row.values()))  # noqa: S608


def rotate_key(
    connection: sqlite3.Connection, key_id: str, new: Replacement, now_ns: int, old_ends_ns: int | None = None
) -> bool:
    """Give the owner of a key another one; the old one goes on until it is revoked, ends by itself, or ``old_ends_ns``.
    False where no key that works has this id. To be run in a transaction."""
    made = connection.execute(
        "INSERT INTO keys (id, hash, name, team, workflow, tags, models, providers, created_ns, expires_ns) "
        "SELECT ?, ?, name, team, workflow, tags, models, providers, ?, coalesce(?, expires_ns) FROM keys "
        "WHERE id = ? AND revoked_ns IS NULL AND coalesce(expires_ns, ?) > ?",
        (new.key_id, new.digest, now_ns, new.expires_ns, key_id, now_ns + 1, now_ns),
    )
    if made.rowcount != 1:
        return False
    if old_ends_ns is not None:
        connection.execute(
            "UPDATE keys SET expires_ns = min(coalesce(expires_ns, ?1), ?1) WHERE id = ?2", (old_ends_ns, key_id)
        )
    return True


def revoke_key(connection: sqlite3.Connection, key_id: str, now_ns: int) -> bool:
    """Revoke a key; False where there is no such key, or it is revoked already."""
    done = connection.execute("UPDATE keys SET revoked_ns = ? WHERE id = ? AND revoked_ns IS NULL", (now_ns, key_id))
    return done.rowcount == 1


def list_keys(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """All keys made at run time, without their hashes."""
    rows = connection.execute(f"SELECT {_COLUMNS}, name, created_ns, revoked_ns FROM keys ORDER BY created_ns")  # noqa: S608
    names = [column[0] for column in rows.description]
    return [dict(zip(names, row, strict=True)) for row in rows]
