"""The supervisor: starts the workers, lends them quotas, serves the admin port for all, keeps the ledger's house."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web
from prometheus_client.metrics_core import Metric

from gateway import assembly, hangup
from gateway.activation import GRACE_SECONDS, inherited, succeed
from gateway.admin import quotas as quotas_api
from gateway.admin.access import Access
from gateway.admin.services import Services
from gateway.app import measure_lag, quota_samples, vitals, where
from gateway.audit import Audit
from gateway.config.load import Loaded
from gateway.desk import QuotaDesk
from gateway.doors import Doors
from gateway.exporting import Exports
from gateway.ledger.gateway_id import gateway_id
from gateway.ledger.reader import LedgerReader
from gateway.ledger.recovery import recover
from gateway.ledger.schema import migrate
from gateway.ledger.single import DirectoryLock
from gateway.ledger.sqlite import SqliteLedger
from gateway.ledger.store import LedgerUnavailable
from gateway.ledger.turns import SharedTurns
from gateway.log import set_up
from gateway.metrics import Metrics
from gateway.metrics.merging import Merged
from gateway.metrics.process import samples
from gateway.offload import Offloader
from gateway.quota.engine import Quotas
from gateway.quota.grants import raises_of
from gateway.reloading import Fresh, Reloading
from gateway.replica.copying import Replica
from gateway.scrub import secrets_of
from gateway.server.wheel import Wheel
from gateway.sharing.stores import store_of
from gateway.upkeep import Upkeep
from gateway.webhooks import Webhooks
from gateway.workers.bank import Bank
from gateway.workers.crew import Crew
from gateway.workers.funding import Funding
from gateway.workers.hand import Hand
from gateway.workers.words import FromWorker, Health, Raised, Ready, Reply
from pricing.book import PriceBook

LOCK_SECONDS = 5.0
"""What the workers of a supervisor that was killed need to end."""
LOOK_SECONDS = 1.0
RECOVER_SECONDS = 1.0
PATIENCE_SECONDS = 0.25
TIDY_LOOKS = 60
METRICS_LOOKS = 5
"""Every so many looks the workers' metrics are asked for: what one counted that is killed is kept up to then."""
SCRAPE_SECONDS = 8.0
"""A worker that does not answer by then is shown as it stood before."""


