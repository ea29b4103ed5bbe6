"""Which rules hold for a subject. Compiled once; the answer for each subject is cached by its user."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.quota.rule import Rule, Subject, dimension, glob

Test = tuple[str, tuple[Callable[[str], bool], ...]]


INDEXED = ("key", "workflow", "team")
"""Dimensions whose exact values tell most rules apart, the most telling first."""


class Matcher:
    """Rules by an exact key, workflow or team where they name one, so that ten thousand cost a new subject little."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._by_value: dict[tuple[str, str], list[tuple[int, Rule, tuple[Test, ...]]]] = {}
        self._others: list[tuple[int, Rule, tuple[Test, ...]]] = []
        for number, rule in enumerate(rules):
            tests = tuple((name, tuple(glob(pattern) for pattern in patterns)) for name, patterns in rule.match)
            entry = (number, rule, tests)
            exact = _exact(rule)
            if exact is None:
                self._others.append(entry)
                continue
            name, values = exact
            for value in values:
                self._by_value.setdefault((name, value), []).append(entry)

    def rules_for(self, subject: Subject) -> list[Rule]:
        """All rules that match, in the order of the configuration."""
        candidates = list(self._others)
        for name in INDEXED:
            candidates += self._by_value.get((name, dimension(subject, name)), ())
        found = [(number, rule) for number, rule, tests in candidates if _holds(tests, subject)]
        return [rule for _, rule in sorted(found, key=lambda item: item[0])]


def _exact(rule: Rule) -> tuple[str, frozenset[str]] | None:
    """The most telling dimension for which a rule names exact values."""
    match = dict(rule.match)
    for name in INDEXED:
        values = match.get(name, ())
        if values and not any(char in value for value in values for char in "*?["):
            return name, frozenset(values)
    return None


def _holds(tests: tuple[Test, ...], subject: Subject) -> bool:
    for name, patterns in tests:
        value = dimension(subject, name)
        if not any(test(value) for test in patterns):
            return False
    return True


def failing(rule: Rule, subject: Subject) -> str:
    """Why a rule does not hold for a subject; empty where it does."""
    for name, patterns in rule.match:
        value = dimension(subject, name)
        if not any(glob(pattern)(value) for pattern in patterns):
            return f'{name} "{value}" is not {" or ".join(patterns)}'
    return ""


def bucket_of(rule: Rule, subject: Subject) -> str:
    """The name of the subject's counter within a rule: its values of ``per``, joined; empty without ``per``. Callers
    choose some of them: a bar within a value is written ``%7C``, so that no spelling shares another's counter."""
    per = rule.per
    if len(per) == 1:
        return dimension(subject, per[0])
    return "|".join(dimension(subject, name).replace("%", "%25").replace("|", "%7C") for name in per)
