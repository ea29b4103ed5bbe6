"""Which gateway this is, among several that write to one place: a random id, made once and kept in the ledger's file.

All processes of one gateway have one ledger, and so one id. A copy of the file has the id of the original.
"""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import closing
from pathlib import Path

from gateway.ledger.connections import connect, connect_reader

FACT = "gateway_id"
_BYTES = 8
_FIND = "SELECT value FROM facts WHERE name = ?"
_MAKE = "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING"


def gateway_id(ledger: Path | sqlite3.Connection) -> str:
    """16 hex digits. They are made where the ledger has none yet: whoever asks at the same time gets the same ones.

    The ledger has the newest schema. A connection may write; within a transaction of its own the id is durable with
    that. Raises ``sqlite3.Error``.
    """
    if isinstance(ledger, sqlite3.Connection):
        return _of(ledger)
    with closing(connect_reader(ledger)) as reader:
        found = _known(reader)
    if found:
        return found
    with closing(connect(ledger, create=False)) as writer:
        return _of(writer)


def _of(connection: sqlite3.Connection) -> str:
    found = _known(connection)
    if not found:
        # somebody else's may have come first: then it is that one
        connection.execute(_MAKE, (FACT, secrets.token_hex(_BYTES)))
        found = _known(connection)
    return found


def _known(connection: sqlite3.Connection) -> str:
    row = connection.execute(_FIND, (FACT,)).fetchone()
    return row[0] if row is not None else ""
