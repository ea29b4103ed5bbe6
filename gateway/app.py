"""The one place where parts are put together and where a gateway's life runs: start, reload, drain, stop."""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import uvloop

from gateway import assembly, hangup
from gateway.activation import GRACE_SECONDS, inherited, succeed
from gateway.admin import quotas as quotas_api
from gateway.admin.access import Access
from gateway.admin.services import Services
from gateway.audit import Audit
from gateway.config.schema import Config, ServerConfig
from gateway.credentials.keeper import Keeper
from gateway.desk import QuotaDesk
from gateway.doors import Doors
from gateway.exchange import Exchange
from gateway.exporting import Exports
from gateway.identity.store import SqliteKeyStore
from gateway.ledger.ids import Ids
from gateway.ledger.reader import LedgerReader
from gateway.ledger.recovery import recover
from gateway.ledger.schema import migrate
from gateway.ledger.single import DirectoryLock
from gateway.ledger.sqlite import SqliteLedger
from gateway.log import Log, set_up
from gateway.making import Making
from gateway.metrics import Metrics, QuotaSample
from gateway.metrics.families import VITALS
from gateway.metrics.process import samples
from gateway.offload import Offloader
from gateway.parts import Parts
from gateway.ports import ClientPort
from gateway.quota.engine import Quotas
from gateway.quota.rule import UNITS
from gateway.quota.windows import FOREVER
from gateway.reloading import Fresh, Reloading
from gateway.replica.copying import Replica
from gateway.scrub import secrets_of
from gateway.server.plane import DataPlane
from gateway.server.pool import Pool
from gateway.server.wheel import Wheel
from gateway.tokens.vocabulary import Vocabularies
from gateway.upkeep import Upkeep
from gateway.watch import Watch
from gateway.webhooks import Webhooks
from pricing.money import NANO

SETTLE_SECONDS = 5.0
LAG_SECONDS = 0.1
GC_THRESHOLDS = (50_000, 20, 20)
"""Calls make no reference cycles, so young objects are looked at seldom."""


