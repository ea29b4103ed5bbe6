"""``[[exports]]`` while a gateway runs: a process of its own writes what is due, so that no call waits for it.

The process may be killed at any moment, and so may the gateway: see ``gateway.exports.closing``.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.config.exports import ExportConfig
from gateway.exports.periods import period_at
from gateway.ledger.rows import HOUR_NS

RETRY_SECONDS = 600.0
LONGEST_SECONDS = 3600.0
"""The clock is looked at again after this time: it may have been set."""
STOP_SECONDS = 5.0


class Exports:
    """Writes what is due at the start, and then whenever a period is to be closed."""

    def __init__(self, config_path: Path, now_ns: Callable[[], int], log: logging.Logger) -> None:
        self._config_path = config_path
        self._now_ns = now_ns
        self._log = log
        self._task: asyncio.Task[None] | None = None
        self.failures = 0
        """Runs that could not write all that was due."""

    async def start(self, exports: Sequence[ExportConfig]) -> None:
        """Write these from now on, instead of those before."""
        await self.stop()
        if exports:
            self._task = asyncio.create_task(self._watch(exports))

    async def stop(self) -> None:
        """What is being written is broken off; the next start writes it."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _watch(self, exports: Sequence[ExportConfig]) -> None:
        while True:
            begun_ns = self._now_ns()
            if not await self._run():
                self.failures += 1
                await asyncio.sleep(RETRY_SECONDS)
                continue
            due_ns = min(_next_ns(export, begun_ns) for export in exports)
            while (left := (due_ns - self._now_ns()) / 1e9) > 0:  # noqa: ASYNC110 - a moment, not an event
                await asyncio.sleep(min(left, LONGEST_SECONDS))

    async def _run(self) -> bool:
        """Run ``spendgate export run``; answers whether all went well."""
        words = ("-m", "gateway.cli.main", "export", "run", "--config", str(self._config_path))
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=pipe, stderr=pipe)
        try:
            said, wrong = await process.communicate()
        except asyncio.CancelledError:
            process.terminate()
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
            raise
        for line in said.decode(errors="replace").splitlines():
            self._log.info(f"export {line}")
        for line in wrong.decode(errors="replace").splitlines():
            self._log.error(line)
        return process.returncode == 0


def _next_ns(export: ExportConfig, now_ns: int) -> int:
    """When the next period is to be closed, as seen at ``now_ns``."""
    after = round(export.after_hours * HOUR_NS)
    return period_at(export.period, now_ns - after).end_ns + after
