"""One worker as its supervisor sees it."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.workers.words import FromWorker, Question, Reply, ToWorker, Way

ANSWER_SECONDS = 5.0


class Hand:
    """``place`` is the socket that it serves; ``slot`` is its own, no other worker of this gateway ever has it."""

    def __init__(self, slot: int, place: int, heard: Callable[[Hand, FromWorker], None]) -> None:
        self.slot = slot
        self.place = place
        self.ready = False
        self.was_ready = False
        self.when_ready: Callable[[], None] | None = None
        self.reason = ""
        """Why its ledger can't be written."""
        self.process: asyncio.subprocess.Process | None = None
        self._lost = asyncio.Event()
        self._way: Way[FromWorker] = Way(FromWorker, lambda message: heard(self, message), self._gone)
        self._number = 0
        self._asked: dict[int, asyncio.Future[Reply | None]] = {}

    async def start(self, config_path: Path, sockets: Sequence[socket.socket], lock_fds: Sequence[int]) -> None:
        """Start it. Raises ``OSError``."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        fds = [one.fileno() for one in sockets]
        safe = ["-P"] if sys.flags.safe_path else []
        words = (*safe, "-m", "gateway.workers", str(config_path), "--slot", str(self.slot))
        handed = ("--way", str(theirs.fileno()), "--sockets", ",".join(map(str, fds)))
        try:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, *words, *handed, pass_fds=(theirs.fileno(), *lock_fds, *fds)
            )
            await asyncio.get_running_loop().create_connection(lambda: self._way, sock=ours)
        finally:
            theirs.close()

    async def ended(self) -> int:
        """Wait for its end and for all it said; answers its exit code."""
        assert self.process is not None
        code = await self.process.wait()
        await self._lost.wait()
        return code

    def say(self, message: ToWorker) -> None:
        self._way.say(message)

    async def ask(self, what: str, seconds: float = ANSWER_SECONDS, text: str = "") -> Reply | None:
        """Its answer; None where it has ended, or does not answer in time."""
        if self._lost.is_set():
            return None
        self._number += 1
        number = self._number
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        self.say(Question(number, what, text))
        try:
            return await asyncio.wait_for(future, seconds)
        except TimeoutError:
            return None
        finally:
            self._asked.pop(number, None)

    def replied(self, reply: Reply) -> None:
        future = self._asked.get(reply.number)
        if future is not None and not future.done():
            future.set_result(reply)

    def takes_calls(self) -> None:
        self.ready = self.was_ready = True
        if self.when_ready is not None:
            self.when_ready()

    def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()

    def _gone(self) -> None:
        self._lost.set()
        self.ready = False
        for future in self._asked.values():
            if not future.done():
                future.set_result(None)