class Supervisor:
    """One gateway of several processes, seen from the one that takes no calls."""

    def __init__(self, config_path: Path, loaded: Loaded) -> None:
        self.config_path = config_path
        self.base = config_path.resolve().parent
        config = self.config = loaded.config
        self._text = loaded.text
        self.logs = set_up(config.logging.format, config.logging.level, secrets_of(config))
        self.log = self.logs.logger
        self.catalogue = assembly.catalogue_of(config, config_path)
        self.book = assembly.book_of(config, self.catalogue)
        self.metrics = Metrics(config.metrics.max_series)
        self.merged = Merged()
        self.audit = Audit(self.log)
        self.access = Access(config.server, secrets.token_bytes(32), time.time)
        self.draining = False
        self.recovered = 0
        self.funding: Funding | None = None
        self.reloading = Reloading(time.time)
        self._stop = asyncio.Event()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="upkeep")

    async def run(self, ready: Callable[[str], None]) -> None:
        """Serve until a signal says stop. ``ready`` hears where."""
        loop = asyncio.get_running_loop()
        config = self.config
        path = self.path = assembly.ledger_path(config, self.base)
        lock = DirectoryLock(self.base / config.server.data_dir, path)
        sockets = inherited(os.environ, os.getpid())
        await succeed(lock, config.server.drain_seconds + GRACE_SECONDS if sockets else LOCK_SECONDS)
        copy = migrate(path)
        if copy is not None:
            self.log.info("the ledger was brought to the newest schema", extra={"fields": {"copy": str(copy)}})
        self.clock = Wheel(loop)
        self._found(recover(path, self.clock.now_ns()))
        turns = SharedTurns(path)
        self.ledger = SqliteLedger(path, loop, queue_rows=config.ledger.queue_rows, turns=turns)
        self.crew = Crew(self.config_path, self._text, self.clock.now_ns, lock.fds, self.log, self._heard, self._ended)
        self.desk = SharedDesk(self.ledger, self.clock, self.log, lambda: self.bank.quotas)
        self.bank = Bank(path, self.crew, self.clock.now_ns, self.desk.note)
        if config.quota_store is not None:
            store = store_of(config.quota_store.url)
            ours = (gateway_id(path), secrets.token_hex(8))
            self.funding = Funding(store, *ours, self.bank.lender, self.clock.now_ns, self.log)
        self.desk.check = self._compared
        self.desk.settle = lambda: self.bank.settle(set())
        self.webhooks = Webhooks(self.ledger, self.clock, self.log)
        self.desk.told.append(self.webhooks.wake)
        self.bank.use(assembly.rules_of(config), config.max_quota_counters)
        self.desk.recall(self.bank.quotas)
        await self.bank.settle(set())
        self.desk.start(self.bank.quotas)
        self._tell_raises(self.bank.quotas)
        self.reader = LedgerReader(path)
        self.ledger.start()
        await self.webhooks.start(config.webhooks)
        self.exports = Exports(self.config_path, self.clock.now_ns, self.log)
        await self.exports.start(config.exports)
        assembly.check_replica(config.ledger)
        self.replica = Replica(path, self.log)
        await self.replica.start(config.ledger.replica)
        self.doors = Doors(None, loop, assembly.limits_of(config))
        self._measure(loop)
        if self.funding is not None:
            await self.funding.start()
        try:
            for name in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(name, self._stop.set)
            hangup.answer(loop, lambda: loop.create_task(self.reload("SIGHUP")))
            assembly.check_admin(config.server)
            await self.doors.open(config.server, self._services(), sockets)
            await self.crew.start(config.server, sockets.get("data", ()))
            offload = Offloader(loop, self._executor, self.log)
            keep_days, copied = lambda: self.config.ledger.keep_days, lambda: self.replica.copied
            Upkeep(self.ledger, self.reader, self.clock, offload, keep_days, copied).start()
            self._wait_no_longer()
            looking = asyncio.create_task(self._look())
            ready(where(config.server))
            await self._stop.wait()
            self.draining = True
            self.log.info("draining")
            looking.cancel()
            await self.crew.drain(self.config.server.drain_seconds)
        finally:
            await self.crew.kill()
            if self.funding is not None:
                await self.funding.stop()
            await self.doors.close()
            await self.webhooks.stop()
            await self.exports.stop()
            await asyncio.to_thread(self.ledger.close)
            await self.replica.finish()
            lock.release()
            self._executor.shutdown(wait=False, cancel_futures=True)

    def _services(self) -> Services:
        return Services(
            access=self.access,
            not_ready=self.not_ready,
            samples=self._samples,
            reader=self.reader,
            config=lambda: self.config,
            book=lambda: self.book,
            write=self.ledger.execute,
            reload=self.reload,
            audit=self.audit,
            now_ns=self.clock.now_ns,
            routes=[
                quotas_api.routes(self.desk, lambda: self.bank.quotas, self.clock.now_ns),
                lambda app: app.middlewares.append(self._fresh),
            ],
        )

    # the workers

    def _heard(self, hand: Hand, message: FromWorker) -> None:
        match message:
            case Ready():
                self.bank.joined(hand)
                hand.say(Raised(raises_of(self.desk.grants)))
                hand.takes_calls()
            case Health(reason=reason):
                hand.reason = reason
            case Reply(stands=stands, metrics=metrics):
                self.bank.stand(hand, stands)
                if metrics:
                    self.merged.heard(hand.slot, metrics)
            case _:
                self.bank.heard(hand, message)

    async def _ended(self, hand: Hand) -> None:
        """Recover what a worker left open, then give back what it held."""
        self.merged.ended(hand.slot)
        self.bank.left(hand)
        turns = SharedTurns(self.path)
        try:
            while True:
                try:
                    found = await asyncio.to_thread(recover, self.path, self.clock.now_ns(), hand.slot, turns)
                except (sqlite3.Error, OSError) as error:
                    self.log.error("a worker's calls are not recovered yet", extra={"fields": {"error": str(error)}})
                    if self.draining:
                        # the next start does it
                        return
                    await asyncio.sleep(RECOVER_SECONDS)
                else:
                    break
        finally:
            turns.close()
        self._found(found)
        if not self.draining:
            await self.bank.settle({hand.slot})

    def _found(self, records: list[Any]) -> None:
        self.recovered += len(records)
        if records:
            self.log.warning("calls left open by a crash were settled", extra={"fields": {"calls": len(records)}})
            for record in records:
                self.metrics.recovered(record)

    async def _look(self) -> None:
        """Once a second: how all counters stand, and what is told of them."""
        looks = 0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            looks += 1
            await self._refresh(metrics=looks % METRICS_LOOKS == 0)
            if looks % TIDY_LOOKS == 0:
                self.bank.lender.tidy(self.clock.now_ns())

    def _wait_no_longer(self) -> None:
        self.bank.lender.overdue(self.clock.now_ns())
        self.clock.after(PATIENCE_SECONDS, self._wait_no_longer)

    async def _refresh(self, *, metrics: bool) -> None:
        await self.crew.ask("metrics" if metrics else "stands", SCRAPE_SECONDS)
        self.bank.show()

    @web.middleware
    async def _fresh(self, request: web.Request, handler: Callable[[web.Request], Awaitable[Any]]) -> Any:
        """What is shown is asked for first."""
        if request.path == "/metrics":
            await self._refresh(metrics=True)
        elif request.path.startswith("/api/quotas"):
            await self._refresh(metrics=False)
        return await handler(request)

    def _tell_raises(self, quotas: Quotas) -> None:
        quotas.on_freed(lambda: self.crew.tell(Raised(raises_of(self.desk.grants))))

    # what is asked of it

    def not_ready(self) -> str:
        """Empty when calls may be served, else why not."""
        if self.draining:
            return "draining: this gateway is about to stop"
        ready = self.crew.ready
        if not ready:
            return "no worker takes calls yet"
        return self._unwritable()

    def _unwritable(self) -> str:
        """Why the ledger can't be written, here or by a worker; empty: it can."""
        return self.ledger.reason or next((hand.reason for hand in self.crew.ready if hand.reason), "")

    async def _compared(self) -> list[Any]:
        # workers can't say what they count while their rows don't reach the disk
        if reason := self._unwritable():
            raise LedgerUnavailable(reason)
        return await self.bank.verify()

    async def reload(self, who: str) -> tuple[list[str], list[str]]:
        """As ``gateway.app.App.reload``, for all workers: nothing changes anywhere where something is wrong."""
        return await self.reloading.reload(self, who)

    async def prepare(self, fresh: Fresh) -> PriceBook:
        """Its prices; the workers' parts are their own."""
        return assembly.book_of(fresh.config, fresh.catalogue)

    async def swap(self, fresh: Fresh, prepared: PriceBook) -> None:
        """The workers are told what it says: they read the file no second time."""
        self.config, self.catalogue, self.book = fresh.config, fresh.catalogue, prepared
        await self.bank.change(assembly.rules_of(fresh.config), fresh.config.max_quota_counters, self.desk, fresh.text)
        self._tell_raises(self.bank.quotas)

    # measuring

    def _samples(self) -> Iterator[Metric]:
        return self.merged.pieces(samples(self.metrics)())

    def _measure(self, loop: asyncio.AbstractEventLoop) -> None:
        metrics, ledger = self.metrics, self.ledger
        measure_lag(loop, metrics)
        metrics.quota_samples = lambda: quota_samples(self.bank.quotas, self.clock.now_ns())
        metrics.certificates = lambda: self.doors.ends
        metrics.quota_events = lambda: self.desk.counts
        metrics.webhook_deliveries = lambda: self.webhooks.counts
        metrics.bind(
            vitals(
                {
                    "spendgate_ledger_queue_length": lambda: ledger.queue_length,
                    "spendgate_ledger_healthy": lambda: 0 if ledger.reason else 1,
                    "spendgate_event_loop_tasks": lambda: len(asyncio.all_tasks(loop)),
                    "spendgate_config_reload_timestamp_seconds": lambda: self.reloading.at,
                    "spendgate_config_reload_failures_total": lambda: self.reloading.failures,
                    "spendgate_export_failures_total": lambda: self.exports.failures,
                    "spendgate_replica_lag_records": lambda: self.replica.lag,
                    "spendgate_replica_failures_total": lambda: self.replica.failures,
                    "spendgate_log_lines_dropped_total": lambda: self.logs.dropped,
                    "spendgate_recovered_requests_total": lambda: self.recovered,
                    "spendgate_refused_connections_total": lambda: self.doors.refused,
                    "spendgate_tls_handshake_failures_total": lambda: self.doors.failed_handshakes,
                    "spendgate_slow_clients_total": lambda: self.doors.slow_clients,
                    "spendgate_admin_wrong_tokens_total": lambda: self.access.wrong,
                    "spendgate_quota_store_healthy": lambda: (
                        0 if self.funding is not None and self.funding.reason else 1
                    ),
                    "spendgate_quota_store_failures_total": lambda: self.funding.failures if self.funding else 0,
                    "spendgate_workers": lambda: len(self.crew.ready),
                    "spendgate_workers_configured": lambda: self.crew.wanted,
                    "spendgate_workers_replaced_total": lambda: self.crew.replaced,
                }
            )
        )


