"""Commands of spendgate, each in a process of its own: see ``forked``. How the program itself starts is what the tests
of its life, its deployment, a terminal or a pipe show."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from support.forked import Forked


def run(
    words: Sequence[str], folder: Path, env: Mapping[str, str], timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """``spendgate WORDS`` in ``folder`` with exactly the variables of ``env``."""
    with tempfile.TemporaryDirectory() as own:
        out, err = Path(own) / "out", Path(own) / "err"
        process = Forked(words, folder, env, out, err)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        return subprocess.CompletedProcess(list(words), code, _text(out), _text(err))


def _text(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.read()
