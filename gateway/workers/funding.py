"""The way from a gateway's fund to the store that gateways share: one conversation after the other, and a heartbeat."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from gateway.quota.fund import AGAIN_NS, Drained, Fund
from gateway.quota.leases import Lender
from gateway.sharing.store import Forgotten, LeaseStore, Lent, Notice, StoreUnavailable, Superseded

BEAT_SECONDS = 0.5
PAUSE_SECONDS = 0.25
"""After a failure."""
NEWS_BEATS = 2
TIDY_BEATS = 240
GIVE_BACK_SECONDS = 2.0


class Funding:
    """``gateway`` names the gateway for as long as its ledger lives, ``process`` this run of it."""

    def __init__(
        self,
        store: LeaseStore,
        gateway: str,
        process: str,
        lender: Lender,
        now_ns: Callable[[], int],
        log: logging.Logger,
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._process = process
        self._lender = lender
        self._now_ns = now_ns
        self._log = log
        self._work = asyncio.Event()
        self._talk = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._since = 0
        self.reason = ""
        """Why the store can't be had now; empty: it can."""
        self.failures = 0
        self.fund = lender.fund = Fund(self._work.set, now_ns, lambda account: lender.is_closed(account.name))

    async def start(self) -> None:
        """Say what this gateway has used before, and take from then on. Raises ``StoreUnavailable``."""
        await self._store.connect(self._noticed)
        await asyncio.sleep(await self._begin())
        if weakness := self._store.weakness:
            self._log.warning(
                "shared quotas may be passed after a crash of their store", extra={"fields": {"why": weakness}}
            )
        self._tasks = [asyncio.create_task(self._serve()), asyncio.create_task(self._beat())]

    async def stop(self) -> None:
        """Give back what nobody uses any more. What is settled, and what calls that were cut off hold, stays taken."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._tasks:
            self.fund.give_all()
            with suppress(StoreUnavailable, Forgotten, TimeoutError):
                await asyncio.wait_for(self._said(self.fund.drained()), GIVE_BACK_SECONDS)
        await self._store.close()

    async def _begin(self) -> float:
        self._since = 0
        try:
            return await self._store.begin(self._gateway, self._process, self.fund.everything())
        except Forgotten as error:
            raise StoreUnavailable("it was emptied, or told by somebody else, at the same time") from error

    async def _serve(self) -> None:
        """Say what there is to say, whenever there is something."""
        while True:
            await self._work.wait()
            self._work.clear()
            try:
                async with self._talk:
                    await self._said(self.fund.drained())
            except StoreUnavailable as error:
                self._failed(error)
            except Forgotten as error:
                await self._again(error)
            else:
                self._well()
                continue
            self._work.set()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _said(self, drained: Drained) -> None:
        """In this order: what goes back is there before it is asked for. Where something is not done the fund knows,
        and the error goes on."""
        store = self._store
        answers: list[Lent] = []
        try:
            if drained.taken:
                await store.set(drained.taken)
            if drained.loosened:
                await store.loosened(drained.loosened)
            for notice in drained.notices:
                await store.say(notice)
            if drained.asks:
                answers = await store.ask(drained.asks)
        except (StoreUnavailable, Forgotten):
            self.fund.failed(drained)
            raise
        self.fund.lent(drained.lacks, answers)

    async def _again(self, error: Forgotten) -> None:
        """The store has lost what it knew: say it again. Not where a newer process speaks for this gateway."""
        if isinstance(error, Superseded):
            self._lender.end()
            self._failed(StoreUnavailable("another gateway with a copy of this ledger shares quotas: stop one of them"))
            return
        if self._lender.settling:
            # soon it is known what was used, and must be said
            return
        try:
            async with self._talk:
                await self._begin()
        except StoreUnavailable as unavailable:
            self._failed(unavailable)
        else:
            self._log.warning("the store of shared quotas had forgotten this gateway, and was told anew")

    async def _beat(self) -> None:
        """That this gateway lives, how it stands, and how the others do."""
        beats = 0
        while True:
            for _ in range(round(BEAT_SECONDS * 1_000_000_000) // AGAIN_NS):
                await asyncio.sleep(AGAIN_NS / 1_000_000_000)
                self.fund.again()
            beats += 1
            try:
                async with self._talk:
                    await self._store.alive(self.fund.stands())
                    if beats % NEWS_BEATS == 0:
                        stands, self._since = await self._store.others(self._since)
                        self._lender.elsewhere(stands)
                    if beats % TIDY_BEATS == 0:
                        await self._store.tidy(self._now_ns())
            except StoreUnavailable as error:
                self._failed(error)
                self.fund.stood_again()
            except Forgotten as error:
                await self._again(error)
            else:
                self._well()

    def _noticed(self, notice: Notice) -> None:
        self._lender.noticed(notice)

    def _failed(self, error: StoreUnavailable) -> None:
        self.failures += 1
        reason = f"the store of shared quotas can't be used: {error}"
        if not self.reason:
            self._log.error(reason)
        self.reason = reason

    def _well(self) -> None:
        if self.reason:
            self._log.warning("the store of shared quotas can be used again")
        self.reason = ""
