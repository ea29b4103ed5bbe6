"""Servers of a test's own, in a thread with an event loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Self


class InThread:
    """``with`` it the servers are up that ``start`` makes; afterwards all that they did is ended."""

    def __enter__(self) -> Self:
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main(started)), daemon=True)
        self._thread.start()
        started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def start(self) -> list[asyncio.Server]:
        raise NotImplementedError

    async def _main(self, started: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        servers = await self.start()
        started.set()
        await self._stop.wait()
        for server in servers:
            server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
