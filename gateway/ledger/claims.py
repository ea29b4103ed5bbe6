"""What a provider reports more than once is charged once: answers in the background, results of a batch.

Such a use has an id of the provider's own. The first record with its report takes the claim to it, in the transaction
in which it is written; a later record of the same id costs nothing. Where the id was known before its report, the
record of the call that began it tells whose it is. Where the results of a batch lie in a file the id is the file's,
which a look at the batch tells beside its own. That record may hold an estimate, which the report replaces: an
adjustment takes it back, and a release what quotas held for it.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec

from gateway.ledger.record import Record
from gateway.ledger.releases import COLUMNS
from gateway.ledger.rows import GROUP_COLUMNS, HOUR_NS
from gateway.ledger.view import held
from gateway.wire.usage import Usage

KEPT_NS = 60 * 24 * HOUR_NS
"""OpenAI keeps answers for 30 days, Anthropic the results of a batch for 29."""
MAX_TAKEN = 10_000
_FIND = "SELECT request_id, charged FROM claims WHERE provider = ? AND id = ?"
_CHARGE = (
    "INSERT INTO claims (provider, id, request_id, at_ns, charged) VALUES (?, ?, ?, ?, 1) "
    "ON CONFLICT (provider, id) DO UPDATE SET charged = 1"
)
_EXPECT = "INSERT OR IGNORE INTO claims (provider, id, request_id, at_ns, charged) VALUES (?, ?, ?, ?, 0)"
_ADJUST = (
    "INSERT OR IGNORE INTO adjustments (id, request_id, at_ns, hour, kind, reason, who, delta_nanousd, price, "
    "cost_lines, team, workflow, key_id, provider, model, model_requested, tags, ended_as) "
    "SELECT ?, r.request_id, ?, r.started_ns / ?, 'reported', ?, '', -r.cost_nanousd - coalesce((SELECT "
    "sum(delta_nanousd) FROM adjustments a WHERE a.request_id = r.request_id), 0), '', '[]', r.team, r.workflow, "
    "r.key_id, r.provider, r.model, r.model_requested, r.tags, r.outcome FROM requests r "
    "WHERE r.request_id = ? AND r.usage_source = 'estimated'"
)
_HELD = ", ".join(
    f"{amount} - coalesce((SELECT sum({name}) FROM releases b WHERE b.request_id = requests.request_id), 0)"  # noqa: S608 - ours
    for name, amount in zip(("nanousd", "input_tokens", "output_tokens"), held(), strict=True)
)
_RELEASE = (
    f"INSERT OR IGNORE INTO releases ({', '.join((*COLUMNS, *GROUP_COLUMNS))}) "  # noqa: S608 - our names
    f"SELECT ?, request_id, started_ns, ?, {_HELD}, '', ?, {', '.join(GROUP_COLUMNS)} "
    "FROM requests WHERE request_id = ? AND usage_source = 'estimated'"
)
_OWNER = "SELECT team, workflow, key_id, tags, model_requested FROM requests WHERE request_id = ?"
Task = Callable[[sqlite3.Connection], Any]
Run = Callable[[Task, Callable[[Any, "Exception | None"], None]], None]


class Owner(msgspec.Struct, frozen=True):
    """Whose call began what is reported now."""

    team: str
    workflow: str
    key_id: str
    tags: dict[str, str]
    model_requested: str


def claimed(connection: sqlite3.Connection, record: Record) -> Record:
    """Take the claim of ``record``, or note that its report is expected. Answers the record to be written: without
    usage and cost where another took the claim."""
    key = record.provider, record.claim
    if record.usage_source != "response":
        connection.execute("DELETE FROM claims WHERE at_ns < ?", (record.ended_ns - KEPT_NS,))
        began = connection.execute(_FIND, (record.provider, record.begun_as)).fetchone() if record.begun_as else None
        connection.execute(_EXPECT, (*key, record.request_id if began is None else began[0], record.ended_ns))
        return record
    before = connection.execute(_FIND, key).fetchone()
    if before is not None and before[1]:
        return uncharged(record)
    connection.execute(_CHARGE, (*key, record.request_id, record.ended_ns))
    if before is not None:
        reason = f"its use was reported later: {record.request_id}"
        _take_back(connection, key, record.ended_ns, reason, before[0])
    return record


def outrun(connection: sqlite3.Connection, record: Record) -> None:
    """Take back what an estimate cost that is written after its report was: a stream that broke off when somebody else
    had fetched what it told. Such a record must have been written."""
    key = record.provider, record.claim
    found = connection.execute(_FIND, key).fetchone()
    if found is not None and found[1]:
        reason = f"its use was reported before: {found[0]}"
        _take_back(connection, (*key, record.request_id), record.ended_ns, reason, record.request_id)


def _take_back(connection: sqlite3.Connection, key: tuple[str, ...], at_ns: int, reason: str, request_id: str) -> None:
    mark = "adj_" + hashlib.sha256("|".join(("reported", *key)).encode()).hexdigest()[:26]
    connection.execute(_ADJUST, (mark, at_ns, HOUR_NS, reason, request_id))
    connection.execute(_RELEASE, (mark, at_ns, reason, request_id))


def uncharged(record: Record) -> Record:
    """The record of a call that told again of what was charged before."""
    return msgspec.structs.replace(
        record, usage=Usage(), usage_source="none", cost_nanousd=0, cost_lines=(), price="", priced=True
    )


def _looked_up(connection: sqlite3.Connection, key: tuple[str, str], begun_as: str) -> tuple[bool, Owner | None] | None:
    """Whether it was charged, and who began it; None: nothing is known of it."""
    found = connection.execute(_FIND, key).fetchone()
    charged = found is not None and bool(found[1])
    if found is None and begun_as:
        found = connection.execute(_FIND, (key[0], begun_as)).fetchone()
    if found is None:
        return None
    owner = connection.execute(_OWNER, (found[0],)).fetchone()
    if owner is None:
        return charged, None
    team, workflow, key_id, tags, model = owner
    return charged, Owner(team, workflow, key_id, msgspec.json.decode(tags), model)


class Claims:
    """Whether a use is still to be charged, for one process. ``run`` executes a task on the writer's connection."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._taken: dict[tuple[str, str], None] = {}
        """Claims that were taken here, the newest ones: what the ledger says may be older."""

    def take(self, provider: str, claim: str, begun_as: str, then: Callable[[bool, Owner | None], None]) -> None:
        """``then`` hears whether the use is to be charged by whoever asks now, True once; and who began it, if that is
        known. ``begun_as``: what the claim was called when it began, if not the same."""
        key = provider, claim

        def found(row: Any, error: Exception | None) -> None:
            # where the ledger could not say, it decides when the record is written
            free = key not in self._taken and (row is None or not row[0])
            if free:
                if len(self._taken) >= MAX_TAKEN:
                    del self._taken[next(iter(self._taken))]
                self._taken[key] = None
            then(free, row[1] if row is not None else None)

        self._run(lambda connection: _looked_up(connection, key, begun_as), found)

    def settled(self, record: Record) -> None:
        """A record that has only an estimate leaves its claim to the next one."""
        if record.usage_source != "response":
            self._taken.pop((record.provider, record.claim), None)
