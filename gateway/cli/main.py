"""``spendgate``: one module of this package a command. A command's module is imported when it is called."""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sqlite3
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

import gateway.cli
from gateway.cli.common import UserError
from gateway.compiled import prefer

NOT_COMMANDS = ("main", "common", "tables", "reported", "asking", "screen")
DEBUG = "SPENDGATE_DEBUG"
WRITTEN = ("csv", "jsonl", "markdown", "html")
"""Formats that go into files more often than onto a terminal."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the arguments in one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


class Version(argparse.Action):
    """``--version``; looked up only when asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> NoReturn:
        from importlib.metadata import version

        print(f"spendgate {version('spendgate')}")
        parser.exit(0)


def parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The command line: only the called command where ``words`` name one, else all."""
    top = Parser(
        prog="spendgate",
        description="The gateway that knows what every LLM call costs.",
        epilog="example: spendgate serve --config config.toml",
    )
    top.add_argument("--version", action=Version, nargs=0, help="show the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    names = sorted(m.name for m in pkgutil.iter_modules(gateway.cli.__path__) if m.name not in NOT_COMMANDS)
    called = next((word for word in words if not word.startswith("-")), "")
    for name in (called,) if called in names else names:
        importlib.import_module(f"gateway.cli.{name}").add_parser(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; answers the exit code. A user's mistake is told on standard error, never as a traceback."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        return _run(words)
    except BrokenPipeError:
        # whoever read the output has seen enough; the interpreter's last flush must find somewhere to write
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return 130


def _run(words: Sequence[str]) -> int:
    try:
        options = parser(words).parse_args(words)
        options.config_given = getattr(options, "config", None) is not None
        if not options.config_given:
            options.config = os.environ.get("SPENDGATE_CONFIG") or "config.toml"
        options.config = Path(options.config)
        written = options.command == "export" or getattr(options, "format", None) in WRITTEN
        if written and isinstance(sys.stdout, TextIOWrapper):
            # what programs read has one encoding, whatever the terminal's is
            sys.stdout.reconfigure(encoding="utf-8")
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except UserError as error:
        for line in error.lines:
            print(line, file=sys.stderr)
    except BrokenPipeError:
        raise
    except sqlite3.Error as error:
        print(f"spendgate: the ledger: {error}", file=sys.stderr)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"spendgate: {where}{error.strerror or error}", file=sys.stderr)
    except Exception as error:
        # a defect of ours: whoever called gets a line, whoever mends it the rest
        if os.environ.get(DEBUG):
            raise
        text = " ".join(str(error).split())[:300]
        hint = f"this is a defect of spendgate; {DEBUG}=1 shows where"
        print(f"spendgate: {type(error).__name__}: {text} ({hint})", file=sys.stderr)
    return 1


def entry() -> int:
    """``spendgate`` in a process of its own: of a work tree that was compiled, the compiled modules run."""
    prefer()
    return main()


if __name__ == "__main__":
    sys.exit(entry())
