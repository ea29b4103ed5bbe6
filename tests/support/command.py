"""Commands of spendgate, each in a process of its own, forked from one that has imported the program already.

A command sees what it would see when a shell starts it: its folder, environment and arguments, an output that is no
terminal, nothing to read. Only the imports, most of the time a short command takes, are made once. How the program
itself starts is what ``Gateway`` and the tests with a terminal or a pipe show.
"""

from __future__ import annotations

import multiprocessing
import os
import pkgutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

import gateway.cli

# those that a command imports when it is called; pytest, because a child looks at how its parent was started
IMPORTED = ("pytest", "support.command", "gateway.assembly", "gateway.identity.store", "gateway.reports.query")


def run(
    words: Sequence[str], folder: Path, env: Mapping[str, str], timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """``spendgate WORDS`` in ``folder`` with exactly the variables of ``env``."""
    context = multiprocessing.get_context("forkserver")
    commands = [f"gateway.cli.{module.name}" for module in pkgutil.iter_modules(gateway.cli.__path__)]
    context.set_forkserver_preload([*IMPORTED, *commands])
    with tempfile.TemporaryDirectory() as own:
        out, err = Path(own) / "out", Path(own) / "err"
        process = context.Process(target=_command, args=(list(words), str(folder), dict(env), str(out), str(err)))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(list(words), timeout)
        return subprocess.CompletedProcess(list(words), process.exitcode, _text(out), _text(err))


def _text(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.read()


def _command(words: list[str], folder: str, env: dict[str, str], out: str, err: str) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["spendgate", *words]
    with open(os.devnull, "rb") as nothing, open(out, "wb") as told, open(err, "wb") as complained:
        for number, file in enumerate((nothing, told, complained)):
            os.dup2(file.fileno(), number)
    sys.stdin, sys.stdout, sys.stderr = _stream(0, "r"), _stream(1, "w"), _stream(2, "w")
    from gateway.cli.main import main

    sys.exit(main())


def _stream(number: int, mode: str) -> TextIO:
    errors = "backslashreplace" if number == 2 else "strict"
    return open(number, mode, encoding="utf-8", errors=errors, closefd=False)  # until the process ends
