"""Which price a model's name means: the catalogue's match clauses, globs of a configuration, spellings of one name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date

import msgspec

Matcher = Callable[[str], bool]
"""Says whether a lower-case name is meant."""

MAX_NAME = 512
"""Longer names (they come from callers) have no price."""


class Clause(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One of genai-prices' match clauses: exactly one field is set."""

    equals: str | None = None
    starts_with: str | None = None
    ends_with: str | None = None
    contains: str | None = None
    regex: str | None = None
    any_of: tuple[Clause, ...] | None = msgspec.field(default=None, name="or")
    all_of: tuple[Clause, ...] | None = msgspec.field(default=None, name="and")

    def __post_init__(self) -> None:
        given = [name for name in self.__struct_fields__ if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("a match clause is one of equals, starts_with, ends_with, contains, regex, or, and")
        if self.regex is not None:
            try:
                re.compile(self.regex)
            except re.error as error:
                raise ValueError(f"not a regular expression: {self.regex!r} ({error})") from None


def compiled(clause: Clause) -> Matcher:
    """The test that a clause describes. It is given lower-case names."""
    if clause.equals is not None:
        return clause.equals.lower().__eq__
    if clause.contains is not None:
        part = clause.contains.lower()
        return lambda name: part in name
    if clause.starts_with is not None:
        start = clause.starts_with.lower()
        return lambda name: name.startswith(start)
    if clause.ends_with is not None:
        end = clause.ends_with.lower()
        return lambda name: name.endswith(end)
    if clause.regex is not None:
        search = re.compile(clause.regex).search
        return lambda name: search(name) is not None
    if clause.all_of is not None:
        every = [compiled(inner) for inner in clause.all_of]
        return lambda name: all(test(name) for test in every)
    some = [compiled(inner) for inner in clause.any_of or ()]
    return lambda name: any(test(name) for test in some)


def glob(pattern: str) -> Matcher:
    """A configuration's pattern: ``*`` any text, ``?`` one character, case-insensitive."""
    lower = pattern.lower()
    if lower == "*":
        return lambda name: True
    if not is_glob(lower):
        return lower.__eq__
    parts = re.split(r"([*?])", lower)
    whole = "".join({"*": ".*", "?": "."}.get(part, re.escape(part)) for part in parts)
    match = re.compile(whole, re.DOTALL).fullmatch
    return lambda name: match(name) is not None


def is_glob(pattern: str) -> bool:
    """Whether ``pattern`` can mean more than one name."""
    return "*" in pattern or "?" in pattern


_COMPACT_DATE = re.compile(r"-(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")
_PATHS = ("models/", "publishers/", "projects/", "arn:", "google/gemini-")
_ROUTING_SUFFIX = re.compile(r":(?:nitro|floor|exacto)$")


def dashed_date(name: str) -> str:
    """``…-20251211`` as ``…-2025-12-11``; dates that no calendar has stay."""

    def spell(found: re.Match[str]) -> str:
        year, month, day = (int(found[group]) for group in (1, 2, 3))
        try:
            date(year, month, day)
        except ValueError:
            return found[0]
        return f"-{year:04d}-{month:02d}-{day:02d}"

    return _COMPACT_DATE.sub(spell, name)


def spellings(name: str) -> Iterator[str]:
    """``name`` in lower case, then the names it may stand for: without a resource path (``models/…``,
    ``publishers/…/models/…``, an ARN) or Google as Gemini's maker, with ``@date`` as ``-date``, a fine-tune without
    owner and name of its own, without a suffix that only chooses a route.

    Sources: Google Cloud, "Using OpenAI libraries with Vertex AI" (``google/gemini-…``); OpenAI, "Fine-tuning"
    (``ft:MODEL:ORG:NAME:ID``, which costs what its ``ft:MODEL`` does).
    """
    lower = name.lower()
    yield lower
    short = lower
    if short.startswith(_PATHS):
        short = short.rpartition("/")[2]
        yield short
    if "@" in short:
        short = short.replace("@", "-")
        yield short
    if short.startswith("ft:") and short.count(":") > 1:
        short = ":".join(short.split(":", 2)[:2])
        yield short
    routed = _ROUTING_SUFFIX.sub("", short)
    if routed != short:
        yield routed
