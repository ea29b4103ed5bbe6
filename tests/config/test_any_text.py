"""Whatever stands in a configuration file: it is one, or its problems are told; nothing else is ever raised."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gateway.config.load import parse
from gateway.config.problems import ConfigErrors, Problem


def outcome(text: str) -> list[Problem]:
    """What is wrong; empty: nothing."""
    try:
        parse(text, "c", {}, Path("."))
    except ConfigErrors as error:
        return error.problems
    return []


@given(st.text(max_size=300))
def test_any_text_gives_a_configuration_or_problems_never_another_error(text: str) -> None:
    assert all(problem.message for problem in outcome(text))


WORDS = st.sampled_from(
    [
        "server",
        "providers",
        "openai",
        "keys",
        "quotas",
        "prices",
        "routes",
        "models",
        "match",
        "kind",
        "usd",
        "x",
        "tiers",
    ]
)
VALUES = st.recursive(
    st.sampled_from([1, -1, 2.5, True, "openai", "env:X", "", "*"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=12,
)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    return str(value)


@given(st.dictionaries(WORDS, VALUES, max_size=4))
def test_any_well_formed_toml_gives_a_configuration_or_problems_with_keys(data: dict[str, object]) -> None:
    text = "\n".join(f"{key} = {_toml(value)}" for key, value in data.items())
    for problem in outcome(text):
        assert problem.line is not None, str(problem)
        assert re.match(r"[a-z]", problem.key), str(problem)
