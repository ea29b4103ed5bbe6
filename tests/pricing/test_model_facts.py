"""Limits of models: what bounds a call that sets no limit of its own."""

from __future__ import annotations

import json
from importlib import resources

import pytest

from pricing.catalogue import load
from pricing.data.build_models import corrected
from pricing.models import UNKNOWN, ModelEntry, ModelFacts, load_models

CATALOGUE = load()
TABLE = load_models(catalogue=CATALOGUE)


@pytest.mark.parametrize(
    ("provider", "model", "context_window", "max_output"),
    [
        ("openai", "gpt-4o", 128_000, 16_384),
        ("openai", "GPT-4o-2024-08-06", 128_000, 16_384),
        ("azure", "gpt-4o-mini", 128_000, 16_384),
        ("anthropic", "claude-sonnet-4-5-20250929", 200_000, 64_000),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", 200_000, 64_000),
        ("bedrock", "us.anthropic.claude-3-7-sonnet-20250219-v1:0", 200_000, 128_000),
        ("bedrock", "anthropic.claude-3-7-sonnet-20250219-v1:0", 200_000, 128_000),
        ("bedrock", "eu.anthropic.claude-sonnet-4-6", 1_000_000, 128_000),
        ("bedrock", "deepseek.v3.2", 163_840, 163_840),
        ("gemini", "models/gemini-2.5-pro", 1_048_576, 65_536),
        ("google", "gemini-2.5-pro", 1_048_576, 65_536),
        ("openrouter", "openai/gpt-4o", 128_000, 16_384),
        ("openrouter", "anthropic/claude-4.6-sonnet-20260217", 1_000_000, 128_000),
        ("reported", "openai/gpt-4o:nitro", 128_000, 16_384),
        ("openai-compatible", "gpt-4o", 128_000, 16_384),
    ],
)
def test_a_known_model_has_its_limits(provider: str, model: str, context_window: int, max_output: int) -> None:
    facts = TABLE.facts(provider, model)
    assert facts.max_output == max_output
    assert facts.context_window >= context_window


def test_a_model_has_the_same_limits_in_every_region_and_none_below_what_is_known_better() -> None:
    built = json.loads(resources.files("pricing.data").joinpath("models.json").read_bytes())["kinds"]
    assert built == {kind: corrected(kind, models) for kind, models in built.items()}


def test_an_unknown_model_is_taken_for_the_largest_of_its_provider() -> None:
    largest = TABLE.facts("openai", "a-model-of-tomorrow")
    for name in ("gpt-4o", "gpt-5", "gpt-5.5", "o3"):
        known = TABLE.facts("openai", name)
        assert known.context_window <= largest.context_window
        assert known.max_output <= largest.max_output


def test_an_unknown_provider_has_large_limits() -> None:
    assert TABLE.facts("writer", "palmyra-x4") == UNKNOWN
    assert TABLE.facts("", "") == UNKNOWN


def test_a_longer_name_never_inherits_the_smaller_limits_of_a_shorter_one() -> None:
    assert TABLE.facts("openai", "gpt-4o-ultra") == TABLE.facts("openai", "a-model-of-tomorrow")


def test_a_configuration_overrides_what_it_names() -> None:
    table = load_models(
        [
            ModelEntry(provider="openai", model="gpt-4o*", max_output=1000),
            ModelEntry(provider="*", model="mine", context_window=5000),
        ],
        CATALOGUE,
    )
    assert table.facts("openai", "gpt-4o") == ModelFacts(context_window=128_000, max_output=1000)
    assert table.facts("ollama", "mine") == ModelFacts(context_window=5000, max_output=5000)
    assert table.facts("azure", "gpt-4o") == TABLE.facts("azure", "gpt-4o")


def test_endless_names_do_not_grow_the_table() -> None:
    table = load_models()
    for number in range(5000):
        table.facts("openai", f"model-{number}")
    assert len(table._slots) <= 4096
    assert table.facts("openai", "x" * 5000) == table.facts("openai", "a-model-of-tomorrow")


def test_the_table_says_where_it_comes_from() -> None:
    assert TABLE.source.name == "litellm"
    assert TABLE.source.licence == "MIT"
    assert TABLE.source.version
