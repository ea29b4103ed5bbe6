"""The workers of a gateway: started, replaced when they end, asked together, drained."""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from gateway.config.schema import ServerConfig
from gateway.config.values import split_address
from gateway.server.listener import bound
from gateway.workers.hand import Hand
from gateway.workers.words import Configured, Drain, FromWorker, Reply, ToWorker

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 5.0
STEADY_SECONDS = 10.0
"""A worker that lived so long is replaced at once when it ends."""
START_TRIES = 3
"""One that something kills while it starts is replaced; where that goes on, the gateway can't start."""
KILL_SECONDS = 10.0
"""What a worker may need beyond its drain time."""


class CannotStart(Exception):  # noqa: N818 - said in one line to a person
    """A worker ended by itself before it took calls: its own lines say why. Or each was killed."""


class Crew:
    """``heard`` takes what workers say, ``ended`` is awaited for each that has ended."""

    def __init__(
        self,
        config_path: Path,
        text: str,
        now_ns: Callable[[], int],
        lock_fds: Sequence[int],
        log: logging.Logger,
        heard: Callable[[Hand, FromWorker], None],
        ended: Callable[[Hand], Awaitable[None]],
    ) -> None:
        self._config_path = config_path
        self.text = text
        """What the configuration says that holds."""
        self._now_ns = now_ns
        self._lock_fds = lock_fds
        self._log = log
        self._heard = heard
        self._ended = ended
        self._slots = itertools.count(1)
        self._sockets: list[list[socket.socket]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._endings: set[asyncio.Future[None]] = set()
        self._stopping = asyncio.Event()
        self.hands: dict[int, Hand] = {}
        self.wanted = 0
        """How many should."""
        self.replaced = 0
        """Workers that ended and were replaced."""

    @property
    def ready(self) -> list[Hand]:
        """Those that take calls."""
        return [hand for hand in self.hands.values() if hand.ready]

    async def start(self, server: ServerConfig, handed: Sequence[socket.socket]) -> None:
        """Open the data port and start all; returns when all take calls. Raises ``OSError`` or ``CannotStart``."""
        self.wanted = server.workers
        self._sockets = [list(handed)] * server.workers if handed else await _ports(server)
        started: asyncio.Queue[bool] = asyncio.Queue()
        for place in range(server.workers):
            self._tasks.append(asyncio.create_task(self._keep(place, started)))
        for _ in range(server.workers):
            if not await started.get():
                raise CannotStart("a worker could not start: its own lines say why")

    async def _keep(self, place: int, started: asyncio.Queue[bool]) -> None:
        """One worker after the other at one place."""
        loop = asyncio.get_running_loop()
        pause, first, deaths = FIRST_PAUSE_SECONDS, True, 0
        while not self._stopping.is_set():
            hand = Hand(next(self._slots), place, self._said)
            self.hands[hand.slot] = hand
            began = loop.time()
            hand.when_ready = (lambda: started.put_nowait(True)) if first else None
            try:
                await hand.start(self._config_path, self._sockets[place], self._lock_fds)
                hand.say(Configured(self.text, self._now_ns()))
                if self._stopping.is_set():
                    # said while there was no way to it yet
                    hand.kill()
                code = await hand.ended()
            finally:
                was_ready = hand.was_ready
                del self.hands[hand.slot]
            # another begins while it is found out what this one had used
            ending = asyncio.ensure_future(self._ended(hand))
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)
            if self._stopping.is_set():
                return
            first = first and not was_ready
            deaths += 1
            if first and (code >= 0 or deaths == START_TRIES):
                started.put_nowait(False)
                return
            self.replaced += 1
            self._log.error("a worker ended and is replaced", extra={"fields": {"slot": hand.slot, "exit": code}})
            if loop.time() - began >= STEADY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _said(self, hand: Hand, message: FromWorker) -> None:
        # an answer's news too is taken as it comes, not when all have answered: it would undo what was told since
        self._heard(hand, message)
        if isinstance(message, Reply):
            hand.replied(message)

    def say(self, slot: int, message: ToWorker) -> None:
        """To one of them; nothing happens where it has ended."""
        hand = self.hands.get(slot)
        if hand is not None:
            hand.say(message)

    def tell(self, message: ToWorker) -> None:
        """To all that take calls."""
        for hand in self.ready:
            hand.say(message)

    async def ask(self, what: str, seconds: float, text: str = "") -> list[tuple[Hand, Reply | None]]:
        """Of all that take calls."""
        hands = self.ready
        return list(zip(hands, await asyncio.gather(*(hand.ask(what, seconds, text) for hand in hands)), strict=True))

    async def drain(self, seconds: float) -> None:
        """Let calls finish; after the drain time workers are killed."""
        self._stopping.set()
        for hand in self.hands.values():
            hand.say(Drain())
        for one in itertools.chain(*self._sockets):
            one.close()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds + KILL_SECONDS)
            if late:
                self._log.warning("workers were killed at the end of the drain time")
                for hand in list(self.hands.values()):
                    hand.kill()
                await asyncio.wait(late)
        await asyncio.gather(*self._endings)

    async def kill(self) -> None:
        """End all now."""
        self._stopping.set()
        for hand in list(self.hands.values()):
            hand.kill()
        for one in itertools.chain(*self._sockets):
            one.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _ports(server: ServerConfig) -> list[list[socket.socket]]:
    """Sockets on the data port, one set for each worker: the kernel deals connections out. They stay open here, so that
    those who wait for a worker that is being replaced are not refused. Raises ``OSError``."""
    loop = asyncio.get_running_loop()
    host, port = split_address(server.listen)
    # another gateway that shares its port in this way must not be joined
    for probe in await bound(loop, host, port, reuse_port=False):
        port = port or probe.getsockname()[1]
        probe.close()
    for tries in itertools.count(1):
        found: list[list[socket.socket]] = []
        try:
            while len(found) < server.workers:
                found.append(await bound(loop, host, port, reuse_port=True))
        except OSError as error:
            for one in itertools.chain(*found):
                one.close()
            if error.errno != errno.EADDRINUSE or tries == 3:
                raise
        else:
            return found
    raise AssertionError
