"""A provider writes one model's name in several ways: in its API, in its console, at a reseller."""

from __future__ import annotations

import pytest

from gateway.statements.charge import model_key


@pytest.mark.parametrize(
    "names",
    [
        ("claude-3-5-haiku-20241022", "Claude Haiku 3.5", "claude-3-5-haiku-latest"),
        ("claude-sonnet-4-5-20250929", "Claude Sonnet 4.5", "anthropic/claude-sonnet-4.5"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
    ],
)
def test_names_of_one_model_are_one(names: tuple[str, ...]) -> None:
    assert len({model_key(name) for name in names}) == 1


def test_names_of_different_models_differ() -> None:
    names = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "o1", "o3", "o3-mini", "claude-sonnet-4", "claude-3-5")
    assert len({model_key(name) for name in names}) == len(names)
