"""What is wrong with a configuration, said so that it can be mended."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import msgspec


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One mistake: where, what, how to mend it. Never holds a secret's value."""

    file: str
    key: str = ""
    """Like ``quotas[1].window``."""
    line: int | None = None
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        key = f" {self.key}:" if self.key else ""
        hint = f" {self.hint}" if self.hint else ""
        end = "" if self.message.endswith((".", "?", "!")) else "."
        return f"{where}:{key} {self.message}{end}{hint}"


class ConfigErrors(Exception):  # noqa: N818 - it holds many
    """All problems of a configuration at once."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def near(word: str, known: Iterable[str]) -> str:
    """A hint with the nearest known spelling; empty where none is near."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f'Did you mean "{found[0]}"?' if found else ""
