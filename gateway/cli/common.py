"""What commands share: their options, their configuration, their errors, their tables."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.config.problems import Problem
    from gateway.config.schema import Config
    from pricing.catalogue import Catalogue


TOKEN = "SPENDGATE_TOKEN"  # noqa: S105 - its name
"""Environment variable with a token for the admin port."""


class UserError(Exception):
    """A user's mistake, in one line."""

    @property
    def lines(self) -> list[str]:
        """What standard error shows."""
        return [f"spendgate: {self}"]


class ConfigurationError(UserError):
    """Everything that is wrong with a configuration, a line each."""

    def __init__(self, path: Path, problems: Sequence[Problem]) -> None:
        super().__init__(f"{len(problems)} problem{'s' if len(problems) != 1 else ''} in {path}")
        self._problems = [str(problem) for problem in problems]

    @property
    def lines(self) -> list[str]:
        return [*self._problems, f"spendgate: {self}"]


def command(commands: Any, name: str, help_text: str, example: str) -> argparse.ArgumentParser:
    """A command's parser, with ``--config`` and an example."""
    made: argparse.ArgumentParser = commands.add_parser(
        name, help=help_text, description=help_text, epilog=f"example: {example}"
    )
    made.add_argument("--config", metavar="FILE", help="default: SPENDGATE_CONFIG, else ./config.toml")
    return made


def takes_by(made: argparse.ArgumentParser, text: str, default: str) -> None:
    """Let a command's user name dimensions: with commas between, or in pieces, as ``--by team --by model``."""
    made.add_argument("--by", action=_Pieces, default=default, metavar="LIST", help=text)


class _Pieces(argparse.Action):
    """A list with commas between; what is given again is added to it, where it would else be forgotten."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        pieces = [*getattr(namespace, f"{self.dest}_pieces", ()), values]
        setattr(namespace, f"{self.dest}_pieces", pieces)
        setattr(namespace, self.dest, ",".join(pieces))


def takes_token(made: argparse.ArgumentParser) -> None:
    """Let a command's user say which token it shows."""
    text = f"file with a token for the admin port (default: {TOKEN}, else server.admin_token)"
    made.add_argument("--token-file", metavar="FILE", help=text)


def configuration(path: Path, *, need_secrets: bool = False) -> Config:
    """The checked configuration; what is wrong as a ``UserError``.

    Commands that serve nobody do without secrets that are not set here.
    """
    from gateway.config.load import load
    from gateway.config.problems import ConfigErrors

    try:
        return load(path, os.environ, need_secrets=need_secrets)
    except ConfigErrors as error:
        raise ConfigurationError(path, error.problems) from error


def catalogue(config: Config, options: argparse.Namespace) -> Catalogue:
    """The price catalogue that a gateway with this configuration uses."""
    from gateway.config.catalogue import CatalogueUnusable, load_catalogue

    try:
        return load_catalogue(config, options.config.resolve().parent)
    except CatalogueUnusable as error:
        raise UserError(str(error)) from error


def ledger_file(options: argparse.Namespace, *, there: bool = False) -> Path:
    """The ledger's file, brought to the newest schema. ``there``: an error where no file is, rather than a new one."""
    from gateway.assembly import AssemblyError, ledger_path
    from gateway.ledger.faults import LedgerCorrupt
    from gateway.ledger.schema import migrate

    try:
        path = ledger_path(configuration(options.config), options.config.resolve().parent)
        if there and not path.exists():
            raise UserError(f"there is no ledger at {path}: look at ledger.url, or start the gateway, which makes one")
        migrate(path)
    except (AssemblyError, LedgerCorrupt) as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"the ledger can't be opened: {error.filename or path}: {error.strerror or error}") from error
    return path


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """The whole file or none: written beside its place, then moved there. What is no file, as a pipe or a terminal, is
    written to as it is."""
    if path.exists() and not path.is_file():
        with path.open("wb") as out:
            yield out
        return
    from gateway.ledger.whole import part_beside

    path = path.resolve()
    with part_beside(path) as part:
        with part.open("wb") as out:
            yield out
        part.replace(path)


def moment(text: str) -> int:
    """Nanoseconds since 1970 of a date or an RFC 3339 time (UTC where no zone is given); 0 for what lies before, where
    no ledger has anything."""
    from gateway.config.values import moment_ns

    try:
        return max(0, moment_ns(datetime.fromisoformat(text)))
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(
            f'"{text}" is no date or time, like 2026-11-01 or 2026-11-01T12:00Z'
        ) from error


def forward(options: argparse.Namespace, since_ns: int, until_ns: int) -> None:
    """Raises ``UserError`` for a period that is over before it begins: nothing is in it, which looks like no spend."""
    from gateway.ledger.rows import rfc3339

    if since_ns < until_ns:
        return
    if options.until is None:
        raise UserError("--since is in the future")
    default = f", which is {rfc3339(since_ns)[:10]} where it is not given" if options.since is None else ""
    raise UserError(f"--until must be after --since{default}")


def seconds(text: str) -> float:
    """A time to wait, in seconds, of at most a day."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f'"{text}" is no number of seconds from 0 to 86400')
    return value


def count(text: str) -> int:
    """A whole number that is not below zero; ``1_000`` and ``1,000`` are 1000."""
    digits = text.replace("_", "").replace(",", "")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 15:
        raise argparse.ArgumentTypeError(f'"{text}" is no whole number from 0')
    return int(digits)


def dollars(nanousd: int, places: int = 6) -> str:
    """Dollars for people, rounded half to even."""
    unit = 10 ** (9 - places)
    whole, rest = divmod(abs(nanousd), unit)
    if rest * 2 > unit or (rest * 2 == unit and whole % 2):
        whole += 1
    sign = "-" if nanousd < 0 else ""
    return f"{sign}{whole // 10**places}.{whole % 10**places:0{places}d}"


def table(headers: list[str], rows: list[list[str]], right: set[int], spare: Sequence[int] = ()) -> str:
    """A table that fits the terminal, see ``gateway.cli.tables``."""
    from gateway.cli.tables import terminal_width, text_table

    return text_table(headers, rows, right, limit=terminal_width(), spare=spare)
