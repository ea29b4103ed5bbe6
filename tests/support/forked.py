"""Spendgate in processes of their own, forked from one that has imported it already: a process sees what it would see
when a shell starts it, but the imports, most of the time that a start takes, are made once for all tests."""

from __future__ import annotations

import atexit
import functools
import multiprocessing
import os
import pkgutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import TextIO

import pytest

import gateway.cli

# the compiled build first, as the program itself prefers it; pytest, because a child looks at how its parent was
# started; then what commands import when they are called, and what each gateway would read anew
IMPORTED = (
    "support.preferred", "pytest", "support.forked", "support.read_once", "gateway.app", "gateway.workers.crew",
    "gateway.assembly", "gateway.identity.store", "gateway.reports.spend",
)  # fmt: skip


class Forked:
    """``spendgate WORDS`` in ``folder`` with exactly the variables of ``env``, nothing to read, and an output that is
    no terminal: what it writes is appended to the files ``out`` and ``err``. Used as a ``subprocess.Popen`` is."""

    def __init__(self, words: Sequence[str], folder: Path, env: Mapping[str, str], out: Path, err: Path) -> None:
        self.args = list(words)
        # a daemon: none is left when the tests end
        self._process = _server().Process(
            target=_main, args=(self.args, str(folder), dict(env), str(out), str(err)), daemon=True
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@functools.cache
def _server() -> ForkServerContext:
    """What forks, once it has imported all; its own first import must find this folder."""
    context = multiprocessing.get_context("forkserver")
    commands = [f"gateway.cli.{module.name}" for module in pkgutil.iter_modules(gateway.cli.__path__)]
    context.set_forkserver_preload([*IMPORTED, *commands])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
        forkserver.ensure_running()
    return context


def _main(words: list[str], folder: str, env: dict[str, str], out: str, err: str) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    sys.argv = ["spendgate", *words]
    with open(os.devnull, "rb") as nothing, open(out, "ab") as told, open(err, "ab") as complained:
        for number, file in enumerate((nothing, told, complained)):
            os.dup2(file.fileno(), number)
    sys.stdin, sys.stdout, sys.stderr = _stream(0, "r"), _stream(1, "w"), _stream(2, "w")
    from gateway.cli.main import main

    code = main()
    # a forked process would leave out what is to be done in the end
    atexit._run_exitfuncs()
    sys.exit(code)


def _stream(number: int, mode: str) -> TextIO:
    errors, lines = ("backslashreplace", 1) if number == 2 else ("strict", -1)
    # until the process ends
    return open(number, mode, lines, encoding="utf-8", errors=errors, closefd=False)