class App:
    """One gateway process."""

    def __init__(self, config_path: Path, config: Config) -> None:
        self.config_path = config_path
        self.config = config
        self.logs = set_up(self.config.logging.format, self.config.logging.level, secrets_of(self.config))
        self.log = self.logs.logger
        self.catalogue = assembly.catalogue_of(self.config, config_path)
        # before an older gateway is asked to end: it takes a while
        self.vocabularies = assembly.vocabularies_of(self.config)
        self.metrics = Metrics(self.config.metrics.max_series)
        self.spans = assembly.spans_of(self.config, self.log)
        self.watch = Watch(self.metrics, self.log, self.spans)
        self.keeper = Keeper(self.log)
        self.draining = False
        self.recovered = 0
        self.reloading = Reloading(time.time)
        self.audit = Audit(self.log)
        self.access = Access(self.config.server, secrets.token_bytes(32), time.time)
        self._executor = ThreadPoolExecutor(max_workers=2, thread_name_prefix="tokens")
        self._stop = asyncio.Event()

    # life

    async def run(self, ready: Callable[[str], None]) -> None:
        """Serve until a signal says stop. ``ready`` hears where."""
        loop = asyncio.get_running_loop()
        config = self.config
        base = self.config_path.resolve().parent
        path = assembly.ledger_path(config, base)
        lock = DirectoryLock(base / config.server.data_dir, path)
        self.sockets = inherited(os.environ, os.getpid())
        await succeed(lock, config.server.drain_seconds + GRACE_SECONDS if self.sockets else 0.0)
        copy = migrate(path)
        if copy is not None:
            self.log.info("the ledger was brought to the newest schema", extra={"fields": {"copy": str(copy)}})
        self.clock = Wheel(loop)
        found = recover(path, self.clock.now_ns())
        self.recovered = len(found)
        if found:
            self.log.warning("calls left open by a crash were settled", extra={"fields": {"calls": len(found)}})
            for record in found:
                self.metrics.recovered(record)
        self.ledger = SqliteLedger(path, loop, queue_rows=config.ledger.queue_rows, committed=self.metrics.committed)
        self.reader = LedgerReader(path)
        self.pool = Pool(self.clock, loop)
        self._build(loop, path)
        self.ledger.start()
        await self.keeper.start()
        await self.webhooks.start(config.webhooks)
        self.exports = Exports(self.config_path, self.clock.now_ns, self.log)
        await self.exports.start(config.exports)
        assembly.check_replica(config.ledger)
        self.replica = Replica(path, self.log)
        await self.replica.start(config.ledger.replica)
        plane = self.plane = DataPlane(self._exchange, self.clock, loop, assembly.limits_of(config))
        self.doors = Doors(plane, loop, assembly.limits_of(config))
        try:
            self._signals(loop)
            await self._listen()
            measure_lag(loop, self.metrics)
            Upkeep(
                self.ledger, self.reader, self.clock, self.parts.offload, lambda: self.config.ledger.keep_days,
                lambda: self.replica.copied,
            ).start()  # fmt: skip
            gc.collect()
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLDS)
            ready(where(config.server))
            await self._stop.wait()
            await self._shut_down(plane)
        finally:
            await self.doors.close()
            self.keeper.stop()
            await self.webhooks.stop()
            await self.exports.stop()
            self.pool.close()
            await asyncio.to_thread(self.ledger.close)
            await self.replica.finish()
            lock.release()
            if self.spans is not None:
                await asyncio.to_thread(self.spans.close)
            self._executor.shutdown(wait=False, cancel_futures=True)

    def _build(self, loop: asyncio.AbstractEventLoop, path: Path) -> None:
        config, clock = self.config, self.clock
        self.making = Making(self.pool, clock, self.keeper, SqliteKeyStore(path))
        self.desk = QuotaDesk(self.ledger, clock, self.log, lambda: self.parts.quotas)
        self.webhooks = Webhooks(self.ledger, clock, self.log)
        self.desk.told.append(self.webhooks.wake)
        quotas = Quotas(assembly.rules_of(config), max_counters=config.max_quota_counters, observe=self.desk.note)
        self.desk.start(quotas)
        self.parts = self.making.begun(
            config,
            self.catalogue,
            quotas=quotas,
            ledger=self.ledger,
            vocabularies=self.vocabularies,
            observer=self.watch,
            offload=Offloader(loop, self._executor, self.log),
            new_id=Ids(clock.now_ns, secrets.randbits),
            ready=self.not_ready,
            traced=self.spans is not None,
        )

    async def _listen(self) -> None:
        config = self.config.server
        assembly.check_admin(config)
        self._measure()
        services = Services(
            access=self.access,
            not_ready=self.not_ready,
            samples=samples(self.metrics),
            reader=self.reader,
            config=lambda: self.config,
            book=lambda: self.parts.book,
            write=self.ledger.execute,
            reload=self.reload,
            audit=self.audit,
            now_ns=self.clock.now_ns,
            routes=[quotas_api.routes(self.desk, lambda: self.parts.quotas, self.clock.now_ns)],
        )
        await self.doors.open(config, services, self.sockets)

    def _signals(self, loop: asyncio.AbstractEventLoop) -> None:
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stop.set)
        hangup.answer(loop, lambda: loop.create_task(self.reload("SIGHUP")))

    async def _shut_down(self, plane: DataPlane) -> None:
        """Stop accepting, let calls finish, settle what is left."""
        self.draining = True
        self.log.info("draining")
        if not await plane.drain(self.config.server.drain_seconds):
            self.log.warning("calls were broken off at the end of the drain time")
        deadline = self.clock.monotonic() + SETTLE_SECONDS
        while self.ledger.open_count and self.clock.monotonic() < deadline:  # noqa: ASYNC110 - at most a few turns
            await asyncio.sleep(0.02)

    # what is asked of it

    def not_ready(self) -> str:
        """Empty when calls may be served, else why not."""
        if self.draining:
            return "draining: this gateway is about to stop"
        return self.ledger.reason

    def _exchange(self, client: ClientPort) -> Exchange:
        return Exchange(self.parts, client)

    async def reload(self, who: str) -> tuple[list[str], list[str]]:
        """Read the configuration again and swap everything at once: see ``gateway.reloading``."""
        return await self.reloading.reload(self, who)

    async def prepare(self, fresh: Fresh) -> Parts:
        """The parts of another configuration; its rules hold already."""
        old, config = self.parts, fresh.config
        rules = assembly.rules_of(config)
        parts = self.making.renewed(old, config, fresh.catalogue)
        # the last thing that is waited for: from the change of the rules to the new parts nothing comes between
        await self.desk.change_rules(old.quotas, rules, config.max_quota_counters)
        return parts

    async def swap(self, fresh: Fresh, prepared: Parts) -> None:
        """Calls that come from now on have the new parts."""
        config = fresh.config
        self.parts.keys.replaced(prepared.keys)
        self.parts = prepared
        prepared.guard.use(assembly.guard_limits_of(config))
        self.config, self.catalogue = config, fresh.catalogue
        if self.spans is not None:
            self.spans.kinds = assembly.kinds_of(config)
        await self.keeper.start()

    # measuring itself

    def _measure(self) -> None:
        """Where the metrics read the running parts."""
        metrics, loop = self.metrics, asyncio.get_running_loop()
        metrics.quota_samples = lambda: quota_samples(self.parts.quotas, self.clock.now_ns())
        metrics.certificates = lambda: self.doors.ends
        metrics.quota_events = lambda: self.desk.counts
        metrics.webhook_deliveries = lambda: self.webhooks.counts
        metrics.bind(
            {
                **serving(self, loop),
                "spendgate_workers": lambda: 1,
                "spendgate_workers_configured": lambda: 1,
                "spendgate_workers_replaced_total": lambda: 0,
                "spendgate_quota_store_healthy": lambda: 1,
                "spendgate_quota_store_failures_total": lambda: 0,
                "spendgate_config_reload_timestamp_seconds": lambda: self.reloading.at,
                "spendgate_config_reload_failures_total": lambda: self.reloading.failures,
                "spendgate_export_failures_total": lambda: self.exports.failures,
                "spendgate_replica_lag_records": lambda: self.replica.lag,
                "spendgate_replica_failures_total": lambda: self.replica.failures,
                "spendgate_recovered_requests_total": lambda: self.recovered,
                "spendgate_admin_wrong_tokens_total": lambda: self.access.wrong,
            }
        )


