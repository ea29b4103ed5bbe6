"""A worker: one of several processes that take calls on one port. Its supervisor starts it; nobody else does."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import secrets
import signal
import socket
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvloop

from gateway import assembly
from gateway.app import GC_THRESHOLDS, SETTLE_SECONDS, measure_lag, serving, vitals
from gateway.config.catalogue import load_catalogue
from gateway.config.load import parse
from gateway.credentials.keeper import Keeper
from gateway.doors import Doors
from gateway.exchange import Exchange
from gateway.identity.store import SqliteKeyStore
from gateway.ledger.ids import Ids
from gateway.ledger.sqlite import SqliteLedger
from gateway.ledger.store import LedgerUnavailable
from gateway.ledger.turns import SharedTurns
from gateway.ledger.view import ConnectionView
from gateway.log import set_up
from gateway.making import Making
from gateway.metrics import Metrics
from gateway.metrics.merging import Told, told
from gateway.metrics.process import samples
from gateway.offload import Offloader
from gateway.ports import ClientPort
from gateway.quota.settled import Photo
from gateway.quota.shared import SharedQuotas
from gateway.quota.slices import Answer, Back, Freed, Given, Recall, Stand, Want
from gateway.quota.terms import Shortage
from gateway.reloading import WRONG, read
from gateway.scrub import secrets_of
from gateway.server.plane import DataPlane
from gateway.server.pool import Pool
from gateway.server.wheel import Wheel
from gateway.watch import Watch
from gateway.workers.words import (
    Claim,
    Configured,
    Drain,
    Gave,
    Gives,
    Health,
    Question,
    Raised,
    Ready,
    Refused,
    Reply,
    ToWorker,
    Way,
    first_of,
)

HEALTH_SECONDS = 0.25
PAUSE_SECONDS = 0.001
"""Between two pieces of a scrape."""


class Lend:
    """Implements ``gateway.quota.shared.Lending``: the way to the lender, who is the supervisor."""

    def __init__(self, way: Way[ToWorker]) -> None:
        self._way = way
        self._number = 0
        self._claims: dict[int, Callable[[list[Given]], None]] = {}

    def claim(self, wants: list[Want], then: Callable[[list[Given]], None]) -> None:
        self._number += 1
        self._claims[self._number] = then
        self._way.say(Claim(self._number, wants))

    def back(self, backs: list[Back], stands: list[Stand]) -> None:
        self._way.say(Gives(backs, stands))

    def refused(self, short: Shortage) -> None:
        told = (short.quota, short.bucket, short.unit, short.limit, short.used, short.reserved, short.wanted)
        self._way.say(Refused(*told, short.hopeless, short.least))

    def answered(self, answer: Answer) -> None:
        self._claims.pop(answer.number)(answer.given)


class Worker:
    """``slot`` tells its open calls from those of other processes; ``way`` leads to the supervisor."""

    def __init__(
        self, config_path: Path, told: Configured, slot: int, sockets: list[socket.socket], way: socket.socket
    ) -> None:
        self.config_path = config_path
        self.base = config_path.resolve().parent
        self.slot = slot
        self._since_ns = told.now_ns
        self.config = parse(told.text, str(config_path), os.environ, config_path.parent)
        self.logs = set_up(self.config.logging.format, self.config.logging.level, secrets_of(self.config))
        self.log = self.logs.logger
        self.vocabularies = assembly.vocabularies_of(self.config)
        self.metrics = Metrics(self.config.metrics.max_series)
        self.spans = assembly.spans_of(self.config, self.log)
        self.keeper = Keeper(self.log)
        self.draining = False
        self._sockets = sockets
        self._socket = way
        self._executor = ThreadPoolExecutor(max_workers=2, thread_name_prefix="tokens")
        self._stop = asyncio.Event()
        self._told_reason = ""
        self._alone = False
        """The supervisor is gone."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Take calls until told to stop."""
        loop = self.loop = asyncio.get_running_loop()
        way: Way[ToWorker] = Way(ToWorker, self._heard, self._lost)
        self.way = way
        await loop.create_connection(lambda: way, sock=self._socket)
        config = self.config
        path = assembly.ledger_path(config, self.base)
        self.clock = Wheel(loop, self._since_ns)
        self.ledger = SqliteLedger(
            path,
            loop,
            queue_rows=config.ledger.queue_rows,
            committed=self.metrics.committed,
            turns=SharedTurns(path),
            slot=self.slot,
        )
        self.pool = Pool(self.clock, loop)
        self._build(path)
        self.ledger.start()
        await self.keeper.start()
        plane = self.plane = DataPlane(self._exchange, self.clock, loop, assembly.limits_of(config))
        self.doors = Doors(plane, loop, assembly.limits_of(config))
        self._measure()
        try:
            for name in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(name, self._stop.set)
            loop.add_signal_handler(signal.SIGHUP, lambda: None)
            self._watch_health()
            gc.collect()
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLDS)
            # before the first call: whoever sums up the ledger must know of all who write it
            way.say(Ready())
            await self.doors.open(config.server, None, {"data": self._sockets})
            await self._stop.wait()
            await self._shut_down(plane)
        finally:
            await self.doors.close()
            self.keeper.stop()
            self.pool.close()
            await asyncio.to_thread(self.ledger.close)
            if self.spans is not None:
                await asyncio.to_thread(self.spans.close)
            self._executor.shutdown(wait=False, cancel_futures=True)
            way.close()

    def _build(self, path: Path) -> None:
        config, clock = self.config, self.clock
        self.making = Making(self.pool, clock, self.keeper, SqliteKeyStore(path))
        self.lend = Lend(self.way)
        rules = assembly.rules_of(config)
        quotas = SharedQuotas(rules, self.lend, self.loop.call_soon, max_counters=config.max_quota_counters)
        self.quotas = quotas
        self.ids = Ids(clock.now_ns, secrets.randbits)
        self.parts = self.making.begun(
            config,
            load_catalogue(config, self.base),
            quotas=quotas,
            ledger=self.ledger,
            vocabularies=self.vocabularies,
            observer=Watch(self.metrics, self.log, self.spans),
            offload=Offloader(self.loop, self._executor, self.log),
            new_id=self.ids,
            ready=self.not_ready,
            traced=self.spans is not None,
        )

    def not_ready(self) -> str:
        """Empty when calls may be served, else why not."""
        return "draining: this gateway is about to stop" if self.draining else self.ledger.reason

    def _exchange(self, client: ClientPort) -> Exchange:
        return Exchange(self.parts, client)

    async def _shut_down(self, plane: DataPlane) -> None:
        self.draining = True
        if self._alone:
            # another gateway may start: what is open is for it to recover
            plane.stop_accepting()
            for connection in list(plane.connections):
                connection.break_off()
            return
        if not await plane.drain(self.config.server.drain_seconds):
            self.log.warning("calls were broken off at the end of the drain time")
        deadline = self.clock.monotonic() + SETTLE_SECONDS
        while self.ledger.open_count and self.clock.monotonic() < deadline:  # noqa: ASYNC110 - at most a few turns
            await asyncio.sleep(0.02)
        self.quotas.give_all()
        metrics = await self._metrics()
        self.way.say(Reply(0, self.quotas.stands(), metrics))

    # what the supervisor says

    def _heard(self, message: ToWorker) -> None:
        match message:
            case Answer():
                self.lend.answered(message)
            case Recall(rule=rule, bucket=bucket):
                self.quotas.recalled(rule, bucket)
                self.way.say(Gave(rule, bucket))
            case Freed():
                self.quotas.freed()
            case Question():
                task = self.loop.create_task(self._answer(message))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case Raised(raises=raises):
                self.quotas.raised(raises)
            case Drain():
                self._stop.set()

    def _lost(self) -> None:
        self._alone = True
        self._stop.set()

    async def _answer(self, question: Question) -> None:
        number = question.number
        match question.what:
            case "stands":
                reply = Reply(number, self.quotas.stands())
            case "metrics":
                metrics = await self._metrics()
                # last: what is told of the counters later must not come before it
                reply = Reply(number, self.quotas.stands(), metrics)
            case "photo":
                reply = Reply(number, photo=await self._photo())
            case _:
                reply = Reply(number, wrong=await self._reload(question.text))
        self.way.say(reply)

    async def _metrics(self) -> list[Told]:
        found = []
        for piece in samples(self.metrics)():
            found.append(told(piece))
            await asyncio.sleep(PAUSE_SECONDS)
        return found

    async def _photo(self) -> Photo | None:
        """Taken when the question joins the ledger's queue: all that was settled before is written when its mark is
        read, and nothing of this process that is settled later."""
        stands = self.quotas.photo()

        def newest(connection: sqlite3.Connection) -> int:
            return ConnectionView(connection).newest()

        try:
            mark: int = await self.ledger.execute(newest)
        except (LedgerUnavailable, sqlite3.Error) as error:
            self.log.error("the counters can't be compared with the ledger", extra={"fields": {"error": str(error)}})
            return None
        return Photo(self.ids.node, mark, stands)

    async def _reload(self, text: str) -> list[str]:
        """Take another configuration, which the supervisor found in order; answers what is wrong all the same."""
        try:
            fresh = await asyncio.to_thread(read, self.config_path, self.doors, text)
            config = fresh.config
            parts = self.making.renewed(self.parts, config, fresh.catalogue)
        except WRONG as error:
            return str(error).splitlines()
        await self.keeper.start()
        self.config = config
        self.logs.scrubber.learn(secrets_of(config))
        if self.spans is not None:
            self.spans.kinds = assembly.kinds_of(config)
        self.quotas.change(assembly.rules_of(config), config.max_quota_counters, self.clock.now_ns())
        self.parts.keys.replaced(parts.keys)
        self.parts = parts
        self.doors.use(assembly.limits_of(config))
        parts.guard.use(assembly.guard_limits_of(config))
        await self.doors.renew(fresh.renewal)
        return []

    # measuring itself

    def _watch_health(self) -> None:
        if self.ledger.reason != self._told_reason:
            self._told_reason = self.ledger.reason
            self.way.say(Health(self._told_reason))
        self.clock.after(HEALTH_SECONDS, self._watch_health)

    def _measure(self) -> None:
        metrics, loop = self.metrics, self.loop
        measure_lag(loop, metrics)
        metrics.bind(vitals(serving(self, loop)))


def main() -> None:
    """One worker's process, with what the supervisor hands over."""
    parser = argparse.ArgumentParser(description="A worker of spendgate serve; its supervisor starts it.")
    parser.add_argument("config", type=Path)
    parser.add_argument("--slot", type=int, required=True)
    parser.add_argument("--way", type=int, required=True)
    parser.add_argument("--sockets", required=True)
    options = parser.parse_args()
    way = socket.socket(fileno=options.way)
    sockets = [socket.socket(fileno=int(fd)) for fd in options.sockets.split(",")]
    told = first_of(way)
    if not isinstance(told, Configured):
        # the gateway stops
        return
    for one in (way, *sockets):
        one.setblocking(False)
        one.set_inheritable(False)

    async def run() -> None:
        await Worker(options.config, told, options.slot, sockets, way).run()

    uvloop.run(run())
