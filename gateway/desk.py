"""The quotas' desk: what a gateway does about quotas beside the request path.

Events are written to the ledger first, then told to the log, the metrics and whoever waits for them; grants that
another process wrote are noticed; counters are compared with the ledger.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from gateway.ledger import keeping, releases
from gateway.ledger.rows import GROUP_COLUMNS
from gateway.ledger.sqlite import SqliteLedger
from gateway.ledger.store import LedgerUnavailable
from gateway.ledger.view import SqliteView
from gateway.ports import Clock
from gateway.quota import journal
from gateway.quota.changes import changed_rules
from gateway.quota.engine import Amounts, Quotas, Subject
from gateway.quota.grants import Grant, GrantWatch, end_grant, insert_grant, raises_of
from gateway.quota.reload import RuleChange
from gateway.quota.replay import Difference, differences, load, photo
from gateway.quota.rule import Rule
from gateway.quota.terms import Event

LOOK_SECONDS = 1.0
MAX_COUNTS = 10_000
"""Pairs of quota and kind that the counter of events tells apart."""


class QuotaDesk:
    """``quotas`` answers the quotas that hold now; ``told`` hears of each event once it is durable."""

    def __init__(self, ledger: SqliteLedger, clock: Clock, log: logging.Logger, quotas: Callable[[], Quotas]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._log = log
        self._quotas = quotas
        self._view = SqliteView(ledger.path)
        self._grants = GrantWatch(ledger.path)
        self._released = 0
        """The newest release that the counters know."""
        self._restored = 0
        """How often something had been put back into the ledger when the counters were loaded."""
        self._changing = asyncio.Lock()
        self._counting: asyncio.Task[None] | None = None
        self.grants: list[Grant] = []
        self.counts: dict[tuple[str, str], int] = {}
        """Events by quota and kind."""
        self.told: list[Callable[[], None]] = []

    def start(self, quotas: Quotas) -> None:
        """Before the first call: what was used, what was granted and what was exhausted before."""
        now_ns = self._clock.now_ns()
        connection = sqlite3.connect(self._ledger.path)
        try:
            self._restored = keeping.restored(connection)
            self._released = releases.newest(connection)
            self._load(quotas, now_ns)
        finally:
            connection.close()
        self.recall(quotas)
        self._ledger.reported = lambda: self.look_at_releases(self._quotas(), self._clock.now_ns())
        self.grants = self._grants.changed(now_ns) or []
        quotas.grant(raises_of(self.grants))
        self._clock.after(LOOK_SECONDS, self._look)

    def _load(self, quotas: Quotas, now_ns: int) -> None:
        load(quotas, self._view.up_to(self._released), now_ns)

    def recall(self, quotas: Quotas) -> None:
        """Tell ``quotas`` what was exhausted and has not reopened, and which thresholds were told."""
        now_ns = self._clock.now_ns()
        connection = sqlite3.connect(self._ledger.path)
        try:
            for quota, bucket, unit, wanted in journal.exhausted(connection):
                quotas.notices.was_exhausted(quota, bucket, unit, wanted, now_ns)
            quotas.notices.were_told(journal.thresholds(connection), now_ns)
        finally:
            connection.close()

    async def change_rules(self, quotas: Quotas, rules: Sequence[Rule], max_counters: int) -> None:
        """Let other rules hold, with all that was used and is held under them; nothing changes where that fails."""
        async with self._changing:
            now_ns = self._clock.now_ns()
            events = list(changed_rules(quotas.rules, rules, now_ns))
            await self._change(RuleChange(quotas, rules, max_counters), quotas, now_ns)
        for event in events:
            self.note(event)

    async def _change(self, change: RuleChange, quotas: Quotas, now_ns: int) -> None:
        try:
            if change.new:
                # on the writer: what was settled before this moment is in the ledger then, what comes after is noted
                view = self._view.up_to(self._released)
                await self._ledger.execute(lambda _: change.load(view, now_ns))
        except BaseException:
            change.abandon()
            raise
        change.take_effect(self._clock.now_ns())
        quotas.grant(raises_of(self.grants))
        self.recall(quotas)

    def note(self, event: Event) -> None:
        """Write an event down; then tell of it."""
        self._ledger.run(
            lambda connection: journal.write(connection, event), lambda kept, error: self._noted(event, kept, error)
        )

    def _noted(self, event: Event, kept: journal.Kept | None, error: Exception | None) -> None:
        if kept is None and error is None:
            return
        # in dollars, as ledger and webhooks say it
        said = kept if kept is not None else event
        fields = {"quota": said.quota, "bucket": said.bucket, "unit": said.unit, "limit": said.limit}
        fields |= {"used": said.used, "detail": said.detail, "who": said.who}
        self._log.warning(f"quota {event.kind}", extra={"fields": {k: v for k, v in fields.items() if v != ""}})
        key = (event.quota, event.kind)
        if key in self.counts or len(self.counts) < MAX_COUNTS:
            self.counts[key] = self.counts.get(key, 0) + 1
        for tell in self.told:
            tell()

    def _look(self) -> None:
        now_ns = self._clock.now_ns()
        quotas = self._quotas()
        self.look_at_grants(quotas, now_ns)
        self.look_at_releases(quotas, now_ns)
        self.look_at_restores()
        quotas.look(now_ns)
        self._clock.after(LOOK_SECONDS, self._look)

    def look_at_grants(self, quotas: Quotas, now_ns: int) -> None:
        """Take up grants that were written or ended since the last look."""
        found = self._grants.changed(now_ns)
        if found is None:
            return
        known = {grant.id for grant in self.grants}
        self.grants = found
        quotas.grant(raises_of(found))
        for grant in found:
            if grant.id not in known:
                self.note(_granted(grant))

    def look_at_restores(self) -> None:
        """Count anew where something was put back into the ledger since the last look."""
        found = self._grants.restored()
        if found is None or found == self._restored or (self._counting is not None and not self._counting.done()):
            return
        self._counting = asyncio.ensure_future(self._count_again(found))

    async def _count_again(self, restored: int) -> None:
        """Take all that the ledger holds for used; tried again at the next look where that fails."""
        with suppress(LedgerUnavailable, sqlite3.Error):
            async with self._changing:
                quotas, now_ns = self._quotas(), self._clock.now_ns()
                self._released = await self._ledger.execute(releases.newest)
                change = RuleChange(quotas, quotas.rules, quotas.counters.most, anew=True)
                await self._change(change, quotas, now_ns)
            self._restored = restored
            self._log.warning("the quotas were counted anew: calls were put back into the ledger")

    def look_at_releases(self, quotas: Quotas, now_ns: int) -> None:
        """Take up what a statement gave back since the last look. A ledger that can't be read changes nothing."""
        found = self._grants.released_after(self._released)
        if found and self._grants.restored() != self._restored:
            # they may be of calls that are not counted yet
            return
        for number, one in found:
            of = dict(zip(GROUP_COLUMNS, one.group, strict=True))
            tags = tuple(sorted(msgspec.json.decode(of["tags"]).items()))
            subject = Subject(of["team"], of["workflow"], of["key_id"], of["provider"], of["model_requested"], tags)
            quotas.give_back(subject, one.started_ns, Amounts(one.nanousd, one.input_tokens, one.output_tokens), now_ns)
            self._released = number

    async def grant(self, grant: Grant) -> Grant:
        """Write a grant and let it hold at once."""
        number: int = await self._ledger.execute(lambda connection: insert_grant(connection, grant))
        self.look_at_grants(self._quotas(), self._clock.now_ns())
        return msgspec.structs.replace(grant, id=number)

    async def end(self, grant_id: int) -> bool:
        """End a grant now; False where none holds."""
        now_ns = self._clock.now_ns()
        done: bool = await self._ledger.execute(lambda connection: end_grant(connection, grant_id, now_ns))
        self.look_at_grants(self._quotas(), self._clock.now_ns())
        return done

    async def verify(self) -> list[Difference]:
        """Compare the live counters with the ledger, exactly, while calls go on.

        The counters are read when the comparison joins the ledger's queue: all that was settled before is written by
        the time it runs, and nothing that is settled later.
        """
        quotas, now_ns = self._quotas(), self._clock.now_ns()
        live, rules, view = photo(quotas, now_ns), quotas.rules, self._view.up_to(self._released)
        found: list[Difference] = await self._ledger.execute(lambda _: differences(live, rules, view, now_ns))
        return found


def _granted(grant: Grant) -> Event:
    return Event(
        kind="granted",
        quota=grant.quota,
        unit=grant.unit,
        limit=grant.amount,
        at_ns=grant.created_ns,
        detail=grant.why,
        who=grant.who,
    )