def quota_samples(quotas: Quotas, now_ns: int) -> Iterator[QuotaSample]:
    """May be paused between any two: the list of counters is taken at its start."""
    for counter in list(quotas.counters):
        span = counter.current(now_ns)
        rule = counter.rule
        ends = 0.0 if rule.rolling_ns or span.end_ns == FOREVER else span.end_ns / 1e9
        for position, kind in enumerate(rule.units):
            unit = UNITS[kind]
            scale = NANO if unit == "usd" else 1
            yield (
                rule.name,
                counter.bucket,
                unit,
                rule.limit(position, now_ns) / scale,
                counter.used(position) / scale,
                counter.reserved(position) / scale,
                ends,
            )


def measure_lag(loop: asyncio.AbstractEventLoop, metrics: Metrics) -> None:
    """From now on see how late the loop is."""
    expected = loop.time() + LAG_SECONDS

    def measure() -> None:
        metrics.lagged(max(0.0, loop.time() - expected))
        measure_lag(loop, metrics)

    loop.call_at(expected, measure)


class Serves(Protocol):
    """A process that takes calls: what its vitals are read from."""

    ledger: SqliteLedger
    plane: DataPlane
    doors: Doors
    pool: Pool
    parts: Parts
    vocabularies: Vocabularies
    logs: Log
    metrics: Metrics


def serving(one: Serves, loop: asyncio.AbstractEventLoop) -> dict[str, Callable[[], float]]:
    """Vitals of every process that takes calls."""
    ledger, plane, doors = one.ledger, one.plane, one.doors
    return {
        "spendgate_ledger_queue_length": lambda: ledger.queue_length,
        "spendgate_ledger_open_requests": lambda: max(0, ledger.open_count),
        "spendgate_ledger_rows_unfit_total": lambda: ledger.rows_unfit,
        "spendgate_ledger_healthy": lambda: 0 if ledger.reason else 1,
        "spendgate_client_connections": lambda: len(plane.connections),
        "spendgate_known_heads": lambda: len(plane.heads),
        "spendgate_known_answer_heads": one.pool.known_heads,
        "spendgate_vocabularies": lambda: len(one.vocabularies),
        "spendgate_upstream_connections": lambda: one.pool.counts()[0],
        "spendgate_upstream_endpoints_unreachable": one.pool.unreachable,
        "spendgate_waiting_requests": lambda: one.parts.line.length,
        "spendgate_event_loop_tasks": lambda: len(asyncio.all_tasks(loop)),
        "spendgate_log_lines_dropped_total": lambda: one.logs.dropped,
        "spendgate_malformed_requests_total": lambda: plane.malformed,
        "spendgate_refused_connections_total": lambda: doors.refused,
        "spendgate_tls_handshake_failures_total": lambda: doors.failed_handshakes,
        "spendgate_watched_addresses": lambda: len(one.parts.guard.watched),
        "spendgate_slow_clients_total": lambda: doors.slow_clients,
        "spendgate_metrics_series_folded_total": lambda: one.metrics.series_folded,
    }


def vitals(own: dict[str, Callable[[], float]]) -> dict[str, Callable[[], float]]:
    """What ``Metrics.bind`` takes, for a process that has only some of them."""
    return {family.shown: own.get(family.shown, lambda: 0.0) for family in VITALS}


def where(server: ServerConfig) -> str:
    """Where it listens, for a person."""
    data, admin = ("https" if tls is not None else "http" for tls in (server.tls, server.admin_tls))
    return f"{data}://{server.listen}  admin {admin}://{server.admin_listen}"


def run(config_path: Path, config: Config, ready: Callable[[str], None]) -> None:
    """Serve in the foreground until SIGTERM. Raises ``OSError``, ``AlreadyRunning``…"""

    async def main() -> None:
        await App(config_path, config).run(ready)

    uvloop.run(main())