class SharedDesk(QuotaDesk):
    """The desk of all workers' quotas: their counters are compared with the ledger as of one moment."""

    check: Callable[[], Awaitable[list[Any]]]
    settle: Callable[[], Awaitable[None]]
    """Reads the ledger's sums anew."""
    _settling: asyncio.Task[None] | None = None

    def _load(self, quotas: Quotas, now_ns: int) -> None:
        # what was used is the bank's to say
        return

    def look_at_releases(self, quotas: Quotas, now_ns: int) -> None:
        newest = max((number for number, _ in self._grants.released_after(self._released)), default=0)
        if newest:
            self._released = newest
            self._settling = asyncio.ensure_future(self.settle())

    async def _count_again(self, restored: int) -> None:
        await self.settle()
        self._restored = restored

    async def verify(self) -> list[Any]:
        self.look_at_releases(self._quotas(), self._clock.now_ns())
        if self._settling is not None:
            await self._settling
        return await self.check()


def run(config_path: Path, loaded: Loaded, ready: Callable[[str], None]) -> None:
    """Serve in the foreground until SIGTERM. Raises ``OSError``, ``AlreadyRunning``, ``CannotStart``…"""

    async def main() -> None:
        await Supervisor(config_path, loaded).run(ready)

    uvloop.run(main())
