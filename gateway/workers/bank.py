"""What the supervisor does about quotas: it lends to the workers, and settles with the ledger what they leave."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.desk import QuotaDesk
from gateway.quota.changes import changed_rules
from gateway.quota.engine import Quotas
from gateway.quota.grants import raises_of
from gateway.quota.leases import Lender
from gateway.quota.overview import show
from gateway.quota.replay import MANY, Difference
from gateway.quota.rule import Rule
from gateway.quota.settled import Photo, Rows, Settled, compared, settled
from gateway.quota.shared import identity
from gateway.quota.slices import Stand
from gateway.quota.terms import Observe, Shortage
from gateway.workers.crew import Crew
from gateway.workers.hand import Hand
from gateway.workers.words import Claim, FromWorker, Gave, Gives, Refused

PHOTO_SECONDS = 30.0
AGAIN_SECONDS = 0.5
NEWS_SECONDS = 0.02
"""So long after the ledger was read, who has begun to write it meanwhile is known."""


class Bank:
    """``quotas`` shows how all counters stand; ``observe`` hears of their events."""

    def __init__(self, path: Path, crew: Crew, now_ns: Callable[[], int], observe: Observe) -> None:
        self._path = path
        self._crew = crew
        self._now_ns = now_ns
        self._observe = observe
        self._settling = asyncio.Lock()
        self._gone: set[int] = set()
        """Workers whose slices have not come back."""
        self.quotas = Quotas(())
        self.lender = Lender(crew.say, 0, now_ns)

    def use(self, rules: Sequence[Rule], max_counters: int) -> None:
        """These rules hold; ``settle`` lets what is new of them lend."""
        self.quotas = Quotas(rules, max_counters=MANY, observe=self._observe)
        self.lender.bound(max_counters)
        self.lender.use({identity(rule): rule for rule in rules})
        self.lender.touched.update(self.lender.accounts.values())

    # the workers

    def joined(self, hand: Hand) -> None:
        self.lender.join(hand.slot)

    def left(self, hand: Hand) -> None:
        self._gone.add(hand.slot)
        self.lender.leave(hand.slot)

    def stand(self, hand: Hand, stands: list[Stand]) -> None:
        self.lender.stand(hand.slot, stands)

    def heard(self, hand: Hand, message: FromWorker) -> None:
        """What a worker says of quotas."""
        match message:
            case Claim(number=number, wants=wants):
                self.lender.claim(hand.slot, number, wants)
            case Gives(backs=backs, stands=stands):
                self.lender.back(hand.slot, backs)
                self.lender.stand(hand.slot, stands)
            case Gave(rule=rule, bucket=bucket):
                self.lender.gave(hand.slot, rule, bucket)
            case Refused():
                self._refused(message)

    def _refused(self, told: Refused) -> None:
        rule = next((rule for rule in self.quotas.rules if rule.name == told.quota), None)
        if rule is not None:
            short = Shortage(
                quota=told.quota,
                bucket=told.bucket,
                unit=told.unit,
                limit=told.limit,
                used=told.used,
                reserved=told.reserved,
                wanted=told.wanted,
                resets_ns=None,
                hopeless=told.hopeless,
                least=told.least,
                clamp=False,
                extend=False,
                rule=rule,
            )
            self.show()
            self.quotas.refused(short, self._now_ns())

    def show(self) -> None:
        """Bring ``quotas`` up to date with what is known here."""
        show(self.quotas, self.lender, self._now_ns())

    # settling with the ledger

    async def settle(self, gone: set[int]) -> None:
        """What is settled and no worker counts as its own is the lender's; what workers that are gone held comes
        back."""
        async with self._settling:
            self._gone |= gone
            found = await self._read()
            back, self._gone = self._gone & gone, self._gone - gone
            self.lender.settled(found.windows, found.rows, back)
            self.lender.tidy(self._now_ns())
            self.lender.open()
        self.show()

    async def _read(self) -> Settled:
        """The ledger less what the workers count, as of one moment."""
        while True:
            hands = self._crew.ready
            replies = await asyncio.gather(*(hand.ask("photo", PHOTO_SECONDS) for hand in hands))
            photos: list[Photo] = [reply.photo for reply in replies if reply is not None and reply.photo is not None]
            if len(photos) == len(hands):
                try:
                    found = await asyncio.to_thread(settled, self._path, self.quotas.rules, photos, self._now_ns())
                except sqlite3.Error:
                    await asyncio.sleep(AGAIN_SECONDS)
                    continue
                await asyncio.sleep(NEWS_SECONDS)
                if self._crew.ready == hands:
                    return found
            else:
                await self._end([hand for hand, reply in zip(hands, replies, strict=True) if reply is None])
                await asyncio.sleep(AGAIN_SECONDS)

    async def _end(self, silent: list[Hand]) -> None:
        """Replace those that answer nothing at all: else nobody's slices come back, and no reload begins. One whose
        disk is slow does answer."""
        heard = await asyncio.gather(*(hand.ask("stands") for hand in silent))
        for hand, reply in zip(silent, heard, strict=True):
            if reply is None:
                hand.kill()

    async def verify(self) -> list[Difference]:
        """Compare what is taken for settled with the ledger, exactly, while calls go on."""
        async with self._settling:
            true = await self._read()
            known: Rows = {
                (name, bucket, start): list(share.base)
                for (name, bucket), account in self.lender.accounts.items()
                for start, share in account.shares.items()
            }
            return compared(known, true, self.quotas.rules)

    async def change(self, rules: Sequence[Rule], max_counters: int, desk: QuotaDesk, text: str) -> None:
        """Let another configuration, with other rules, hold in all workers. One that can't take it is replaced by one
        that does."""
        async with self._settling:
            events = list(changed_rules(self.quotas.rules, rules, self._now_ns()))
            old = {identity(rule): rule for rule in self.quotas.rules}
            self.lender.use({**old, **{identity(rule): rule for rule in rules}})
            self._crew.text = text
            for hand in [hand for hand in self._crew.hands.values() if not hand.ready]:
                # it may have been told the old one
                hand.kill()
            for hand, reply in await self._crew.ask("reload", PHOTO_SECONDS, text):
                if reply is None or reply.wrong:
                    hand.kill()
            self.use(rules, max_counters)
        self.quotas.grant(raises_of(desk.grants))
        desk.recall(self.quotas)
        await self.settle(set())
        for event in events:
            desk.note(event)
