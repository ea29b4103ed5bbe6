"""The task that copies: a second's rhythm, a back-off while PostgreSQL is away, one batch in memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from gateway.config.schema import ReplicaConfig
from gateway.ledger.gateway_id import gateway_id
from gateway.replica.source import Position, Source
from gateway.replica.target import Target

T = TypeVar("T")
REST_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
FINISH_SECONDS = 5.0


class Replica:
    """Copies the records of the ledger at ``path``. Whatever is wrong is tried again; no call hears of it."""

    def __init__(self, path: Path, log: logging.Logger) -> None:
        self._path = path
        self._log = log
        self._task: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="replica")
        self._source: Source | None = None
        self._config: ReplicaConfig | None = None
        self._failing = False
        self.failures = 0
        """Tries that failed."""
        self.lag = 0
        """Records that are not known to be copied yet."""
        self.copied: int | None = None
        """The number of the last record that PostgreSQL is known to have; None: nothing is copied."""

    async def start(self, config: ReplicaConfig | None) -> None:
        """Copy there from now on, instead of where it went before."""
        if config == self._config and self._task is not None:
            return
        await self._cancel()
        self._config = config
        self._failing, self.lag, self.copied = False, 0, None if config is None else 0
        if config is not None:
            self._task = asyncio.create_task(self._copy(config))

    async def finish(self) -> None:
        """Stop. What the ledger holds is copied before, where that takes a moment."""
        config, copying = self._config, self._task is not None and not self._failing
        await self._cancel()
        if config is not None and copying:
            try:
                async with asyncio.timeout(FINISH_SECONDS):
                    await self._run(config, to_the_end=True)
            except Exception as error:  # noqa: BLE001 - the next start goes on
                self._failed(error)
        if self._source is not None:
            await self._aside(self._source.close)
        self._thread.shutdown(wait=False)

    async def _cancel(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _aside(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    async def _copy(self, config: ReplicaConfig) -> None:
        pause = REST_SECONDS
        while True:
            try:
                await self._run(config)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told and tried again
                # it may have worked for days before
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS) if self._failing else REST_SECONDS
                self._failed(error)
            await asyncio.sleep(pause)

    async def _run(self, config: ReplicaConfig, *, to_the_end: bool = False) -> None:
        """Copy until something is wrong, or ``to_the_end`` of what there is."""
        if self._source is None:
            self._source = await self._aside(lambda: Source(self._path))
        source = self._source
        number = self.copied or 0
        self.lag = await self._aside(lambda: source.lag(number))
        identity = await self._aside(lambda: gateway_id(self._path))
        target = await Target.connect(config.url, config.schema_)
        try:
            await target.prepare()
            name, position = await self._place(source, identity, await target.positions(identity))
            while True:
                batch = await self._aside(lambda at=position: source.after(at))  # type: ignore[misc]
                if batch.position != position:
                    await target.write(name, position, batch)
                position = batch.position
                self._worked(position)
                self.lag = await self._aside(lambda at=position: source.lag(at.number))  # type: ignore[misc]
                if not batch.full:
                    if to_the_end:
                        return
                    await asyncio.sleep(REST_SECONDS)
        finally:
            target.close()

    async def _place(self, source: Source, identity: str, known: dict[str, Position]) -> tuple[str, Position]:
        """The name under which this ledger is copied, and how far. One that another ledger has used, of which this is
        a copy or which was put back from an older one, is left to it."""
        names = sorted(known, key=lambda name: int(name.partition(".")[2] or 1), reverse=True)
        for name in names:
            if await self._aside(lambda at=known[name]: source.fits(at)):  # type: ignore[misc]
                return name, known[name]
        if not names:
            return identity, Position()
        name = f"{identity}.{int(names[0].partition('.')[2] or 1) + 1}"
        self._log.warning(
            "this ledger is not the one that was copied before (it was put back, or is a copy in use elsewhere): "
            "its records are copied under a name of their own",
            extra={"fields": {"gateway": name}},
        )
        return name, Position()

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        if not self._failing:
            text = str(error) or type(error).__name__
            self._log.error(
                "records can't be copied to PostgreSQL, it is tried again", extra={"fields": {"error": text}}
            )
        self._failing = True

    def _worked(self, position: Position) -> None:
        self.copied = position.number
        if self._failing:
            self._log.info("records are copied to PostgreSQL again")
        self._failing = False
